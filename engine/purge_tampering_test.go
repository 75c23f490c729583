package engine_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/engine/store/mongo/mongotest"
)

// rewrite replaces all audit entries of a database, as somebody does who can write it and
// knows how the store keeps them.
type rewrite func(entries []engine.AuditEntry)

// onStores runs a test on a node of each store.
func onStores(t *testing.T, test func(t *testing.T, n *node, rewrite rewrite)) {
	t.Run("SQLite", func(t *testing.T) {
		n := newNode(t, newDatabase(t), newPlace(t))
		test(t, n, func(entries []engine.AuditEntry) { rewriteSQLite(t, n.path, entries) })
	})
	t.Run("MongoDB", func(t *testing.T) {
		uri, stop, err := mongotest.Serve(t.TempDir())
		ok(t, err)
		t.Cleanup(func() { ok(t, stop()) })
		if external := mongotest.External(); external != "" {
			uri = external
		}
		name := "countersign_test_" + strings.TrimPrefix(engine.NewID(""), "_")
		client, err := driver.Connect(context.Background(), options.Client().ApplyURI(uri))
		ok(t, err)
		db := client.Database(name)
		t.Cleanup(func() {
			ok(t, db.Drop(context.Background()))
			ok(t, client.Disconnect(context.Background()))
		})
		store, err := mongo.Open(t.Context(), strings.TrimSuffix(uri, "/")+"/"+name)
		ok(t, err)
		t.Cleanup(func() { ok(t, store.Close()) })
		ok(t, store.UseAuditKey(t.Context(), auditKey))
		n := newNode(t, newDatabase(t), newPlace(t))
		n.Store = store
		test(t, n, func(entries []engine.AuditEntry) {
			_, err := db.Collection("audit_logs").DeleteMany(t.Context(), bson.D{})
			ok(t, err)
			for _, e := range entries {
				text, err := json.Marshal(e)
				ok(t, err)
				ok(t, store.ImportDocuments(t.Context(), "audit_logs", []engine.StoredDocument{{ID: e.Ref, JSON: text}}))
			}
		})
	})
}

// rewriteSQLite gives each entry the columns that follow from those before it.
func rewriteSQLite(t *testing.T, path string, entries []engine.AuditEntry) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	defer func() { ok(t, db.Close()) }()
	_, err = db.ExecContext(t.Context(), "DELETE FROM audit_logs")
	ok(t, err)
	latest, delay := map[string]int64{}, map[string]int64{}
	for _, e := range entries {
		text, err := json.Marshal(e)
		ok(t, err)
		at, chain := e.Time.UnixMilli(), e.ProjectID
		latest[chain] = max(latest[chain], at)
		delay[chain] = max(delay[chain], latest[chain]-at)
		null := func(s string) any {
			if s == "" {
				return nil
			}
			return s
		}
		_, err = db.ExecContext(t.Context(), "INSERT INTO audit_logs (project_id, seq, ref, hash, time, latest_time, max_delay, action, actor_id, person, certificate_id, request_id, doc) "+
			"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			chain, e.Seq, e.Ref, e.Hash, at, latest[chain], delay[chain], e.Action, e.Actor.ID, e.Actor.Person, null(e.CertificateID), null(e.RequestID), string(text))
		ok(t, err)
	}
}

// history is what somebody with the database could keep of a project's chain that was cut
// twice: all its entries, and those that are left. Other is the cut of the system's chain.
type history struct {
	all, left    []engine.AuditEntry
	cuts         []engine.AuditEntry // of left
	earlier      engine.AuditEntry   // the first cut
	other        engine.AuditEntry
	first, newer int64 // the numbers up to which the chain was cut
}

func cutsOf(entries []engine.AuditEntry) (cuts []engine.AuditEntry) {
	for _, e := range entries {
		if e.Action == engine.ActionAuditPurged {
			cuts = append(cuts, e)
		}
	}
	return cuts
}

func through(e engine.AuditEntry) int64 {
	n, _ := strconv.ParseInt(e.Detail["through"], 10, 64)
	return n
}

// without are the entries but those of some numbers.
func without(entries []engine.AuditEntry, seqs ...int64) []engine.AuditEntry {
	return slices.DeleteFunc(slices.Clone(entries), func(e engine.AuditEntry) bool { return slices.Contains(seqs, e.Seq) })
}

// with are the entries with changes to one of them.
func with(entries []engine.AuditEntry, seq int64, change func(*engine.AuditEntry)) []engine.AuditEntry {
	changed := slices.Clone(entries)
	for i := range changed {
		if changed[i].Seq == seq {
			detail := map[string]string{}
			for name, value := range changed[i].Detail {
				detail[name] = value
			}
			changed[i].Detail = detail
			change(&changed[i])
		}
	}
	return changed
}

func between(entries []engine.AuditEntry, first, last int64) []engine.AuditEntry {
	return slices.DeleteFunc(slices.Clone(entries), func(e engine.AuditEntry) bool { return e.Seq < first || e.Seq > last })
}

