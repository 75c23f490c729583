package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

var unfoundInSQLite = unfound{
	{"no entry has the digest of a session: it has a MAC of its own, without which it opens nothing", []string{"sessions.id: member"}},
	{"only the newest version of a policy decides, and only it is compared", []string{"certificate_policies (replaced).project_id: member"}},
	{"a sealed key does not name its id; it opens under no other", []string{"data_keys.id: column"}},
	{"the log says that the membership ended; what is kept of it is only when, and the log has that too", []string{
		"former_members.created_at: member", "former_members.former_until: member", "former_members.project_id: member", "former_members.role: member",
		"former_members.user_id: member", "former_members: deletion", "former_members: insertion",
	}},
}

// identities are, for each table, the columns by which a copy of a row must differ from
// it, with the member of the document that each repeats, if any.
var identities = map[string]map[string]string{
	"projects": {"id": "id"}, "users": {"id": "id", "username": "username"}, "members": {"user_id": "user_id"}, "former_members": {"user_id": "user_id"},
	"api_keys": {"id": "id", "secret_digest": "secret_digest"}, "sessions": {"id": "id"}, "certificates": {"id": "id"},
	"certificate_keys": {"certificate_id": ""}, "certificate_events": {"id": "id"}, "certificate_policies": {"version": "version"},
	"download_requests": {"id": "id"}, "approval_requests": {"id": "id", "request_id": "request_id"}, "download_tokens": {"id": "digest"},
	"notification_targets": {"id": "id"}, "audit_logs": {"seq": "seq", "ref": "ref"}, "data_keys": {"id": ""},
}

// Whoever changes, deletes or adds anything in the database is found, except for what
// the test lists.
func TestTamperingWithSQLiteIsFound(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, binary(t), dir, "COUNTERSIGN_NOTIFICATIONS_ALLOW_HOSTS=127.0.0.1")
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "db", "countersign.db")+"?_pragma=synchronous(off)")
	noError(t, err)
	db.SetMaxOpenConns(1) // the copies of the tables are in its memory
	defer func() { noError(t, db.Close()) }()
	d := &tampered{t: t, db: db, findings: findings{}}
	early := filepath.Join(t.TempDir(), "early.db")
	d.exec("VACUUM INTO ?", early)
	s.used()
	s.stop()
	s.inStoreWithKey(func(store engine.Store, key []byte) {
		d.verification = s.verification(store, key)
		d.tryAll()
		d.rollBack(early)
	})
	d.report(t, unfoundAnywhere, unfoundInSQLite)
}

// rollBack verifies an earlier copy of the whole database.
func (d *tampered) rollBack(early string) {
	d.t.Helper()
	store, err := sqlite.Open(d.t.Context(), early)
	noError(d.t, err)
	defer func() { noError(d.t, store.Close()) }()
	noError(d.t, store.UseAuditKey(d.t.Context(), d.by.Key))
	v := *d.verification
	v.store, v.by.Store = store, store
	d.add("database: rolled back", v.said())
}

// tampered is a database with which somebody tampers, one change at a time.
type tampered struct {
	*verification
	findings
	t  *testing.T
	db *sql.DB
}

// line is a row of a table. Its name is that of the table; a policy that a newer one has
// replaced has a name of its own.
type line struct {
	table   string
	name    string
	columns map[string]any
	doc     map[string]any
}

func (d *tampered) exec(statement string, args ...any) {
	d.t.Helper()
	_, err := d.db.ExecContext(d.t.Context(), statement, args...)
	noError(d.t, err)
}

func (d *tampered) tryAll() {
	d.exec("ATTACH ':memory:' AS kept")
	for _, table := range d.texts("SELECT name FROM sqlite_schema WHERE type = 'table'") {
		if table == "certificate_grams" {
			continue // it holds no documents; package sqlite has its test
		}
		if identities[table] == nil {
			d.t.Errorf("the table %s is not tried", table)
			continue
		}
		d.exec("CREATE TABLE kept." + table + " AS SELECT * FROM main." + table)
		for _, l := range d.lines(table) {
			d.columns(l)
			d.members(l)
			d.try(l, l.name+": deletion", "DELETE FROM "+table+" WHERE doc = ?", l.columns["doc"])
			d.insertion(l)
		}
	}
}

func (d *tampered) texts(query string) (all []string) {
	d.t.Helper()
	rows, err := d.db.QueryContext(d.t.Context(), query)
	noError(d.t, err)
	defer func() { noError(d.t, rows.Close()) }()
	for rows.Next() {
		var text string
		noError(d.t, rows.Scan(&text))
		all = append(all, text)
	}
	noError(d.t, rows.Err())
	return all
}

