package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign-dev/countersign/engine"
)

// copied is a kind of document that can be carried to another store.
type copied struct {
	query  string // selects ids and documents
	again  string // selects the one with an id
	export func(rows *sql.Rows) (engine.StoredDocument, error)
	// insert adds a document, with what is derived from it, unless there is one.
	insert func(tx tx, d engine.StoredDocument) error
}

// carried makes the kind that a table holds. id is an expression of the documents' ids,
// rest the end of the query. insert adds a document unless its key is taken.
func carried[T any](t table[T], id, rest string, insert func(tx tx, id string, doc T) (bool, error)) copied {
	one := t.name + " WHERE " + id + " = ?"
	return copied{
		again: "SELECT doc FROM " + one + " LIMIT 1",
		query: "SELECT " + id + ", doc FROM " + t.name + rest,
		export: func(rows *sql.Rows) (d engine.StoredDocument, err error) {
			doc, err := row[T](rows, &d.ID)
			if err == nil {
				d.JSON, err = json.Marshal(doc)
			}
			return d, err
		},
		insert: func(tx tx, d engine.StoredDocument) error {
			var doc T
			if err := json.Unmarshal(d.JSON, &doc); err != nil {
				return fmt.Errorf("decode %s %s: %w", t.name, d.ID, err)
			}
			inserted, err := insert(tx, d.ID, doc)
			if err != nil || inserted {
				return err
			}
			stored, err := get[T](context.Background(), tx, one, d.ID)
			if err != nil && !errors.Is(err, engine.CodeNotFound) {
				return err
			}
			before, errBefore := json.Marshal(stored)
			wanted, errWanted := json.Marshal(doc)
			if err := errors.Join(errBefore, errWanted); err != nil || string(before) == string(wanted) {
				return err
			}
			return fmt.Errorf("%s %s: %w", t.name, d.ID, engine.CodeExists)
		},
	}
}

// plain is carried for a table whose columns follow from the document alone.
func plain[T any](t table[T], id, rest string) copied {
	return carried(t, id, rest, func(tx tx, _ string, doc T) (bool, error) { return t.insert(tx, doc) })
}

// copies are all kinds, by [engine.DocumentKinds]. A former membership that is followed
// by an active one is known from that one.
var copies = map[string]copied{
	"projects": plain(projects, "id", ""),
	"users":    plain(users, "id", ""),
	"members": carried(members, "project_id || '/' || user_id", "", func(tx tx, _ string, m engine.Member) (bool, error) {
		project, err := projects.one(context.Background(), tx, filter{"id", m.ProjectID})
		if err != nil {
			return false, fmt.Errorf("read the project of a member: %w", err)
		}
		return members.insert(tx, m, ms(project.CreatedAt))
	}),
	"former_members": plain(formerMembers, "project_id || '/' || user_id",
		" WHERE NOT EXISTS (SELECT 1 FROM members m WHERE m.project_id = former_members.project_id AND m.user_id = former_members.user_id)"),
	"api_keys": plain(apiKeys, "id", ""),
	"sessions": plain(sessions, "id", ""),
	"certificates": carried(certificates, "id", "", func(tx tx, _ string, c engine.Certificate) (bool, error) {
		inserted, err := certificates.insert(tx, c)
		if err == nil && inserted {
			err = tx.addGrams(c)
		}
		return inserted, err
	}),
	"certificate_keys": carried(certificateKeys, "certificate_id", "", func(tx tx, id string, k engine.SealedKey) (bool, error) {
		return certificateKeys.insert(tx, k, id)
	}),
	"certificate_events":   plain(events, "id", ""),
	"certificate_policies": plain(policies, "project_id || '/' || version", ""),
	"download_requests":    plain(requests, "id", ""),
	"approval_requests":    plain(approvals, "id", ""),
	"download_tokens":      plain(tokens, "id", " WHERE "+tokens.where),
	"token_settlements": carried(settlements, "id", " WHERE "+settlements.where, func(tx tx, _ string, s engine.Settlement) (bool, error) {
		expiresAt, err := tx.expiry(s.Digest)
		if err != nil {
			return false, err
		}
		return settlements.insert(tx, s, expiresAt)
	}),
	"notification_targets": plain(targets, "id", ""),
	"audit_logs":           carried(entries, "printf('%s/%019d', project_id, seq)", " ORDER BY project_id, seq", tx.insertEntry),
	"data_keys": carried(dataKeys, "id", "", func(tx tx, id string, k engine.SealedKey) (bool, error) {
		return dataKeys.insert(tx, k, id)
	}),
}

// insertEntry inserts an entry that has its number and hash. Those before it must be
// there, but for the beginning of a chain that retention deleted.
func (tx tx) insertEntry(_ string, e engine.AuditEntry) (bool, error) {
	head, beside, err := tx.head(e.ProjectID)
	if err != nil {
		return false, err
	}
	if head.Seq > 0 && e.Seq > head.Seq+1 {
		return false, fmt.Errorf("audit entry %d of %s follows entry %d", e.Seq, e.ProjectID, head.Seq)
	}
	return entries.insert(tx, e, beside...)
}

// errKind refuses a kind that is none of [engine.DocumentKinds].
func errKind(kind string) error { return fmt.Errorf("sqlite: there is no kind of document %q", kind) }

// CompleteDocuments implements [engine.DocumentCopies]. A change is stored whole or not
// at all.
func (s *Store) CompleteDocuments(context.Context) error { return nil }

// ExportDocuments implements [engine.DocumentCopies].
func (s *Store) ExportDocuments(ctx context.Context, kind string, visit func(engine.StoredDocument) error) (err error) {
	c, known := copies[kind]
	if !known {
		return errKind(kind)
	}
	rows, err := s.reading.QueryContext(ctx, c.query)
	if err != nil {
		return fmt.Errorf("read %s: %w", kind, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		d, err := c.export(rows)
		if err != nil {
			return fmt.Errorf("read %s: %w", kind, err)
		}
		if err := visit(d); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ImportDocuments implements [engine.DocumentCopies], in one transaction.
func (s *Store) ImportDocuments(ctx context.Context, kind string, documents []engine.StoredDocument) error {
	c, known := copies[kind]
	if !known {
		return errKind(kind)
	}
	_, err := update(ctx, s, func(tx tx) (none struct{}, err error) {
		for _, d := range documents {
			if err := c.insert(tx, d); err != nil {
				return none, err
			}
		}
		return none, nil
	})
	return err
}