// cutTamperings are what somebody without the audit key may make of a chain that was cut.
var cutTamperings = map[string]func(h history) []engine.AuditEntry{
	"the first entry that is left is deleted": func(h history) []engine.AuditEntry { return without(h.left, h.newer+1) },
	"the entry of the cut is deleted":         func(h history) []engine.AuditEntry { return without(h.left, h.cuts[len(h.cuts)-1].Seq) },
	"an entry before the cut's is deleted": func(h history) []engine.AuditEntry {
		return without(h.left, h.cuts[len(h.cuts)-1].Seq-1)
	},
	"an entry behind the cut's is deleted": func(h history) []engine.AuditEntry {
		return without(h.left, h.cuts[len(h.cuts)-1].Seq+1)
	},
	"the last entries are deleted": func(h history) []engine.AuditEntry { return h.left[:len(h.left)-1] },
	"all entries but the cut's are deleted": func(h history) []engine.AuditEntry {
		return slices.Clone(h.cuts[len(h.cuts)-1:])
	},
	"all entries are deleted": func(history) []engine.AuditEntry { return nil },
	"an entry is changed": func(h history) []engine.AuditEntry {
		return with(h.left, h.newer+1, func(e *engine.AuditEntry) { e.IP = "192.0.2.1" })
	},
	"an entry is replaced by a deleted one": func(h history) []engine.AuditEntry {
		return with(h.left, h.newer+1, func(e *engine.AuditEntry) { seq := e.Seq; *e = h.all[0]; e.Seq = seq })
	},
	"the cut says less": func(h history) []engine.AuditEntry {
		return with(h.left, h.cuts[len(h.cuts)-1].Seq, func(e *engine.AuditEntry) { e.Detail["through"] = "1" })
	},
	"the cut says more, and as much is deleted": func(h history) []engine.AuditEntry {
		return with(without(h.left, h.newer+1), h.cuts[len(h.cuts)-1].Seq, func(e *engine.AuditEntry) {
			e.Detail["through"], e.Detail["hash"] = strconv.FormatInt(h.newer+1, 10), h.left[0].Hash
		})
	},
	"the cut says another hash": func(h history) []engine.AuditEntry {
		return with(h.left, h.cuts[len(h.cuts)-1].Seq, func(e *engine.AuditEntry) { e.Detail["hash"] = h.all[0].Hash })
	},
	"another archive is named": func(h history) []engine.AuditEntry {
		return with(h.left, h.cuts[len(h.cuts)-1].Seq, func(e *engine.AuditEntry) { e.Detail["sha256"] = strings.Repeat("0", 64) })
	},
	"a cut is appended that says more, and as much is deleted": func(h history) []engine.AuditEntry {
		more := h.cuts[len(h.cuts)-1]
		more.Ref = "purged/more"
		more.Detail = map[string]string{"through": strconv.FormatInt(head(h.left).Seq, 10), "hash": head(h.left).Hash}
		more.Link([]byte("forger's"), head(h.left))
		return []engine.AuditEntry{more}
	},
	"the chain is written anew under another key": func(h history) []engine.AuditEntry {
		anew, last := slices.Clone(h.left), engine.AuditHead{Seq: h.newer, Hash: h.all[h.newer-1].Hash}
		for i := range anew {
			last = anew[i].Link([]byte("forger's"), last)
		}
		return anew
	},
	"the cut of another chain takes the place of its own": func(h history) []engine.AuditEntry {
		return with(h.left, h.cuts[len(h.cuts)-1].Seq, func(e *engine.AuditEntry) {
			chain := e.ProjectID
			*e = h.other
			e.ProjectID, e.Ref = chain, "purged/other"
		})
	},
	"the cut of another chain is appended": func(h history) []engine.AuditEntry {
		other := h.other
		other.ProjectID, other.Ref, other.Seq = h.left[0].ProjectID, "purged/other", head(h.left).Seq+1
		return append(slices.Clone(h.left), other)
	},
	"an earlier cut is presented with what it left": func(h history) []engine.AuditEntry {
		return between(h.all, h.first+1, h.earlier.Seq)
	},
	"an earlier cut is presented with what is left": func(h history) []engine.AuditEntry {
		return append([]engine.AuditEntry{h.earlier}, without(h.left, h.cuts[len(h.cuts)-1].Seq)...)
	},
	"the cut is undone": func(h history) []engine.AuditEntry { return between(h.all, 1, h.cuts[len(h.cuts)-1].Seq-1) },
	"a deleted entry is there again, changed": func(h history) []engine.AuditEntry {
		return append(with(between(h.all, 2, 2), 2, func(e *engine.AuditEntry) { e.Outcome = engine.AuditFailed }), h.left...)
	},
	"the last deleted entry is there again, changed": func(h history) []engine.AuditEntry {
		return append(with(between(h.all, h.newer, h.newer), h.newer, func(e *engine.AuditEntry) { e.Outcome = engine.AuditFailed }), h.left...)
	},
	"a deleted entry is there again, in the place of another": func(h history) []engine.AuditEntry {
		return append(with(between(h.all, 2, 2), 2, func(e *engine.AuditEntry) { e.Seq = 1 }), h.left...)
	},
	"an entry is invented below the first number": func(h history) []engine.AuditEntry {
		invented := h.cuts[0]
		invented.Seq, invented.Ref = -1, "purged/invented"
		return append([]engine.AuditEntry{invented}, h.left...)
	},
	"an entry is invented in the deleted part": func(h history) []engine.AuditEntry {
		invented := h.all[1]
		invented.Link([]byte("forger's"), head(h.all[:1]))
		return append([]engine.AuditEntry{invented}, h.left...)
	},
}

