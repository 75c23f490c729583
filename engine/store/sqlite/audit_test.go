package sqlite

import (
	"database/sql"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// A listing by time finds the right entries although the clock is set back by an
// hour and callers overtake each other.
func TestAuditTimes(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	begin := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	var times []time.Time
	if _, err := update(t.Context(), s, func(tx tx) (none struct{}, err error) {
		for i := range 1000 {
			e := newRecord("prj").Audit
			e.Time = begin.Add(time.Duration(i)*time.Minute - time.Duration(random.IntN(90))*time.Second)
			if i > 600 {
				e.Time = e.Time.Add(-time.Hour)
			}
			times = append(times, e.Time)
			if _, err := tx.append(e); err != nil {
				return none, err
			}
		}
		return none, nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := 15; i < len(times); i += 16 { // includes every entry in the index audit_time
		from := times[i]
		to := from.Add(time.Duration(random.IntN(300)) * time.Minute)
		if i%3 == 0 {
			from, to = from.Add(-to.Sub(from)), from
		}
		q := engine.AuditQuery{ProjectID: "prj", From: from, To: to, Page: engine.Page{Limit: 2000}}
		if random.IntN(4) == 0 {
			q.From = time.Time{}
		} else if random.IntN(4) == 0 {
			q.To = time.Time{}
		}
		want := 0
		for _, at := range times {
			if (q.From.IsZero() || !at.Before(q.From)) && (q.To.IsZero() || at.Before(q.To)) {
				want++
			}
		}
		found, _, err := s.AuditEntries(t.Context(), q)
		if err != nil || len(found) != want {
			t.Fatalf("from %s to %s: %d entries, want %d, %v", q.From, q.To, len(found), want, err)
		}
	}
}

// Whoever changes, deletes or adds a row of the audit log, in any of its columns, is
// found by a verification. latest_time and max_delay are not: they only say where to
// look for entries of a time.
func TestTamperingWithTheAuditLogIsFound(t *testing.T) {
	for name, statement := range map[string]string{
		"project_id":     "UPDATE audit_logs SET project_id = 'other' WHERE seq = 3",
		"seq":            "UPDATE audit_logs SET seq = 9 WHERE seq = 3",
		"ref":            "UPDATE audit_logs SET ref = 'settle/other' WHERE seq = 3",
		"hash":           "UPDATE audit_logs SET hash = 'x' WHERE seq = 3",
		"time":           "UPDATE audit_logs SET time = time + 1 WHERE seq = 3",
		"action":         "UPDATE audit_logs SET action = 'x' WHERE seq = 3",
		"actor_id":       "UPDATE audit_logs SET actor_id = 'x' WHERE seq = 3",
		"person":         "UPDATE audit_logs SET person = 'x' WHERE seq = 3",
		"certificate_id": "UPDATE audit_logs SET certificate_id = NULL WHERE seq = 3",
		"request_id":     "UPDATE audit_logs SET request_id = 'x' WHERE seq = 3",
		"doc":            "UPDATE audit_logs SET doc = json_set(doc, '$.ip', '192.0.2.99') WHERE seq = 3",
		"doc's action":   "UPDATE audit_logs SET doc = json_set(doc, '$.action', 'x') WHERE seq = 3",
		"doc's time":     "UPDATE audit_logs SET doc = json_set(doc, '$.time', '2026-01-01T00:00:00Z') WHERE seq = 3",
		"a deletion":     "DELETE FROM audit_logs WHERE seq = 3",
		"an exchange":    "UPDATE audit_logs SET seq = CASE seq WHEN 3 THEN -4 ELSE -3 END WHERE seq IN (3, 4); UPDATE audit_logs SET seq = -seq WHERE seq < 0",
		"an addition": "INSERT INTO audit_logs SELECT project_id, 6, 'added', hash, time, latest_time, max_delay, action, actor_id, person," +
			" certificate_id, request_id, json_set(doc, '$.seq', 6, '$.ref', 'added') FROM audit_logs WHERE seq = 5",
	} {
		t.Run(name, func(t *testing.T) {
			path, key := filepath.Join(t.TempDir(), "countersign.db"), []byte("audit key")
			s := open(t, path)
			must(t, s.UseAuditKey(t.Context(), key))
			for range 5 {
				e := newRecord("prj").Audit
				e.CertificateID = "cert_a"
				must(t, s.Append(t.Context(), e))
			}
			before, err := engine.VerifyAudit(t.Context(), s, key, "prj", engine.AuditHead{})
			if err != nil || !before.OK || before.Entries != 5 {
				t.Fatalf("%+v, %v", before, err)
			}
			db, err := sql.Open("sqlite", path)
			must(t, err)
			defer func() { must(t, db.Close()) }()
			result, err := db.ExecContext(t.Context(), statement)
			must(t, err)
			if n, err := result.RowsAffected(); err != nil || n == 0 {
				t.Fatalf("%d rows were changed: %v", n, err)
			}
			if after, err := engine.VerifyAudit(t.Context(), s, key, "prj", engine.AuditHead{}); err != nil || after.OK {
				t.Errorf("the chain is verified: %+v, %v", after, err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
