package sqlite

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/storetest"
)

// walks are the allowed scans. A listing without a filter scans the index in whose
// order it is sorted; json_each scans the words of a search; a count scans the rows
// that it found by an index.
var walks = []string{
	"SCAN projects USING INDEX projects_list",
	"SCAN users USING INDEX users_list",
	"SCAN download_requests USING INDEX requests_unended",
	"SCAN approval_requests USING COVERING INDEX approvals_pending",
	"SCAN json_each VIRTUAL TABLE",
	"SCAN (subquery-1)",
}

// plans collects the query plans of the statements that a store runs.
type plans struct {
	mu   sync.Mutex
	seen map[string][]string // by statement
}

func (p *plans) explain(ctx context.Context, q querier, statement string, args []any) error {
	switch strings.Fields(statement)[0] {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
	default:
		return nil
	}
	lines, err := scan(ctx, q, func(rows *sql.Rows) (line string, err error) {
		var id, parent, unused int
		return line, rows.Scan(&id, &parent, &unused, &line)
	}, "EXPLAIN QUERY PLAN "+statement, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[statement] = lines
	return err
}

// explainedPool and explainedConn explain each statement before they run it.
type explainedPool struct {
	pool
	plans *plans
}

func (e explainedPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := e.plans.explain(ctx, e.pool, query, args); err != nil {
		return nil, err
	}
	return e.pool.QueryContext(ctx, query, args...)
}

type explainedConn struct {
	connection
	plans *plans
}

func (e explainedConn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := e.plans.explain(ctx, e.connection, query, args); err != nil {
		return nil, err
	}
	return e.connection.QueryContext(ctx, query, args...)
}

func (e explainedConn) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	if err := e.plans.explain(ctx, e.connection, statement, args); err != nil {
		return nil, err
	}
	return e.connection.ExecContext(ctx, statement, args...)
}

// Every statement of the contract uses an index, and none sorts. Only the check of the
// columns, and what carries documents to another store, read whole tables.
func TestQueryPlans(t *testing.T) {
	p := &plans{seen: map[string][]string{}}
	t.Run("contract", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) engine.Store {
			s := newStore()
			if err := s.open(t.Context(), filepath.Join(t.TempDir(), "countersign.db")); err != nil {
				t.Fatal(err)
			}
			s.reading = explainedPool{s.reading, p}
			go s.write(explainedConn{s.conn, p})
			return s
		})
	})
	for _, t := range tables {
		for _, projectID := range []string{"prj", engine.SystemChain} {
			query, _ := t.rowsOf(projectID)
			delete(p.seen, query)
		}
	}
	for _, c := range copies {
		delete(p.seen, c.query)
		delete(p.seen, c.again)
	}
	if len(p.seen) < 100 {
		t.Fatalf("only %d statements were explained", len(p.seen))
	}
	for statement, lines := range p.seen {
		plan := strings.Join(lines, "\n\t")
		left := plan
		for _, walk := range walks {
			left = strings.ReplaceAll(left, walk, "")
		}
		if strings.Contains(left, "SCAN") || strings.Contains(left, "TEMP B-TREE") {
			t.Errorf("%s\n\t%s", statement, plan)
		}
	}
}

// Every combination of filters has an index with all their columns.
func TestRequestPlans(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	for i := range 8 {
		q := engine.RequestQuery{ProjectID: "prj"}
		want := 3 // project and the cursor's two
		for bit, set := range []func(){
			func() { q.Person = "user" }, func() { q.Status = engine.StatusIssued }, func() { q.CertificateID = "cert" },
		} {
			if i>>bit&1 == 1 {
				set()
				want++
			}
		}
		p := &plans{seen: map[string][]string{}}
		from, args := requestsFrom(q)
		page := engine.Page{Limit: 5, Cursor: engine.Cursor{ID: "req"}.String()}
		if _, _, err := list[engine.Request](t.Context(), explainedPool{s.reading, p}, page, byCreation, from, args...); err != nil {
			t.Fatal(err)
		}
		for statement, lines := range p.seen {
			if plan := strings.Join(lines, "\n\t"); strings.Count(plan, "?") != want {
				t.Errorf("%s\n\t%s", statement, plan)
			}
		}
	}
}

// The requests that have not ended have an index of their own, so that no ended one is
// read.
func TestUnendedPlan(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	p := &plans{seen: map[string][]string{}}
	s.reading = explainedPool{s.reading, p}
	if _, _, err := s.UnendedRequests(t.Context(), engine.Page{Limit: 5, Cursor: engine.Cursor{ID: "req"}.String()}); err != nil {
		t.Fatal(err)
	}
	const want = "requests_unended ((created_at,id)<(?,?))"
	for statement, lines := range p.seen {
		if plan := strings.Join(lines, "\n\t"); !strings.Contains(plan, want) {
			t.Errorf("%s\n\t%s\n\tlacks %s", statement, plan, want)
		}
	}
}

