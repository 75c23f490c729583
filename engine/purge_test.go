package engine_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// What is purged is in the archive and not in the database, and the rest verifies: from
// its beginning, and after a head that was noted before or after the cut. A document that
// was written by a deleted entry is still compared, and so it is after many cuts.
func TestAPurgedChainVerifies(t *testing.T) {
	onStores(t, func(t *testing.T, n *node, _ rewrite) {
		o := newOld(n)
		before, heads := map[string][]engine.AuditEntry{}, map[string]engine.AuditHead{}
		for _, chain := range o.chains() {
			before[chain] = o.entries(chain)
			heads[chain] = head(before[chain])
		}
		ok(t, o.Write(t.Context()))
		o.purged()
		for chain, begins := range o.whole("after a purge") {
			left, old := o.entries(chain), before[chain]
			if begins != int64(len(old))+1 || left[0].Seq != begins {
				t.Errorf("%s begins at %d and is said to begin at %d, after %d old entries", chain, left[0].Seq, begins, len(old))
			}
			archived := o.archive.files(t, chain)
			if len(archived) != 1 || archived[0].First != 1 || archived[0].Last != heads[chain] || archived[0].Entries != int64(len(old)) {
				t.Errorf("archived is %+v", archived)
			}
			by := &engine.Verifier{Store: o.store, Key: auditKey, Ages: oldAges, Clock: o.Clock}
			for _, at := range []engine.AuditHead{{Seq: 1, Hash: "any"}, heads[chain], head(left)} {
				if v, err := by.VerifyAfter(t.Context(), chain, at); err != nil || !v.OK {
					t.Errorf("after %s: %+v, %v", at, v, err)
				}
			}
			if said, _ := o.said(chain, engine.AuditHead{Seq: heads[chain].Seq, Hash: "another"}); !strings.Contains(said, "not the anchored one") {
				t.Errorf("another hash of the last entry that was deleted gives %q", said)
			}
		}
		ok(t, o.Check(t.Context(), false))
		ok(t, o.Write(t.Context()))
		if n := o.purge(o.store); n != 0 {
			t.Errorf("%d more are deleted on the same day", n)
		}
		for i := range 3 {
			o.use(fmt.Sprint("later ", i))
			o.pass(71 * day)
			o.purged()
			o.whole("after more purges")
		}
		of := engine.Installation{Store: o.store, Key: auditKey, Clock: o.Clock}
		if at, err := of.Temporal(t.Context()); err != nil || at.ID != "ns_a" || at.Name != "a" {
			t.Errorf("the requests run in %+v, %v", at, err)
		}
		for _, chain := range o.chains() {
			for i, a := range o.archive.files(t, chain) {
				if previous := o.archive.files(t, chain)[max(i-1, 0)]; i > 0 && (a.First != previous.Last.Seq+1 || a.Before != previous.Last.Hash) {
					t.Errorf("%+v does not follow %+v", a, previous)
				}
			}
		}
	})
}

func head(entries []engine.AuditEntry) engine.AuditHead {
	last := entries[len(entries)-1]
	return engine.AuditHead{Seq: last.Seq, Hash: last.Hash}
}

// PurgeAudit implements [engine.AuditPurgeStore] for the interrupted store.
func (i *interrupted) PurgeAudit(ctx context.Context, chain string, through int64, limit int) (int, error) {
	n, err := i.Store.PurgeAudit(ctx, chain, through, min(limit, 3))
	return n, i.answer(err)
}

// After a crash behind any write the chains verify, and a later run completes the purge.
func TestAPurgeThatWasInterruptedIsCompleted(t *testing.T) {
	onStores(t, func(t *testing.T, n *node, _ rewrite) {
		o := newOld(n)
		interruptions := 0
		for done := false; !done; interruptions++ {
			o.purge(&interrupted{o.store, interruptions % 4})
			o.whole(fmt.Sprint("after interruption ", interruptions))
			done = o.failed == 0
		}
		if interruptions < 4 {
			t.Errorf("there were %d interruptions", interruptions)
		}
		for chain, begins := range o.whole("at the end") {
			if first := o.entries(chain)[0].Seq; begins == 1 || first != begins {
				t.Errorf("%s begins at %d, and its first entry is %d", chain, begins, first)
			}
		}
	})
}

