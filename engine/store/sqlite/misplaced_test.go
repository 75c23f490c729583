package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// unnamed are the columns whose change the store alone cannot find, with the reason.
var unnamed = map[string]string{
	"data_keys.id": "the sealed key does not name its id; package keys binds the ciphertext to it, so it opens under no other",
}

var testAuditKey = []byte("audit key")

// filled is a store with a document in every table, all of the project "prj" or of the
// system, and a connection of somebody else to its database.
func filled(t *testing.T) (s *Store, db *sql.DB) {
	t.Helper()
	path, ctx, now := filepath.Join(t.TempDir(), "countersign.db"), t.Context(), engine.SystemClock()
	s = open(t, path)
	rec := func() engine.Record { return newRecord("prj") }
	member := func(user string) engine.Member {
		return engine.Member{ProjectID: "prj", UserID: user, Role: engine.RoleAdmin, CreatedAt: now}
	}
	withEvent := rec()
	withEvent.Event = &engine.Event{ID: "event_a", ProjectID: "prj", CertificateID: "cert_a", Time: now, RequestID: "req_a"}
	_, keyErr := s.DataKey(ctx, "codec", engine.SealedKey{KeeperID: "local"})
	for _, err := range []error{
		s.UseAuditKey(ctx, testAuditKey),
		s.CreateProject(ctx, engine.Project{ID: "prj", CreatedAt: now.Add(-time.Hour)}, member("user_a"), rec()),
		s.SetMember(ctx, member("user_b"), rec()),
		s.RemoveMember(ctx, "prj", "user_b", now, rec()),
		s.CreateUser(ctx, engine.User{ID: "user_a", Username: "alice", CreatedAt: now}, rec()),
		s.CreateAPIKey(ctx, engine.APIKey{ID: "key_a", ProjectID: "prj", OwnerID: "user_a", SecretDigest: "k0", CreatedAt: now}, rec()),
		s.CreateSession(ctx, engine.Session{ID: "s0", UserID: "user_a", ExpiresAt: now}, rec()),
		s.CreateCertificate(ctx, engine.Certificate{ID: "cert_a", ProjectID: "prj", Name: "www", HasPrivateKey: true, CreatedAt: now}, &engine.SealedKey{}, withEvent),
		s.AddPolicy(ctx, engine.CertificatePolicy{ProjectID: "prj", Version: 1}, rec()),
		s.CreateNotificationTarget(ctx, engine.NotificationTarget{ID: "target_a", ProjectID: "prj", CreatedAt: now}, 1, rec()),
		keyErr,
	} {
		must(t, err)
	}
	token := newToken("prj")
	first := opening("prj", &token)
	first.Request.IdempotencyID, first.Request.Status, first.Request.UpdatedAt = "idem_a", engine.StatusConsumed, now
	first.Approval = &engine.Approval{ID: "apr_a", ProjectID: "prj", RequestID: first.Request.ID, Status: engine.ApprovalApproved, CreatedAt: now}
	_, err := s.OpenRequest(ctx, first)
	must(t, err)
	_, _, err = s.Settle(ctx, engine.Settlement{Digest: token.Digest, ProjectID: "prj", Time: now}, rec())
	must(t, err)
	db, err = sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(off)")
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return s, db
}

// found are the tables and columns, as one text, that a store says disagree: in the
// project, in the system, and in the project's audit chain.
func (s *Store) said(t *testing.T, anchor engine.AuditHead) (text string) {
	t.Helper()
	for _, id := range []string{"prj", engine.SystemChain} {
		found, err := s.Misplaced(t.Context(), id)
		must(t, err)
		for _, d := range found {
			text += fmt.Sprintf("%s %s: %s\n", d.Document, d.ID, d.Problem)
		}
	}
	verdict, err := engine.VerifyAudit(t.Context(), s, testAuditKey, "prj", anchor)
	must(t, err)
	if !verdict.OK {
		text += "audit_logs " + verdict.Problem
	}
	return text
}

func headOf(t *testing.T, s *Store) engine.AuditHead {
	t.Helper()
	verdict, err := engine.VerifyAudit(t.Context(), s, testAuditKey, "prj", engine.AuditHead{})
	if err != nil || !verdict.OK {
		t.Fatalf("%+v, %v", verdict, err)
	}
	return verdict.Head
}

// cell is a column of a row, which its document identifies.
type cell struct {
	table, column, doc string
	value              any
	nullable           bool
}