// Settled approvals have indexes of their own, so that no pending one is read.
func TestApprovalPlans(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	for _, c := range []struct {
		q    engine.ApprovalQuery
		want string
	}{
		{engine.ApprovalQuery{}, "approvals_list (project_id=? AND (created_at,id)<(?,?))"},
		{engine.ApprovalQuery{Status: engine.ApprovalPending}, "approvals_status (project_id=? AND status=? AND (created_at,id)<(?,?))"},
		{engine.ApprovalQuery{Settled: true}, "approvals_settled (project_id=? AND (created_at,id)<(?,?))"},
		{engine.ApprovalQuery{Settled: true, Person: "user"}, "approvals_person_settled (project_id=? AND person=? AND (created_at,id)<(?,?))"},
	} {
		c.q.ProjectID, c.q.Page = "prj", engine.Page{Limit: 5, Cursor: engine.Cursor{ID: "apr"}.String()}
		p := &plans{seen: map[string][]string{}}
		from, args := approvalsFrom(c.q)
		if _, _, err := list[engine.Approval](t.Context(), explainedPool{s.reading, p}, c.q.Page, byCreation, from, args...); err != nil {
			t.Fatal(err)
		}
		for statement, lines := range p.seen {
			if plan := strings.Join(lines, "\n\t"); !strings.Contains(plan, c.want) {
				t.Errorf("%s\n\t%s\n\tlacks %s", statement, plan, c.want)
			}
		}
	}
}

// The events of a request are found without the rest of a certificate's timeline.
func TestEventPlans(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	q := engine.EventQuery{ProjectID: "prj", CertificateID: "cert", RequestID: "req", Page: engine.Page{Limit: 5, Cursor: engine.Cursor{ID: "event"}.String()}}
	p := &plans{seen: map[string][]string{}}
	from, args := eventsFrom(q)
	if _, _, err := list[engine.Event](t.Context(), explainedPool{s.reading, p}, q.Page, "time, id", from, args...); err != nil {
		t.Fatal(err)
	}
	const want = "events_request (project_id=? AND certificate_id=? AND request_id=? AND (time,id)<(?,?))"
	for statement, lines := range p.seen {
		if plan := strings.Join(lines, "\n\t"); !strings.Contains(plan, want) {
			t.Errorf("%s\n\t%s\n\tlacks %s", statement, plan, want)
		}
	}
}

// The narrowest filter of an audit query decides its index, also with a span of
// time. Without a filter the primary key is used.
func TestAuditPlans(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	at := time.UnixMilli(1)
	for _, c := range []struct {
		q    engine.AuditQuery
		want []string
	}{
		{engine.AuditQuery{RequestID: "a", CertificateID: "b", Actor: "c", Action: "d"}, []string{"audit_request_id (project_id=? AND request_id=? AND seq<?)"}},
		{engine.AuditQuery{CertificateID: "b", Action: "d"}, []string{"audit_certificate_id (project_id=? AND certificate_id=? AND seq<?)"}},
		{engine.AuditQuery{Actor: "c", Action: "d"}, []string{"audit_actor_id (project_id=? AND actor_id=? AND seq<?)", "audit_person (project_id=? AND person=? AND seq<?)"}},
		{engine.AuditQuery{Action: "d"}, []string{"audit_action (project_id=? AND action=? AND seq<?)"}},
		{engine.AuditQuery{}, []string{"audit_logs_2 (project_id=? AND seq<?)"}},
		{engine.AuditQuery{Seq: 7}, []string{"audit_logs_2 (project_id=? AND seq=?)"}},
		{engine.AuditQuery{From: at, To: at}, []string{"audit_logs_2 (project_id=? AND seq>? AND seq<?)", "audit_time (project_id=? AND latest_time<?)", "audit_time (project_id=? AND latest_time>?)"}},
		{engine.AuditQuery{From: at, To: at, Actor: "c"}, []string{"audit_actor_id (project_id=? AND actor_id=? AND seq>? AND seq<?)", "audit_person (project_id=? AND person=? AND seq>? AND seq<?)"}},
	} {
		c.q.ProjectID, c.q.Page = "prj", engine.Page{Limit: 5, Cursor: engine.Cursor{ID: "7"}.String()}
		query, args, err := auditQuery(c.q)
		if err != nil {
			t.Fatal(err)
		}
		p := &plans{seen: map[string][]string{}}
		if err := p.explain(t.Context(), s.reading, query, args); err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(p.seen[query], "\n\t")
		for _, part := range c.want {
			if !strings.Contains(plan, part) {
				t.Errorf("%s\n\t%s\n\tlacks %s", query, plan, part)
			}
		}
	}
}