// meanwhile is a store to which somebody writes just before the first document is
// restated.
type meanwhile struct {
	engine.Store
	chain  string
	change func()
}

func (m *meanwhile) Append(ctx context.Context, e engine.AuditEntry) error {
	if change := m.change; change != nil && e.Action == engine.ActionAuditRestated && e.ProjectID == m.chain {
		m.change = nil
		change()
	}
	return m.Store.Append(ctx, e)
}

// A document that changes while it is restated gives no false alarm, neither then nor when
// the entry of the change is older than what may be purged, and that of the restatement
// is not.
func TestAChangeDuringARestatementStands(t *testing.T) {
	for name, change := range map[string]func(o *old) string{
		"of a user, which has versions": func(o *old) string {
			disabled := true
			_, err := o.admin.ChangeUser(o.t.Context(), o.requester, o.approver.User.ID, engine.UserSettings{Disabled: &disabled})
			ok(o.t, err)
			return engine.SystemChain
		},
		"of a member": func(o *old) string {
			ok(o.t, o.admin.RemoveMember(o.t.Context(), o.requester, o.requester.User.ID))
			return o.requester.Project.ID
		},
		"of a policy": func(o *old) string { o.policy(engine.ApprovalAll); return o.requester.Project.ID },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOld(newNode(t, newDatabase(t), newPlace(t)))
			chain := engine.SystemChain
			if !strings.Contains(name, "user") {
				chain = o.requester.Project.ID
			}
			during := &meanwhile{Store: o.store, chain: chain, change: func() {
				change(o)
				o.pass(4 * day)
			}}
			at := o.now
			if o.purge(during); o.failed > 0 || during.change != nil {
				t.Fatalf("%d failures: %s", o.failed, o.node.log)
			}
			o.whole("after the purge")
			o.now = at.Add(oldAges.Audit + 2*day) // between the change and the restatement
			o.purge(o.store)
			o.whole("after a purge up to the change")
			o.now = at.Add(oldAges.Audit + 9*day)
			o.purged()
			o.whole("after a purge of both")
		})
	}
}

// A chain is purged up to the entries of a request that has not ended yet, or of a token
// that was not settled, and no further.
func TestAnEntryOutlivesADocumentThatRetentionKeeps(t *testing.T) {
	o := newOld(newNode(t, newDatabase(t), newPlace(t)))
	o.mint("unended", 600)
	o.use("behind it")
	o.pass(71 * day)
	o.purged()
	o.whole("while a request has not ended")
	requested := slices.IndexFunc(o.entries(o.requester.Project.ID), func(e engine.AuditEntry) bool {
		return e.RequestID == o.minted["unended"].Request.ID
	})
	if requested < 0 || !strings.Contains(o.node.log.String(), "whose document is still there") {
		t.Fatalf("the entry of the request is at %d, and the log says %s", requested, o.node.log)
	}
	o.end("unended")
	o.pass(41 * day)
	o.purged()
	if found := o.entries(o.requester.Project.ID); slices.ContainsFunc(found, func(e engine.AuditEntry) bool { return e.Action == engine.ActionDownloadRequested }) {
		t.Errorf("the log still has the request: %+v", found)
	}
	o.whole("after the request has ended")
}

// A chain whose archive cannot be written, or is not there as it was written, keeps its
// entries, and so does a chain that is broken. Both are logged and counted.
func TestWhatCannotBeArchivedOrVerifiedIsNotPurged(t *testing.T) {
	for name, damage := range map[string]func(o *old){
		"the folder is full": func(o *old) { o.archive.full = true },
		"differs from what":  func(o *old) { o.archive.loses = true },
		"it is broken at entry 2": func(o *old) {
			o.tamper("UPDATE audit_logs SET doc = json_set(doc, '$.user_agent', 'other') WHERE seq = 2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOld(newNode(t, newDatabase(t), newPlace(t)))
			damage(o)
			before := len(o.entries(o.requester.Project.ID))
			if n := o.purge(o.store); n != 0 || o.failed != 2 || !strings.Contains(o.node.log.String(), name) {
				t.Errorf("%d are deleted, %d failures: %s", n, o.failed, o.node.log)
			}
			after := o.entries(o.requester.Project.ID)
			if after[0].Seq != 1 || len(after) < before || slices.ContainsFunc(after, func(e engine.AuditEntry) bool { return e.Action == engine.ActionAuditPurged }) {
				t.Errorf("the chain has %d entries, from %d on", len(after), after[0].Seq)
			}
		})
	}
}