// cells are all columns of all rows of the database, without the documents themselves.
// The search index has none (search_test.go).
func cells(t *testing.T, db *sql.DB) (all []cell) {
	t.Helper()
	columns, err := scan(t.Context(), db, func(rows *sql.Rows) (c cell, err error) {
		var required bool
		err = rows.Scan(&c.table, &c.column, &required)
		c.nullable = !required
		return c, err
	}, `SELECT m.name, c.name, c."notnull" OR c.pk FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name <> 'certificate_grams' AND c.name <> 'doc'`)
	must(t, err)
	for _, c := range columns {
		found, err := scan(t.Context(), db, func(rows *sql.Rows) (cell, error) { return c, rows.Scan(&c.value, &c.doc) }, "SELECT "+c.column+", doc FROM "+c.table)
		must(t, err)
		if len(found) == 0 {
			t.Fatalf("the table %s has no row", c.table)
		}
		all = append(all, found...)
	}
	return all
}

// others are values that somebody may write instead.
func (c cell) others() (values []any) {
	switch value := c.value.(type) {
	case string:
		values = []any{value + "x", "other"}
	case int64:
		values = []any{value + 1000, value - 1000}
	case nil:
		return []any{"7"} // a column of integers takes it as one
	}
	if c.nullable {
		values = append(values, nil)
	}
	return values
}

// Whoever changes a column, of any table, is found: the disagreement names the table,
// the row and the column.
func TestEveryColumnIsComparedWithItsDocument(t *testing.T) {
	s, db := filled(t)
	anchor := headOf(t, s)
	if said := s.said(t, anchor); said != "" {
		t.Fatalf("an untouched store disagrees: %s", said)
	}
	names := map[string]bool{}
	for _, c := range cells(t, db) {
		name := c.table + "." + c.column
		names[name] = true
		set := func(value any) {
			t.Helper()
			result, err := db.ExecContext(t.Context(), "UPDATE "+c.table+" SET "+c.column+" = ? WHERE doc = ?", value, c.doc)
			must(t, err)
			if n, err := result.RowsAffected(); err != nil || n != 1 {
				t.Fatalf("%s: %d rows were changed: %v", name, n, err)
			}
		}
		for _, value := range c.others() {
			set(value)
			said := s.said(t, anchor)
			found := slices.ContainsFunc(strings.Split(said, "\n"), func(line string) bool {
				return strings.HasPrefix(line, c.table+" ") && (c.table == "audit_logs" || strings.Contains(line, c.column))
			})
			if _, listed := unnamed[name]; found == listed {
				t.Errorf("%s = %v instead of %v is found: %v; the store says %q", name, value, c.value, found, said)
			}
			set(c.value)
		}
	}
	for name := range unnamed {
		if !names[name] {
			t.Errorf("%s is listed, and is no column", name)
		}
	}
	if said := s.said(t, anchor); said != "" {
		t.Fatalf("the restored store disagrees: %s", said)
	}
}

// A document that cannot be read is a disagreement and no error, in every table.
func TestUnreadableDocumentsAreFound(t *testing.T) {
	s, db := filled(t)
	anchor := headOf(t, s)
	seen := map[string]bool{}
	for _, c := range cells(t, db) {
		if seen[c.table+c.doc] {
			continue
		}
		seen[c.table+c.doc] = true
		for _, doc := range []string{"", "no JSON", "[]", `{"id":`} {
			write := func(before, after string) {
				t.Helper()
				_, err := db.ExecContext(t.Context(), "UPDATE "+c.table+" SET doc = ? WHERE doc = ?", after, before)
				must(t, err)
			}
			write(c.doc, doc)
			if said := s.said(t, anchor); !strings.Contains(said, c.table+" ") {
				t.Errorf("%s with the document %q: the store says %q", c.table, doc, said)
			}
			write(doc, c.doc)
		}
	}
}

// A row of a project that does not exist is one of the system's.
func TestRowsOfNoProjectAreFound(t *testing.T) {
	s, db := filled(t)
	_, err := db.ExecContext(t.Context(), "UPDATE members SET project_id = 'gone', doc = 'no JSON'")
	must(t, err)
	for id, want := range map[string]int{"prj": 0, "gone": 1, engine.SystemChain: 1} {
		found, err := s.Misplaced(t.Context(), id)
		if err != nil || len(found) != want || want > 0 && found[0].ID != "gone/user_a" {
			t.Errorf("%s: %+v, %v", id, found, err)
		}
	}
}

