package engine_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/anchor"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

var auditKey = []byte("audit key")

// node is a server's part that keeps the anchor, with its database and its log.
type node struct {
	*engine.Anchors
	t    *testing.T
	path string
	log  *bytes.Buffer
}

// newNode opens a database, which it makes unless it exists, and a file as target.
func newNode(t *testing.T, path, place string) *node {
	t.Helper()
	store, err := sqlite.Open(t.Context(), path)
	ok(t, err)
	t.Cleanup(func() { ok(t, store.Close()) })
	ok(t, store.UseAuditKey(t.Context(), auditKey))
	target, err := anchor.Open(t.Context(), place, "")
	ok(t, err)
	n := &node{t: t, path: path, log: &bytes.Buffer{}}
	n.Anchors = &engine.Anchors{
		Store: store, Target: target, Key: auditKey, Every: time.Hour, Clock: engine.SystemClock, Log: slog.New(slog.NewTextHandler(n.log, nil)),
	}
	return n
}

func newPlace(t *testing.T) string { return filepath.Join(t.TempDir(), "anchor.json") }

func newDatabase(t *testing.T) string { return filepath.Join(t.TempDir(), "countersign.db") }

// entry is the same for the same arguments, so that two databases can have equal chains.
func entry(chain, ref string) engine.AuditEntry {
	return engine.AuditEntry{Ref: chain + "/" + ref, ProjectID: chain, Time: time.Unix(1, 0)}
}

func (n *node) append(chain string, refs ...string) *node {
	n.t.Helper()
	for _, ref := range refs {
		ok(n.t, n.Store.Append(n.t.Context(), entry(chain, ref)))
	}
	return n
}

// project makes a project, whose chain then has one entry.
func (n *node) project(id string) *node {
	n.t.Helper()
	ok(n.t, n.Store.CreateProject(n.t.Context(), engine.Project{ID: id}, engine.Member{ProjectID: id, UserID: "u"}, engine.Record{Audit: entry(id, "1")}))
	return n
}

// tamper changes the database as somebody who can write it does.
func (n *node) tamper(statements ...string) {
	n.t.Helper()
	db, err := sql.Open("sqlite", "file:"+n.path)
	ok(n.t, err)
	defer func() { ok(n.t, db.Close()) }()
	for _, s := range statements {
		result, err := db.ExecContext(n.t.Context(), s)
		ok(n.t, err)
		if rows, err := result.RowsAffected(); !strings.HasPrefix(s, "VACUUM") && (err != nil || rows == 0) {
			n.t.Fatalf("%s changes nothing: %v", s, err)
		}
	}
}

// stored are the anchored numbers, as the target has them.
func stored(t *testing.T, place string) map[string]int64 {
	t.Helper()
	text, err := os.ReadFile(place)
	ok(t, err)
	var a engine.Anchor
	ok(t, json.Unmarshal(text, &a))
	seqs := map[string]int64{}
	for chain, head := range a.Heads {
		seqs[chain] = head.Seq
	}
	return seqs
}

func expectStored(t *testing.T, place, when string, want map[string]int64) {
	t.Helper()
	if got := stored(t, place); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: the anchor has %v, want %v", when, got, want)
	}
}

func TestARolledBackDatabaseIsFoundAndAcceptedOnce(t *testing.T) {
	ctx, place := t.Context(), newPlace(t)
	present := newNode(t, newDatabase(t), place).append(engine.SystemChain, "1", "2", "3")
	old := newNode(t, newDatabase(t), place).append(engine.SystemChain, "1", "2")
	ok(t, present.Check(ctx, false))
	ok(t, present.Write(ctx))
	ok(t, present.Check(ctx, false))
	var behind *engine.BehindError
	if err := old.Check(ctx, false); !errors.As(err, &behind) || !strings.Contains(err.Error(), "--accept-restore") {
		t.Errorf("an old database gives %v", err)
	}
	if err := old.Write(context.Background()); err == nil {
		t.Error("a database that was rolled back is anchored")
	}
	ok(t, present.Check(ctx, false)) // the anchor was kept
	ok(t, old.Check(ctx, true))
	ok(t, old.Check(ctx, false))
	entries, err := old.Store.AuditAfter(ctx, engine.SystemChain, 2, 9)
	ok(t, err)
	if len(entries) != 2 || entries[0].Action != engine.ActionRestoreBegun || entries[1].Action != engine.ActionRestoreAccepted {
		t.Errorf("recorded %+v", entries)
	}
	other := newNode(t, newDatabase(t), place)
	other.Key = []byte("another key")
	if err := other.Check(ctx, true); err == nil || !strings.Contains(err.Error(), "another installation") {
		t.Errorf("another installation's anchor gives %v", err)
	}
}

