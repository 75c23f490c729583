package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// checked is a table whose rows can be compared with their documents.
type checked interface {
	// misplaced returns at most limit rows of a project that differ from their documents.
	misplaced(ctx context.Context, q querier, projectID string, limit int) ([]engine.Disagreement, error)
	// rowsOf is the query by which misplaced reads them.
	rowsOf(projectID string) (query string, args []any)
}

// Misplaced implements [engine.ColumnChecks]. It reads every table from beginning to
// end, because a row of another project may hold a document of this one.
func (s *Store) Misplaced(ctx context.Context, projectID string) (found []engine.Disagreement, err error) {
	for _, t := range tables {
		more, err := t.misplaced(ctx, s.reading, projectID, engine.MaxMisplaced-len(found))
		if err != nil {
			return nil, fmt.Errorf("compare columns with documents: %w", err)
		}
		found = append(found, more...)
	}
	more, err := s.withoutGrams(ctx, projectID, engine.MaxMisplaced-len(found))
	if err != nil {
		return nil, fmt.Errorf("compare the search index with certificates: %w", err)
	}
	return append(found, more...), nil
}

func (t table[T]) misplaced(ctx context.Context, q querier, projectID string, limit int) (found []engine.Disagreement, err error) {
	query, args := t.rowsOf(projectID)
	if query == "" || limit == 0 {
		return nil, nil
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for len(found) < limit && rows.Next() {
		r, err := t.read(rows)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", t.name, err)
		}
		if problem := t.problem(r); problem != "" {
			found = append(found, engine.Disagreement{Document: t.name, ID: t.idOf(r), Problem: problem})
		}
	}
	return found, rows.Err()
}

// member is an expression of a member of a row's document. It is NULL if the document
// is not JSON.
func member(path string) string { return "iif(json_valid(doc), doc ->> '" + path + "', NULL)" }

// rowsOf selects the rows whose columns or whose document name a project. Those of
// engine.SystemChain are also all whose columns name no project that exists. The query
// is "" if the table has no such rows.
func (t table[T]) rowsOf(projectID string) (query string, args []any) {
	query = t.selection()
	conditions := []string{}
	switch {
	case t.project != "" && t.member != "":
		conditions, args = []string{"? IN (" + t.project + ", " + member(t.member) + ")"}, []any{projectID}
	case t.project != "":
		conditions, args = []string{"? = " + t.project}, []any{projectID}
	case projectID != engine.SystemChain:
		return "", nil
	}
	if t.project != "" && projectID == engine.SystemChain {
		conditions = append(conditions, "NOT EXISTS (SELECT 1 FROM projects p WHERE p.id = "+t.project+")")
	}
	where := strings.Join(conditions, " OR ")
	switch {
	case where == "" && t.where == "":
		return query, nil
	case t.where == "":
		return query + " WHERE " + where, args
	case where == "":
		return query + " WHERE " + t.where, nil
	}
	return query + " WHERE " + t.where + " AND (" + where + ")", args
}

// storedRow is a row of a table as it was read.
type storedRow struct {
	values, beside []any
	doc            string
}

// selection selects rows for read.
func (t table[T]) selection() string {
	return "SELECT " + strings.Join(slices.Concat(t.columns, t.beside), ", ") + ", doc FROM " + t.name
}

func (t table[T]) read(rows *sql.Rows) (storedRow, error) {
	values := make([]any, len(t.columns)+len(t.beside))
	var doc string
	into := []any{}
	for i := range values {
		into = append(into, &values[i])
	}
	err := rows.Scan(append(into, &doc)...)
	return storedRow{values[:len(t.columns)], values[len(t.columns):], doc}, err
}

// problem says what is wrong with a row, or "".
func (t table[T]) problem(r storedRow) string {
	var doc T
	if err := json.Unmarshal([]byte(r.doc), &doc); err != nil {
		return "the document cannot be read"
	}
	var wrong []string
	for i, want := range t.values(doc, r.beside...) {
		if r.values[i] != want {
			wrong = append(wrong, t.columns[i])
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	return "the document differs from the column " + strings.Join(wrong, ", ")
}

// idOf identifies a row as its columns do.
func (t table[T]) idOf(r storedRow) string {
	var parts []string
	for _, column := range t.id {
		parts = append(parts, fmt.Sprint(r.values[slices.Index(t.columns, column)]))
	}
	return strings.Join(parts, "/")
}