// A check says at most so much, whatever the state of the database.
func TestMisplacedIsBounded(t *testing.T) {
	s, db := filled(t)
	for range engine.MaxMisplaced {
		issue(t, s, "prj")
	}
	_, err := db.ExecContext(t.Context(), "UPDATE download_requests SET person = 'x'; UPDATE download_tokens SET expires_at = 1")
	must(t, err)
	found, err := s.Misplaced(t.Context(), "prj")
	if err != nil || len(found) != engine.MaxMisplaced {
		t.Errorf("%d disagreements, want %d: %v", len(found), engine.MaxMisplaced, err)
	}
}

// Whoever changes columns so that another document is found gets none: no key, session,
// token, user, membership or policy of somebody else.
func TestMovedDocumentsAreRefused(t *testing.T) {
	for statement, look := range map[string]func(s *Store) error{
		"UPDATE api_keys SET secret_digest = 'mine'":       func(s *Store) error { _, err := s.APIKeyBySecret(t.Context(), "mine"); return err },
		"UPDATE api_keys SET id = 'mine'":                  func(s *Store) error { _, err := s.APIKey(t.Context(), "mine"); return err },
		"UPDATE sessions SET id = 'mine'":                  func(s *Store) error { _, err := s.Session(t.Context(), "mine"); return err },
		"UPDATE users SET username = 'mine'":               func(s *Store) error { _, err := s.UserByName(t.Context(), "mine"); return err },
		"UPDATE users SET id = 'mine'":                     func(s *Store) error { _, err := s.User(t.Context(), "mine"); return err },
		"UPDATE members SET user_id = 'mine'":              func(s *Store) error { _, err := s.Member(t.Context(), "prj", "mine"); return err },
		"UPDATE members SET project_id = 'mine'":           func(s *Store) error { _, err := s.Member(t.Context(), "mine", "user_a"); return err },
		"UPDATE projects SET id = 'mine'":                  func(s *Store) error { _, err := s.Project(t.Context(), "mine"); return err },
		"UPDATE certificates SET project_id = 'mine'":      func(s *Store) error { _, err := s.Certificate(t.Context(), "mine", "cert_a"); return err },
		"UPDATE approval_requests SET project_id = 'mine'": func(s *Store) error { _, err := s.Approval(t.Context(), "mine", "apr_a"); return err },
		"UPDATE download_requests SET id = 'mine'":         func(s *Store) error { _, err := s.Request(t.Context(), "prj", "mine"); return err },
		"UPDATE download_requests SET idempotency_id = 'mine'": func(s *Store) error {
			_, err := s.RequestByIdempotency(t.Context(), "mine")
			return err
		},
		"UPDATE download_tokens SET id = 'mine' WHERE id NOT LIKE '%/end'": func(s *Store) error {
			_, err := s.Token(t.Context(), "mine")
			return err
		},
		"UPDATE notification_targets SET project_id = 'mine'": func(s *Store) error {
			_, err := s.NotificationTarget(t.Context(), "mine", "target_a")
			return err
		},
	} {
		t.Run(statement, func(t *testing.T) {
			s, db := filled(t)
			_, err := db.ExecContext(t.Context(), statement)
			must(t, err)
			if err := look(s); !errors.Is(err, engine.CodeNotFound) {
				t.Errorf("it is found: %v", err)
			}
		})
	}
	for _, statement := range []string{"UPDATE certificate_policies SET project_id = 'mine'", "UPDATE certificate_policies SET project_id = 'mine', version = 9"} {
		t.Run(statement, func(t *testing.T) {
			s, db := filled(t)
			_, err := db.ExecContext(t.Context(), statement)
			must(t, err)
			if p, err := s.CertificatePolicy(t.Context(), "mine"); err == nil {
				t.Errorf("the policy of another project, or the default, decides: %+v", p)
			}
		})
	}
}

// An older version of a policy does not become the newest.
func TestOlderPolicyIsNotTheNewest(t *testing.T) {
	s, db := filled(t)
	must(t, s.AddPolicy(t.Context(), engine.CertificatePolicy{ProjectID: "prj", Version: 2}, newRecord("prj")))
	_, err := db.ExecContext(t.Context(), "UPDATE certificate_policies SET version = 3 WHERE version = 1")
	must(t, err)
	if p, err := s.CertificatePolicy(t.Context(), "prj"); err == nil {
		t.Errorf("version %d decides", p.Version)
	}
}
