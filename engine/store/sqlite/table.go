package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// table says under which values of its columns a table holds a document. Every write,
// every lookup of one document and the check of the columns (misplaced.go) use it, so
// that they cannot differ.
type table[T any] struct {
	name    string
	columns []string // without doc
	// values are those of columns, in their order: texts, int64s and nil for NULL.
	values func(doc T, beside ...any) []any
	// beside are expressions of values in other rows, from which columns follow too. A
	// write passes what they would select.
	beside []string
	// changing are the columns that change with a document; the others never do. A
	// document whose version changes only replaces an older one.
	changing []string
	// where restricts the table to the rows that hold these documents, if others hold
	// documents of another kind.
	where string
	// id are the columns that identify a row in a disagreement.
	id []string
	// project is an expression of the project of a row, and member the path of the member
	// in which the document names it, if any. A table without project belongs to none.
	project, member string
}

// insert adds a document unless one of its keys is taken.
func (t table[T]) insert(tx tx, doc T, beside ...any) (inserted bool, err error) {
	n, err := t.write(tx, "DO NOTHING", doc, beside...)
	return n == 1, err
}

// create is insert that returns CodeExists if a key is taken.
func (t table[T]) create(tx tx, doc T, beside ...any) error {
	inserted, err := t.insert(tx, doc, beside...)
	if err == nil && !inserted {
		return engine.CodeExists
	}
	return err
}

// put inserts a document or replaces an older version of it.
func (t table[T]) put(tx tx, doc T) error {
	set := ""
	for _, column := range t.changing {
		set += column + " = excluded." + column + ", "
	}
	_, err := t.write(tx, "(id) DO UPDATE SET "+set+"doc = excluded.doc WHERE version < excluded.version", doc)
	return err
}

// write inserts a document. onConflict says what happens if one of its keys is taken.
func (t table[T]) write(tx tx, onConflict string, doc T, beside ...any) (int, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return 0, fmt.Errorf("encode for %s: %w", t.name, err)
	}
	return tx.exec("INSERT INTO "+t.name+" ("+strings.Join(t.columns, ", ")+", doc) VALUES ("+strings.Repeat("?, ", len(t.columns))+"?) ON CONFLICT "+onConflict,
		append(t.values(doc, beside...), string(text))...)
}

// rewrite replaces the document of the same id, with the columns that may change. It
// returns 0 if there is none, or none that is older.
func (t table[T]) rewrite(tx tx, doc T) (replaced int, err error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return 0, fmt.Errorf("encode for %s: %w", t.name, err)
	}
	set, args, values := "", []any{}, t.values(doc)
	for _, column := range t.changing {
		set += column + " = ?, "
		args = append(args, values[slices.Index(t.columns, column)])
	}
	where := " WHERE id = ?"
	args = append(args, string(text), values[slices.Index(t.columns, "id")])
	if version := slices.Index(t.changing, "version"); version >= 0 {
		where += " AND version < ?"
		args = append(args, args[version])
	}
	return tx.exec("UPDATE "+t.name+" SET "+set+"doc = ?"+where, args...)
}

// one reads the document under the values of some columns. A document that says other
// values was moved to where it is found, such as an API key to the digest of another
// secret: it is CodeNotFound.
func (t table[T]) one(ctx context.Context, q querier, asked ...filter) (T, error) {
	return t.first(ctx, q, "", asked...)
}

// first is one for the first document in an order.
func (t table[T]) first(ctx context.Context, q querier, order string, asked ...filter) (doc T, err error) {
	conditions, args := []string{}, []any{}
	for _, f := range asked {
		conditions = append(conditions, f.column+" = ?")
		args = append(args, f.value)
	}
	doc, err = get[T](ctx, q, t.name+" WHERE "+strings.Join(conditions, " AND ")+order, args...)
	if err != nil {
		return doc, err
	}
	values := t.values(doc, make([]any, len(t.beside))...)
	for _, f := range asked {
		if values[slices.Index(t.columns, f.column)] != any(f.value) {
			var none T
			return none, engine.CodeNotFound
		}
	}
	return doc, nil
}

// ofProject are the filters of a document in its project.
func ofProject(projectID, id string) []filter {
	return []filter{{"id", id}, {"project_id", projectID}}
}
