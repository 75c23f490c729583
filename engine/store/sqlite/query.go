package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// querier runs queries: the readers' pool, or the writer inside a transaction. The
// driver compiles a statement each time it runs, so preparing one gains nothing.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// pool is the readers' connections.
type pool interface {
	querier
	Close() error
}

// connection is the writer's connection.
type connection interface {
	querier
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
}

// ms is a time as the columns hold it, in milliseconds.
func ms(t time.Time) int64 { return t.UnixMilli() }

// orNull turns an empty text into NULL, which keeps the row out of partial indexes.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// scan runs a query and reads one value from each row.
func scan[T any](ctx context.Context, q querier, read func(*sql.Rows) (T, error), query string, args ...any) (all []T, err error) {
	ctx, end := observe(ctx, q, query)
	defer func() { end(err) }()
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		one, err := read(rows)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return all, nil
}

// row reads a document from the last column, and the columns before it into before.
func row[T any](rows *sql.Rows, before ...any) (doc T, err error) {
	var text []byte
	if err := rows.Scan(append(before, &text)...); err != nil {
		return doc, err
	}
	return doc, json.Unmarshal(text, &doc)
}

// get reads one document; from is the table and its condition.
func get[T any](ctx context.Context, q querier, from string, args ...any) (doc T, err error) {
	found, err := scan(ctx, q, func(rows *sql.Rows) (T, error) { return row[T](rows) }, "SELECT doc FROM "+from+" LIMIT 1", args...)
	if err != nil {
		return doc, err
	}
	if len(found) == 0 {
		return doc, engine.CodeNotFound
	}
	return found[0], nil
}

// placed is a document with its place in a listing.
type placed[T any] struct {
	doc  T
	time int64
	id   string
}

// byCreation is the order of most listings.
const byCreation = "created_at, id"

// count counts rows, up to a limit.
func count(ctx context.Context, q querier, limit int, from string, args ...any) (int, error) {
	counts, err := scan(ctx, q, func(rows *sql.Rows) (n int, err error) { return n, rows.Scan(&n) },
		"SELECT count(*) FROM (SELECT 1 FROM "+from+" LIMIT ?)", append(args, limit)...)
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// list reads a page, newest first. order names the two columns by which the
// listing is sorted, a time and an id; from is the table and its condition.
func list[T any](ctx context.Context, q querier, page engine.Page, order, from string, args ...any) ([]T, string, error) {
	place, begun, err := page.Position()
	if err != nil {
		return nil, "", err
	}
	if begun {
		from += " AND (" + order + ") < (?, ?)"
		args = append(args, ms(place.Time), place.ID)
	}
	read := func(rows *sql.Rows) (p placed[T], err error) {
		p.doc, err = row[T](rows, &p.time, &p.id)
		return p, err
	}
	query := "SELECT " + order + ", doc FROM " + from + " ORDER BY " + strings.ReplaceAll(order, ",", " DESC,") + " DESC LIMIT ?"
	found, err := scan(ctx, q, read, query, append(args, page.Limit+1)...)
	if err != nil {
		return nil, "", err
	}
	items, last := pageOf(found, page.Limit)
	if last == nil {
		return items, "", nil
	}
	return items, engine.Cursor{Time: time.UnixMilli(last.time).UTC(), ID: last.id}.String(), nil
}

// pageOf returns the documents of a page. If found holds one more than the limit,
// last is the last document of the page, otherwise nil.
func pageOf[T any](found []placed[T], limit int) (items []T, last *placed[T]) {
	if len(found) > limit {
		found = found[:limit]
		last = &found[limit-1]
	}
	for _, p := range found {
		items = append(items, p.doc)
	}
	return items, last
}

// QueryContext makes tx a querier. It ignores the context; see exec.
func (tx tx) QueryContext(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	return tx.conn.QueryContext(context.Background(), query, args...)
}

// exec changes rows and returns their number.
func (tx tx) exec(statement string, args ...any) (int, error) {
	result, err := tx.conn.ExecContext(context.Background(), statement, args...)
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// filter restricts a query to the rows with a value in a column. An empty value does
// not restrict a listing.
type filter struct{ column, value string }

// filtered returns a table with its condition, for the rows of a project.
func filtered(table, project string, filters ...filter) (from string, args []any) {
	from, args = table+" WHERE project_id = ?", []any{project}
	for _, f := range filters {
		if f.value != "" {
			from += " AND " + f.column + " = ?"
			args = append(args, f.value)
		}
	}
	return from, args
}
