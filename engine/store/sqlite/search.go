package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// certificate_grams has the grams of each certificate's search_text. Its rows follow from
// the certificates, and a search compares what it finds with the certificate.
const gramsSchema = `
CREATE TABLE certificate_grams (
  project_id TEXT NOT NULL, gram INTEGER NOT NULL, created_at INTEGER NOT NULL, id TEXT NOT NULL,
  PRIMARY KEY (project_id, gram, created_at, id)
) STRICT, WITHOUT ROWID;
`

// searched is the table and the condition of a search. The first gram of the words
// decides what is read; words that are shorter than a gram are compared in the order of
// the listing, because most texts have them.
func searched(projectID, query string) (order, from string, args []any, err error) {
	words := strings.Fields(query)
	if len(words) == 0 {
		return byCreation, "certificates WHERE project_id = ?", []any{projectID}, nil
	}
	text, err := json.Marshal(words)
	if err != nil {
		return "", "", nil, err
	}
	const every = " AND NOT EXISTS (SELECT 1 FROM json_each(?) WHERE instr(search_text, value) = 0)"
	grams := engine.QueryGrams(words)
	if len(grams) == 0 {
		return byCreation, "certificates WHERE project_id = ?" + every, []any{projectID, string(text)}, nil
	}
	return "g.created_at, g.id", "certificate_grams g CROSS JOIN certificates c ON c.id = g.id WHERE g.project_id = ? AND g.gram = ? AND c.project_id = g.project_id" + every,
		[]any{projectID, grams[0], string(text)}, nil
}

// addGrams adds the grams of a certificate.
func (tx tx) addGrams(c engine.Certificate) error {
	text, err := json.Marshal(engine.SearchGrams(c.SearchText()))
	if err != nil {
		return err
	}
	_, err = tx.exec("INSERT OR IGNORE INTO certificate_grams (project_id, gram, created_at, id) SELECT ?, value, ?, ? FROM json_each(?)",
		c.ProjectID, ms(c.CreatedAt), c.ID, string(text))
	return err
}

// fillGrams adds the grams of all certificates of a database that had none. It is one
// transaction, as each import is: the table has all grams or, of an older database, none.
func fillGrams(ctx context.Context, conn *sql.Conn) (err error) {
	if err := exec(conn, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("fill the search index: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("fill the search index: %w", err), exec(conn, "ROLLBACK"))
		}
	}()
	filled, err := count(ctx, conn, 1, "certificate_grams")
	if err != nil {
		return err
	}
	var all []engine.Certificate
	if filled == 0 {
		if all, err = scan(ctx, conn, func(rows *sql.Rows) (engine.Certificate, error) { return row[engine.Certificate](rows) }, "SELECT doc FROM certificates"); err != nil {
			return err
		}
	}
	for _, c := range all {
		if err := (tx{conn: conn}).addGrams(c); err != nil {
			return err
		}
	}
	return exec(conn, "COMMIT")
}

// withoutGrams returns the certificates of a project that a search would not find.
func (s *Store) withoutGrams(ctx context.Context, projectID string, limit int) (found []engine.Disagreement, err error) {
	type indexed struct {
		id, text  string
		createdAt int64
	}
	all, err := scan(ctx, s.reading, func(rows *sql.Rows) (c indexed, err error) { return c, rows.Scan(&c.id, &c.text, &c.createdAt) },
		"SELECT id, search_text, created_at FROM certificates WHERE project_id = ?", projectID)
	for _, c := range all {
		if len(found) >= limit {
			break
		}
		grams := engine.SearchGrams(c.text)
		text, err := json.Marshal(grams)
		if err != nil {
			return nil, err
		}
		n, err := count(ctx, s.reading, len(grams)+1,
			"json_each(?) CROSS JOIN certificate_grams g ON g.project_id = ? AND g.gram = json_each.value AND g.created_at = ? AND g.id = ?",
			string(text), projectID, c.createdAt, c.id)
		if err != nil {
			return nil, err
		}
		if n != len(grams) {
			found = append(found, engine.Disagreement{Document: certificates.name, ID: c.id, Problem: "the search index lacks the document"})
		}
	}
	return found, err
}
