package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// record puts a change on record inside its transaction. What is on record
// already stays as it is, event included.
func (tx tx) record(rec engine.Record) error {
	added, err := tx.append(rec.Audit)
	if err != nil || !added || rec.Event == nil {
		return err
	}
	e := rec.Event
	_, err = tx.insert("certificate_events", "id, project, certificate, at", e, e.ID, e.ProjectID, e.CertificateID, ms(e.Time))
	return err
}

// errUnnamed refuses an entry that could not be recognised when it is written
// again, or belongs to no chain.
var errUnnamed = errors.New("an audit entry needs a Ref and a chain")

// head is the last link of a chain with the columns that only grow along it.
type head struct {
	engine.AuditHead
	high, lag int64
}

// append links an entry to its chain unless its Ref is on record.
func (tx tx) append(e engine.AuditEntry) (added bool, err error) {
	if e.Ref == "" || e.ProjectID == "" {
		return false, errUnnamed
	}
	heads, err := scan(context.Background(), tx, func(rows *sql.Rows) (h head, err error) {
		return h, rows.Scan(&h.Seq, &h.Hash, &h.high, &h.lag)
	}, "SELECT seq, hash, high, lag FROM audit_logs WHERE project = ? ORDER BY seq DESC LIMIT 1", e.ProjectID)
	if err != nil {
		return false, err
	}
	last := head{high: ms(e.Time)}
	if len(heads) > 0 {
		last = heads[0]
	}
	e.Link(last.AuditHead)
	at := ms(e.Time)
	high := max(last.high, at)
	return tx.insert("audit_logs", "project, seq, ref, hash, at, high, lag, action, actor, person, certificate, request", e,
		e.ProjectID, e.Seq, e.Ref, e.Hash, at, high, max(last.lag, high-at),
		e.Action, e.Actor.ID, e.Actor.Person, orNull(e.CertificateID), orNull(e.RequestID))
}

// Append implements [engine.AuditLog]. An entry without Ref is refused.
func (s *Store) Append(ctx context.Context, e engine.AuditEntry) error {
	return s.change(ctx, engine.Record{Audit: e}, func(tx) error { return nil })
}

// AuditAfter implements [engine.AuditLog].
func (s *Store) AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]engine.AuditEntry, error) {
	return scan(ctx, s.reading, func(rows *sql.Rows) (engine.AuditEntry, error) { return row[engine.AuditEntry](rows) },
		"SELECT doc FROM audit_logs WHERE project = ? AND seq > ? ORDER BY seq LIMIT ?", chain, seq, limit)
}

// AuditEntries implements [engine.AuditLog]. It always keeps to the query's
// project.
func (s *Store) AuditEntries(ctx context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error) {
	query, args, err := auditQuery(q)
	if err != nil {
		return nil, "", err
	}
	take := func(rows *sql.Rows) (p placed[engine.AuditEntry], err error) {
		p.doc, err = row[engine.AuditEntry](rows, &p.id)
		return p, err
	}
	found, err := scan(ctx, s.reading, take, query, args...)
	if err != nil {
		return nil, "", err
	}
	items, last := cut(found, q.Limit)
	if last == nil {
		return items, "", nil
	}
	return items, engine.Cursor{Time: last.doc.Time, ID: last.id}.String(), nil
}

// auditQuery writes the query for a page. Its first filter, the narrowest, says
// which index to follow. An actor is looked for twice: as the entry's own, and
// as the person behind another.
func auditQuery(q engine.AuditQuery) (query string, args []any, err error) {
	index, where, args := "", "project = ?", []any{q.ProjectID}
	for _, f := range []struct{ column, value string }{
		{"request", q.RequestID}, {"certificate", q.CertificateID}, {"{actor}", q.Actor}, {"action", q.Action},
	} {
		if f.value == "" {
			continue
		}
		if index == "" {
			index = " INDEXED BY audit_" + f.column
		}
		where += " AND " + f.column + " = ?"
		args = append(args, f.value)
	}
	if q.Seq != 0 {
		where += " AND seq = ?"
		args = append(args, q.Seq)
	}
	for _, bound := range auditBounds(q) {
		where += " AND " + bound.sql
		args = append(args, bound.args...)
	}
	place, begun, err := q.Position()
	if err != nil {
		return "", nil, err
	}
	if begun {
		seq, err := strconv.ParseInt(place.ID, 10, 64)
		if err != nil {
			return "", nil, engine.Errorf(engine.CodeInvalidRequest, "cursor is that of another listing").Because(err)
		}
		where += " AND seq < ?"
		args = append(args, seq)
	}
	query = "SELECT seq, doc FROM audit_logs" + index + " WHERE " + where
	if q.Actor != "" {
		query = strings.ReplaceAll(query, "{actor}", "actor") + " UNION ALL " + strings.ReplaceAll(query, "{actor}", "person") + " AND person <> actor"
		args = append(args, args...)
	}
	return query + " ORDER BY seq DESC LIMIT ?", append(args, q.Limit+1), nil
}

// condition is a part of a query with its arguments.
type condition struct {
	sql  string
	args []any
}

// auditBounds narrows a query to a time. The milestones of a chain (schema.sql)
// turn it into sequence numbers, so that a walk begins and ends near what it is
// to find.
func auditBounds(q engine.AuditQuery) (bounds []condition) {
	if !q.From.IsZero() {
		from := ms(q.From)
		bounds = append(bounds, condition{`at >= ? AND seq > coalesce((
  SELECT seq FROM audit_logs WHERE project = ? AND high < ? AND seq % 32 = 0 ORDER BY high DESC, seq DESC LIMIT 1), 0)`,
			[]any{from, q.ProjectID, from}})
	}
	if !q.To.IsZero() {
		to := ms(q.To)
		bounds = append(bounds, condition{`at < ? AND seq < coalesce((
  SELECT seq FROM audit_logs WHERE project = ? AND high >= ? + (
    SELECT lag FROM audit_logs WHERE project = ? ORDER BY seq DESC LIMIT 1) AND seq % 32 = 0 ORDER BY high, seq LIMIT 1), ?)`,
			[]any{to, q.ProjectID, to, q.ProjectID, math.MaxInt64}})
	}
	return bounds
}