// A node without an archive deletes nothing if the settings of another one say that
// entries are archived.
// What a receiver of audit entries does not have yet stays, however old it is.
func TestEntriesThatWereNotSentStay(t *testing.T) {
	onStores(t, func(t *testing.T, n *node, _ rewrite) {
		o := newOld(n)
		sent := map[string]engine.AuditHead{}
		o.sent = func(context.Context) ([]map[string]engine.AuditHead, error) {
			return []map[string]engine.AuditHead{{o.chains()[1]: {Seq: 1000}, engine.SystemChain: {Seq: 1000}}, sent}, nil
		}
		if deleted := o.purge(o.store); deleted != 0 || o.failed > 0 {
			t.Fatalf("%d entries were deleted that one receiver does not have, with %d failures", deleted, o.failed)
		}
		project := o.chains()[1]
		sent[project] = engine.AuditHead{Seq: 3}
		if o.purged(); o.entries(project)[0].Seq != 4 || o.entries(engine.SystemChain)[0].Seq != 1 {
			t.Errorf("the chains begin at %d and %d", o.entries(project)[0].Seq, o.entries(engine.SystemChain)[0].Seq)
		}
		o.whole("after a purge up to what was sent")
	})
}

func TestANodeWithoutTheArchiveDeletesNothing(t *testing.T) {
	o := newOld(newNode(t, newDatabase(t), newPlace(t)))
	o.purgeDocuments()
	p := &engine.AuditPurge{Store: o.store, Key: auditKey, Clock: o.Clock, Log: o.log}
	ages := oldAges
	ages.Archived = true
	if n, err := p.Run(t.Context(), ages, func() {}); err != nil || n != 0 || p.Failures() != 1 {
		t.Errorf("%d are deleted, %d failures, %v", n, p.Failures(), err)
	}
	ages.Archived = false
	if n, err := p.Run(t.Context(), ages, func() {}); err != nil || n == 0 || p.Failures() != 1 {
		t.Errorf("%d are deleted, %d failures, %v", n, p.Failures(), err)
	}
	o.whole("without an archive")
}

// A database of before a cut is behind an anchor of after it.
func TestADatabaseOfBeforeACutIsBehind(t *testing.T) {
	place := newPlace(t)
	o := newOld(newNode(t, newDatabase(t), place))
	backup := filepath.Join(t.TempDir(), "backup.db")
	o.tamper("VACUUM INTO '" + backup + "'")
	ok(t, o.Write(t.Context()))
	o.purged()
	ok(t, o.Check(t.Context(), false)) // the anchored entry was deleted, by the word of the chain
	ok(t, o.Write(t.Context()))
	earlier := newNode(t, backup, place)
	if _, behind := errors.AsType[*engine.BehindError](earlier.Check(t.Context(), false)); !behind {
		t.Error("it is not behind")
	}
	ok(t, earlier.Check(t.Context(), true))
	ok(t, earlier.Check(t.Context(), false))
	ok(t, earlier.Write(t.Context()))
}

// An installation whose chains were cut is carried to the other store, also if deleting
// the entries has not ended and some in their midst are gone.
func TestAnInstallationWithACutIsMigrated(t *testing.T) {
	onStores(t, func(t *testing.T, n *node, rewrite rewrite) {
		o := newOld(n)
		project := o.requester.Project.ID
		deleted := o.entries(project)
		o.purged()
		rewrite(slices.Concat(o.entries(engine.SystemChain), []engine.AuditEntry{deleted[1], deleted[3]}, o.entries(project)))
		target := newNode(t, newDatabase(t), newPlace(t))
		m := &engine.Migration{
			Source: o.store, Target: target.Store.(engine.Store), Key: auditKey, Ages: oldAges, Clock: o.Clock, Progress: func(string, int) {},
			MarkSource: marksNothing,
		}
		for range 2 {
			_, err := m.Run(t.Context())
			ok(t, err)
		}
		source := o.store
		o.store = m.Target.(engine.Store)
		for chain, begins := range o.whole("after a migration") {
			if first := o.entries(chain)[0].Seq; first != begins || begins == 1 {
				t.Errorf("%s begins at %d with entry %d", chain, begins, first)
			}
		}
		o.store = source
	})
}