// Whoever changes a chain on either side of its cut is found. A deleted entry that is
// there again as it was written is no change: the next run deletes it again.
func TestTamperingWithACutIsFound(t *testing.T) {
	onStores(t, func(t *testing.T, n *node, rewrite rewrite) {
		o := newOld(n)
		project := o.requester.Project.ID
		all := o.entries(project)
		remember := func() {
			for _, e := range o.entries(project) {
				if e.Seq > int64(len(all)) {
					all = append(all, e)
				}
			}
		}
		o.purged()
		remember()
		earlier := cutsOf(all)[0]
		o.use("between")
		o.pass(60 * day)
		o.use("kept")
		o.pass(11 * day)
		remember()
		o.purged()
		remember()
		o.use("behind the cut")
		remember()
		system, left := o.entries(engine.SystemChain), o.entries(project)
		h := history{all: all, left: left, cuts: cutsOf(left), earlier: earlier, other: cutsOf(system)[0], first: through(earlier)}
		h.newer = through(h.cuts[len(h.cuts)-1])
		last := head(left)
		for name, tamper := range cutTamperings {
			rewrite(slices.Concat(system, tamper(h)))
			said, _ := o.said(project, last)
			if t.Logf("%-55s | %.100s", name, said); said == "" {
				t.Errorf("%s, and nothing is said of it", name)
			}
		}
		for name, there := range map[string][]engine.AuditEntry{"all": between(all, 1, h.newer), "one": between(all, 2, 2)} {
			rewrite(slices.Concat(system, there, left))
			if said, _ := o.said(project, last); said != "" {
				t.Errorf("%s entries that were deleted are there again: %s", name, said)
			}
			o.pass(day)
			o.purge(o.store)
			if first := o.entries(project)[0].Seq; first != h.newer+1 {
				t.Errorf("the chain begins with %d, want %d", first, h.newer+1)
			}
		}
		if said, _ := o.said(project, last); said != "" {
			t.Errorf("the chain as it was: %s", said)
		}
		// What is wrong in the deleted part is evidence, which the next run does not delete.
		rewrite(slices.Concat(system, cutTamperings["a deleted entry is there again, changed"](h)))
		o.pass(day)
		if o.purge(o.store); o.failed != 1 || o.entries(project)[0].Seq != 2 {
			t.Errorf("%d failures, and the chain begins with %d, want 2", o.failed, o.entries(project)[0].Seq)
		}
	})
}

// One entry that cannot be read is named by the verification, whatever it says that it is.
func TestAnUnreadableCutIsNamed(t *testing.T) {
	o := newOld(newNode(t, newDatabase(t), newPlace(t)))
	o.purged()
	o.tamper("UPDATE audit_logs SET doc = 'unreadable' WHERE action = 'audit.purged'")
	if said, _ := o.said(o.requester.Project.ID, engine.AuditHead{}); !strings.HasPrefix(said, "broken at ") {
		t.Errorf("the verification says: %s", said)
	}
}

// A document whose entry was deleted cannot be changed, deleted or inserted unseen.
func TestADocumentIsComparedAfterItsEntryWasDeleted(t *testing.T) {
	onStores(t, func(t *testing.T, n *node, _ rewrite) {
		o := newOld(n)
		o.purged()
		ctx, project := t.Context(), o.requester.Project.ID
		unmentioned := func(chain string) engine.Record { return engine.Record{Audit: entry(chain, engine.NewID("ref"))} }
		disabled, dan := true, ""
		users, _, err := o.store.Users(ctx, engine.Page{Limit: 100})
		ok(t, err)
		for _, u := range users {
			if u.Username == "dan" {
				dan = u.ID
			}
		}
		for _, c := range []struct {
			chain, want string
			change      func() error
		}{
			{engine.SystemChain, "differs from what was written", func() error {
				return o.store.ChangeUser(ctx, o.approver.User.ID, engine.UserChange{Disabled: &disabled}, unmentioned(engine.SystemChain))
			}},
			{project, "no entry for this document", func() error {
				return o.store.SetMember(ctx, engine.Member{ProjectID: project, UserID: dan, Role: engine.RoleAdmin}, unmentioned(project))
			}},
			{project, "is missing", func() error {
				return o.store.RemoveMember(ctx, project, o.requester.User.ID, o.now, unmentioned(project))
			}},
		} {
			ok(t, c.change())
			if said, _ := o.said(c.chain, engine.AuditHead{}); !strings.Contains(said, c.want) {
				t.Errorf("%q, want %q", said, c.want)
			}
		}
	})
}
