package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// A database of an older schema gets its search index when it is opened. An index that
// lacks a certificate is found, because a search would hide it.
func TestSearchIndexIsFilledAndChecked(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "countersign.db")
	s := open(t, path)
	for _, name := range []string{"shop.example.com", "mail.example.com"} {
		c := engine.Certificate{ID: engine.NewID("cert"), ProjectID: "prj", Name: name}
		if err := s.CreateCertificate(ctx, c, nil, engine.Record{Audit: engine.AuditEntry{Ref: c.ID, ProjectID: "prj"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := exec(s.conn, "DROP TABLE certificate_grams; DROP INDEX events_time; DROP INDEX approvals_pending; DROP INDEX certificates_ends; DROP INDEX sessions_user"); err != nil {
		t.Fatal(err)
	}
	if err := exec(s.conn, "PRAGMA user_version = 2"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	found, _, err := s.Certificates(ctx, "prj", "shop.ex", engine.Page{Limit: 9})
	if err != nil || len(found) != 1 || found[0].Name != "shop.example.com" {
		t.Errorf("found %+v, %v", found, err)
	}
	if wrong, err := s.Misplaced(ctx, "prj"); err != nil || len(wrong) != 0 {
		t.Errorf("%+v is misplaced, %v", wrong, err)
	}
	if err := exec(s.conn, "DELETE FROM certificate_grams WHERE gram = ?", engine.SearchGrams("hop")[0]); err != nil {
		t.Fatal(err)
	}
	wrong, err := s.Misplaced(ctx, "prj")
	if err != nil || len(wrong) != 1 || !strings.Contains(wrong[0].Problem, "search index") {
		t.Errorf("without one gram %+v is misplaced, %v", wrong, err)
	}
}

// A search reads the certificates with one gram of its words, in the order of the
// listing; only words that are shorter than a gram are compared with all texts.
func TestSearchPlans(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	for query, want := range map[string]string{
		"shop":    "SEARCH g USING PRIMARY KEY (project_id=? AND gram=? AND (created_at,id)<(?,?))",
		"ab shop": "SEARCH g USING PRIMARY KEY (project_id=? AND gram=? AND (created_at,id)<(?,?))",
		"ab":      "SEARCH certificates USING INDEX certificates_list (project_id=? AND (created_at,id)<(?,?))",
	} {
		p := &plans{seen: map[string][]string{}}
		page := engine.Page{Limit: 5, Cursor: engine.Cursor{ID: "cert"}.String()}
		order, from, args, err := searched("prj", query)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := list[engine.Certificate](t.Context(), explainedPool{s.reading, p}, page, order, from, args...); err != nil {
			t.Fatal(err)
		}
		for statement, lines := range p.seen {
			if plan := strings.Join(lines, "\n\t"); !strings.Contains(plan, want) {
				t.Errorf("%q\n%s\n\t%s\n\tlacks %s", query, statement, plan, want)
			}
		}
	}
}
