package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// record writes audit entries and an event in the transaction of the change. If the
// first entry was written before, record changes nothing.
func (tx tx) record(rec engine.Record) (added bool, err error) {
	added, err = tx.append(rec.Audit)
	if err != nil || !added {
		return false, err
	}
	for _, e := range rec.Copies {
		if _, err := tx.append(e); err != nil {
			return false, err
		}
	}
	if rec.Event == nil {
		return true, nil
	}
	_, err = events.insert(tx, *rec.Event)
	return true, err
}

// errUnnamed refuses an entry that belongs to no chain, or that could not be
// recognised when it is written again.
var errUnnamed = errors.New("an audit entry needs a Ref and a chain")

// append adds an entry to its chain unless an entry with the same Ref exists.
func (tx tx) append(e engine.AuditEntry) (added bool, err error) {
	if e.Ref == "" || e.ProjectID == "" {
		return false, errUnnamed
	}
	head, beside, err := tx.head(e.ProjectID)
	if err != nil {
		return false, err
	}
	e.Link(tx.auditKey, head)
	return entries.insert(tx, e, beside...)
}

// head returns the last link of a chain, and from its row what the columns of the next
// one follow from.
func (tx tx) head(chain string) (head engine.AuditHead, beside []any, err error) {
	beside = make([]any, len(entries.beside))
	_, err = scan(context.Background(), tx, func(rows *sql.Rows) (none struct{}, err error) {
		return none, rows.Scan(&head.Seq, &head.Hash, &beside[0], &beside[1])
	}, "SELECT seq, hash, latest_time, max_delay FROM audit_logs WHERE project_id = ? ORDER BY seq DESC LIMIT 1", chain)
	return head, beside, err
}

// UseAuditKey implements [engine.AuditLog].
func (s *Store) UseAuditKey(_ context.Context, key []byte) error {
	s.auditKey = key
	return nil
}

// Append implements [engine.AuditLog]. An entry without Ref is refused.
func (s *Store) Append(ctx context.Context, e engine.AuditEntry) error {
	return s.change(ctx, engine.Record{Audit: e}, func(tx) error { return nil })
}

// AuditWaiting implements [engine.AuditLog]. An entry gets its number when it is written.
func (s *Store) AuditWaiting(context.Context) (entries int, since time.Time, err error) {
	return 0, time.Time{}, nil
}

// AuditAfter implements [engine.AuditLog].
func (s *Store) AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]engine.AuditEntry, error) {
	return scan(ctx, s.reading, auditRow, entries.selection()+" WHERE project_id = ? AND seq > ? ORDER BY seq LIMIT ?", chain, seq, limit)
}

// AuditNews implements [engine.AuditLog]. The join keeps the order of the chain's index.
func (s *Store) AuditNews(ctx context.Context, after map[string]int64, limit int) ([]engine.AuditEntry, error) {
	places, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	query := strings.TrimSuffix(entries.selection(), entries.name) + "json_each(?) CROSS JOIN " + entries.name
	return scan(ctx, s.reading, auditRow, query+" WHERE project_id = json_each.key AND seq > json_each.value LIMIT ?", string(places), limit)
}

// PurgeAudit implements [engine.AuditLog].
func (s *Store) PurgeAudit(ctx context.Context, chain string, through int64, limit int) (int, error) {
	return update(ctx, s, func(tx tx) (int, error) { return tx.exec(purgeAudit, chain, chain, through, limit) })
}

const purgeAudit = `DELETE FROM audit_logs WHERE project_id = ? AND seq IN (
  SELECT seq FROM audit_logs WHERE project_id = ? AND seq <= ? ORDER BY seq LIMIT ?)`

// auditRow reads an entry. One that differs from its columns, or cannot be read, has no
// hash, so that a verification finds it.
func auditRow(rows *sql.Rows) (e engine.AuditEntry, err error) {
	r, err := entries.read(rows)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal([]byte(r.doc), &e); err != nil || entries.problem(r) != "" {
		e.Hash = ""
	}
	return e, nil
}

// AuditEntries implements [engine.AuditLog]. An entry that cannot be read has no hash.
func (s *Store) AuditEntries(ctx context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error) {
	query, args, err := auditQuery(q)
	if err != nil {
		return nil, "", err
	}
	read := func(rows *sql.Rows) (p placed[engine.AuditEntry], err error) {
		var text []byte
		if err := rows.Scan(&p.id, &text); err != nil {
			return p, err
		}
		if json.Unmarshal(text, &p.doc) != nil {
			p.doc.Hash = ""
		}
		return p, nil
	}
	found, err := scan(ctx, s.reading, read, query, args...)
	if err != nil {
		return nil, "", err
	}
	items, last := pageOf(found, q.Limit)
	if last == nil {
		return items, "", nil
	}
	return items, engine.Cursor{Time: last.doc.Time, ID: last.id}.String(), nil
}

// auditQuery builds the query for a page. The first filter that is set is the
// narrowest; it decides which index SQLite must use. A filter for an actor needs
// two queries: one for the entry's own actor, one for the person behind an API key.
func auditQuery(q engine.AuditQuery) (query string, args []any, err error) {
	index, where, args := "", "project_id = ?", []any{q.ProjectID}
	for _, f := range []struct{ column, value string }{
		{"request_id", q.RequestID}, {"certificate_id", q.CertificateID}, {"{actor}", q.Actor}, {"action", q.Action},
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
			return "", nil, engine.Errorf(engine.CodeInvalidRequest, "cursor belongs to another listing; use one that this listing returned").Because(err)
		}
		where += " AND seq < ?"
		args = append(args, seq)
	}
	query = "SELECT seq, doc FROM audit_logs" + index + " WHERE " + where
	if q.Actor != "" {
		query = strings.ReplaceAll(query, "{actor}", "actor_id") + " UNION ALL " + strings.ReplaceAll(query, "{actor}", "person") + " AND person <> actor_id"
		args = append(args, args...)
	}
	return query + " ORDER BY seq DESC LIMIT ?", append(args, q.Limit+1), nil
}

// condition is a part of a query with its arguments.
type condition struct {
	sql  string
	args []any
}

// auditBounds restricts a query to a span of time. By latest_time and max_delay
// (schema.sql) it also finds the sequence numbers between which the entries must
// be, so that SQLite does not read the whole chain.
func auditBounds(q engine.AuditQuery) (bounds []condition) {
	if !q.From.IsZero() {
		from := ms(q.From)
		bounds = append(bounds, condition{`time >= ? AND seq > coalesce((
  SELECT seq FROM audit_logs WHERE project_id = ? AND latest_time < ? AND seq % 32 = 0 ORDER BY latest_time DESC, seq DESC LIMIT 1), 0)`,
			[]any{from, q.ProjectID, from}})
	}
	if !q.To.IsZero() {
		to := ms(q.To)
		bounds = append(bounds, condition{`time < ? AND seq < coalesce((
  SELECT seq FROM audit_logs WHERE project_id = ? AND latest_time >= ? + (
    SELECT max_delay FROM audit_logs WHERE project_id = ? ORDER BY seq DESC LIMIT 1) AND seq % 32 = 0 ORDER BY latest_time, seq LIMIT 1), ?)`,
			[]any{to, q.ProjectID, to, q.ProjectID, math.MaxInt64}})
	}
	return bounds
}