// lines are some rows of a table: the last, and the first of each state.
func (d *tampered) lines(table string) (some []line) {
	d.t.Helper()
	rows, err := d.db.QueryContext(d.t.Context(), "SELECT * FROM "+table)
	noError(d.t, err)
	defer func() { noError(d.t, rows.Close()) }()
	names, err := rows.Columns()
	noError(d.t, err)
	var all []line
	for rows.Next() {
		l, values, into := line{table: table, columns: map[string]any{}}, make([]any, len(names)), []any{}
		for i := range values {
			into = append(into, &values[i])
		}
		noError(d.t, rows.Scan(into...))
		for i, name := range names {
			l.columns[name] = values[i]
		}
		decoder := json.NewDecoder(strings.NewReader(l.columns["doc"].(string)))
		decoder.UseNumber()
		noError(d.t, decoder.Decode(&l.doc))
		all = append(all, l)
	}
	noError(d.t, rows.Err())
	if len(all) == 0 {
		d.t.Errorf("the table %s has no row", table)
	}
	states := map[string]bool{}
	for i := range all {
		if all[i].name = table; table == "certificate_policies" && i < len(all)-1 {
			all[i].name += " (replaced)"
		}
	}
	for i, l := range all {
		state := fmt.Sprint(l.name, l.doc["status"], l.doc["kind"])
		if i == len(all)-1 || !states[state] && table != "audit_logs" {
			some = append(some, l)
		}
		states[state] = true
	}
	return some
}

// try makes a change, notes what is said of it, and undoes it.
func (d *tampered) try(l line, change, statement string, args ...any) {
	d.t.Helper()
	result, err := d.db.ExecContext(d.t.Context(), statement, args...)
	if err != nil && strings.Contains(err.Error(), "constraint failed") {
		return // the database refuses the change
	}
	noError(d.t, err)
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		d.t.Fatalf("%s: %d rows: %v", statement, n, err)
	}
	d.add(change, d.said())
	d.exec("DELETE FROM main." + l.table + "; INSERT INTO main." + l.table + " SELECT * FROM kept." + l.table)
}

// columns changes each column of a row and leaves the document.
func (d *tampered) columns(l line) {
	for name, value := range l.columns {
		other := any("7")
		switch value := value.(type) {
		case string:
			other = value + "x"
		case int64:
			other = value - 1000
		}
		if name != "doc" {
			d.try(l, l.name+"."+name+": column", "UPDATE "+l.table+" SET "+name+" = ? WHERE doc = ?", other, l.columns["doc"])
		}
	}
}

// members changes each member of a document, and the columns that repeat it.
func (d *tampered) members(l line) {
	for name, value := range l.doc {
		for _, other := range altered(name, value) {
			set, args := "doc = ?", []any{l.with(map[string]any{name: other})}
			if _, repeated := l.columns[name]; repeated {
				set += ", " + name + " = ?"
				args = append(args, asColumn(other))
			}
			if _, ends := l.columns["ended_at"]; ends && name == "status" {
				set += ", ended_at = ?"
				args = append(args, l.endedAt(other))
			}
			d.try(l, memberChange(l.name, name, value, other), "UPDATE "+l.table+" SET "+set+" WHERE doc = ?", append(args, l.columns["doc"])...)
		}
	}
}

// endedAt is the column ended_at of a request with another status.
func (l line) endedAt(status any) any {
	if engine.Status(status.(string)).Ended() {
		return asColumn(l.doc["updated_at"])
	}
	return nil
}

// asColumn is a member as columns repeat it.
func asColumn(value any) any {
	if text, ok := value.(string); ok {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return at.UnixMilli()
		}
	}
	return value
}

// with is the text of the document with other members.
func (l line) with(changes map[string]any) string {
	changed := map[string]any{}
	for name, value := range l.doc {
		changed[name] = value
		if other, ok := changes[name]; ok {
			changed[name] = other
		}
	}
	text := &bytes.Buffer{}
	if err := json.NewEncoder(text).Encode(changed); err != nil {
		panic(err) // it was decoded from JSON
	}
	return text.String()
}

// insertion adds a copy of a row under another identity.
func (d *tampered) insertion(l line) {
	names, values, changes := []string{}, []any{}, map[string]any{}
	for name, value := range l.columns {
		member, identity := identities[l.table][name]
		if identity {
			switch v := value.(type) {
			case string:
				value = "copy" + v
			case int64:
				value = v + 1000
			}
			changes[member] = value
		}
		names, values = append(names, name), append(values, value)
	}
	values[slices.Index(names, "doc")] = l.with(changes)
	d.try(l, l.name+": insertion", "INSERT INTO "+l.table+" ("+strings.Join(names, ", ")+") VALUES (?"+strings.Repeat(", ?", len(names)-1)+")", values...)
}