func TestADatabaseWithoutAnAnchoredEntryIsBehind(t *testing.T) {
	place := newPlace(t)
	ok(t, newNode(t, newDatabase(t), place).append(engine.SystemChain, "1", "2").project("prj").Write(t.Context()))
	like := func() *node { return newNode(t, newDatabase(t), place).append(engine.SystemChain, "1") }
	changed := like().append(engine.SystemChain, "2").project("prj")
	changed.tamper("UPDATE audit_logs SET doc = json_set(doc, '$.user_agent', 'other') WHERE project_id = 'system' AND seq = 2")
	for name, c := range map[string]struct {
		*node
		chain string
		last  int64
	}{
		"another hash at the number":           {like().append(engine.SystemChain, "other").project("prj"), engine.SystemChain, 2},
		"another hash, and more entries":       {like().append(engine.SystemChain, "other", "3", "4").project("prj"), engine.SystemChain, 4},
		"a changed entry with the hash before": {changed, engine.SystemChain, 2},
		"fewer entries":                        {like().project("prj"), engine.SystemChain, 1},
		"a missing chain":                      {like().append(engine.SystemChain, "2"), "prj", 0},
	} {
		err := c.Check(t.Context(), false)
		behind, is := errors.AsType[*engine.BehindError](err)
		if !is || len(behind.Chains) != 1 || behind.Chains[0].Chain != c.chain || behind.Chains[0].Database.Seq != c.last {
			t.Errorf("%s gives %v", name, err)
		}
		if _, known := c.Head(engine.SystemChain); known {
			t.Errorf("%s: the anchor is used", name)
		}
	}
	ok(t, like().append(engine.SystemChain, "2", "3").project("prj").Check(t.Context(), false))
}

func TestAnAnchorThatCannotBeTrustedIsRefusedAndKept(t *testing.T) {
	place := newPlace(t)
	n := newNode(t, newDatabase(t), place).append(engine.SystemChain, "1", "2")
	ok(t, n.Write(t.Context()))
	good, err := os.ReadFile(place)
	ok(t, err)
	for name, c := range map[string]struct{ old, new, says string }{
		"a smaller number": {`"seq": 2`, `"seq": 1`, "MAC does not match"},
		"no heads":         {`"system"`, `"sys"`, "MAC does not match"},
		"another time":     {`"time": "2`, `"time": "3`, "MAC does not match"},
		"no MAC":           {`"mac"`, `"was"`, "MAC does not match"},
		"another version":  {`"version": 1`, `"version": 2`, "version 2"},
		"no JSON":          {`{`, `[`, "no anchor"},
		"half of it":       {string(good[len(good)/2:]), ``, "no anchor"},
		"nothing":          {string(good), ``, "no anchor"},
		"null":             {string(good), `null`, "version 0"},
		"two anchors":      {string(good), string(good) + string(good), "no anchor"},
	} {
		text := strings.Replace(string(good), c.old, c.new, 1)
		ok(t, os.WriteFile(place, []byte(text), 0o600))
		n.expectRefused(name, c.says)
		if kept, err := os.ReadFile(place); err != nil || string(kept) != text {
			t.Errorf("%s: the target has %q, %v", name, kept, err)
		}
	}
	ok(t, os.Remove(place))
	ok(t, os.Mkdir(place, 0o700))
	n.expectRefused("a folder", "not a regular file")
	if entries, err := n.Store.AuditAfter(t.Context(), engine.SystemChain, 0, 9); err != nil || len(entries) != 2 {
		t.Errorf("the audit log has %d entries, %v", len(entries), err)
	}
}

// expectRefused checks that neither a start, accepting a restore or not, nor a write
// gets past an anchor.
func (n *node) expectRefused(name, says string) {
	n.t.Helper()
	_, isBehind := errors.AsType[*engine.BehindError](n.Check(n.t.Context(), false))
	for _, err := range []error{n.Check(n.t.Context(), false), n.Check(n.t.Context(), true), n.Write(n.t.Context())} {
		if err == nil || isBehind || !strings.Contains(err.Error(), says) {
			n.t.Errorf("%s gives %v", name, err)
		}
	}
}

func TestNodesNeverPutAHeadBack(t *testing.T) {
	place, path, ctx := newPlace(t), newDatabase(t), t.Context()
	one := newNode(t, path, place)
	nodes := []*node{one, newNode(t, path, place)} // of one database
	behind := newNode(t, newDatabase(t), place)
	var text []byte
	for i := range 6 {
		one.append(engine.SystemChain, fmt.Sprint(i))
		ok(t, nodes[i%2].Write(ctx))
		expectStored(t, place, fmt.Sprint("entry ", i), map[string]int64{engine.SystemChain: int64(i) + 1})
		if i == 2 {
			var err error
			text, err = os.ReadFile(place)
			ok(t, err)
		}
		if err := behind.Write(ctx); err == nil {
			t.Error("an empty database is anchored")
		}
		expectStored(t, place, "after a node whose database is behind", map[string]int64{engine.SystemChain: int64(i) + 1})
	}
	ok(t, os.WriteFile(place, text, 0o600)) // somebody puts an older anchor there
	ok(t, nodes[0].Write(ctx))
	expectStored(t, place, "after an older anchor", map[string]int64{engine.SystemChain: 6})
}

func TestAnAnchoredChainIsNeverForgotten(t *testing.T) {
	place, ctx := newPlace(t), t.Context()
	with := newNode(t, newDatabase(t), place).append(engine.SystemChain, "1").project("prj")
	ok(t, with.Write(ctx))
	without := newNode(t, newDatabase(t), place).append(engine.SystemChain, "1", "2")
	want := map[string]int64{engine.SystemChain: 2, "prj": 1}
	if err := without.Write(ctx); err == nil || !strings.Contains(err.Error(), "chain prj") {
		t.Errorf("a database without the chain gives %v", err)
	}
	expectStored(t, place, "a chain that only the target has", want)
	ok(t, with.append(engine.SystemChain, "2").Write(ctx))

	ok(t, os.Remove(place))
	with.tamper("DELETE FROM projects", "DELETE FROM audit_logs WHERE project_id = 'prj'")
	for range 2 {
		if err := with.Write(ctx); err == nil || !strings.Contains(err.Error(), "chain prj") {
			t.Errorf("a running server whose chain was deleted says %v", err)
		}
		expectStored(t, place, "a chain that only a running server knows", want)
	}
}

func TestABrokenChainKeepsItsHeadWhileOthersGoOn(t *testing.T) {
	for name, damage := range map[string]func(*node){
		"changed": func(n *node) {
			n.append("prj", "2", "3").tamper("UPDATE audit_logs SET doc = json_set(doc, '$.user_agent', 'other') WHERE project_id = 'prj' AND seq = 2")
		},
		"deleted": func(n *node) {
			n.append("prj", "2", "3").tamper("DELETE FROM audit_logs WHERE project_id = 'prj' AND seq = 2")
		},
		"forged": func(n *node) {
			ok(n.t, n.Store.UseAuditKey(n.t.Context(), []byte("forger's")))
			n.append("prj", "2")
			ok(n.t, n.Store.UseAuditKey(n.t.Context(), auditKey))
		},
	} {
		t.Run(name, func(t *testing.T) {
			place, ctx := newPlace(t), t.Context()
			n := newNode(t, newDatabase(t), place).append(engine.SystemChain, "1").project("prj")
			ok(t, n.Write(ctx))
			damage(n)
			for i := range int64(2) {
				n.append(engine.SystemChain, fmt.Sprint("later", i)).append("prj", fmt.Sprint("later", i))
				if err := n.Write(ctx); err == nil || !strings.Contains(err.Error(), "chain prj is broken at entry 2") {
					t.Errorf("the chain gives %v", err)
				}
				expectStored(t, place, name, map[string]int64{engine.SystemChain: 2 + i, "prj": 1})
			}
			if _, failures := n.Status(); failures != 2 || !strings.Contains(n.log.String(), "chain prj") {
				t.Errorf("%d failures are counted, and the log says %s", failures, n.log)
			}
			ok(t, n.Check(ctx, false)) // the chain has its anchored entry
		})
	}
}

// failing is a target that does not take the next anchors. Each write is sent to tried.
type failing struct {
	engine.AnchorTarget
	left  int
	tried chan bool
}

func (f *failing) WriteAnchor(ctx context.Context, text []byte) error {
	defer func() { f.tried <- true }()
	if f.left > 0 {
		f.left--
		return errors.New("the target is full")
	}
	return f.AnchorTarget.WriteAnchor(ctx, text)
}

func TestTheLastAnchorIsWrittenAtTheEndOrItsFailureIsCounted(t *testing.T) {
	for _, fails := range []int{0, 1} {
		place := newPlace(t)
		n := newNode(t, newDatabase(t), place).append(engine.SystemChain, "1")
		target := &failing{AnchorTarget: n.Target, tried: make(chan bool, 9)}
		n.Target = target
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() { n.Run(ctx); close(ended) }()
		<-target.tried
		expectStored(t, place, "at once", map[string]int64{engine.SystemChain: 1})
		target.left = fails
		n.append(engine.SystemChain, "2")
		stop()
		<-ended
		expectStored(t, place, fmt.Sprint("at the end, with failures: ", fails), map[string]int64{engine.SystemChain: 2 - int64(fails)})
		if _, failures := n.Status(); failures != fails || strings.Contains(n.log.String(), "could not be anchored") != (fails > 0) {
			t.Errorf("%d failures are counted of %d, and the log says %s", failures, fails, n.log)
		}
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
