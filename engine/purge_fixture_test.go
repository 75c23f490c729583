package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/anchor"
)

const day = 24 * time.Hour

// oldAges are ages of a shop whose audit entries are purged.
var oldAges = engine.RetentionAges{Tokens: 30 * day, Requests: 40 * day, Events: 35 * day, Audit: 70 * day}

// archiveFolder is a folder of archives that cannot write, or loses what it wrote, if told
// so.
type archiveFolder struct {
	engine.AuditArchive
	dir         string
	full, loses bool
}

func newArchive(t *testing.T) *archiveFolder {
	t.Helper()
	dir := t.TempDir()
	a, err := anchor.OpenArchive(t.Context(), dir, "")
	ok(t, err)
	t.Cleanup(func() { ok(t, a.Close()) })
	return &archiveFolder{AuditArchive: a, dir: dir}
}

func (a *archiveFolder) WriteArchive(ctx context.Context, name string, text io.Reader) error {
	if a.full {
		return errors.New("the folder is full")
	}
	if a.loses {
		text = io.MultiReader(text, strings.NewReader(" "))
	}
	return a.AuditArchive.WriteArchive(ctx, name, text)
}

// files are the archives of a chain, each as it was read.
func (a *archiveFolder) files(t *testing.T, chain string) (all []engine.Archived) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(a.dir, "*-"+chain+"-*.jsonl"))
	ok(t, err)
	for _, name := range names {
		file, err := os.Open(name)
		ok(t, err)
		archived, err := engine.ReadArchived(file)
		ok(t, errors.Join(err, file.Close()))
		all = append(all, archived)
	}
	slices.SortFunc(all, func(a, b engine.Archived) int { return int(a.First - b.First) })
	return all
}

// old is a shop whose oldest audit entries can be purged.
type old struct {
	*shop
	store   engine.Store
	archive *archiveFolder
	log     *slog.Logger
	failed  int
	sent    func(context.Context) ([]map[string]engine.AuditHead, error)
}

// newOld uses a shop, lets its requests end, and lets time pass.
func newOld(n *node) *old {
	o := &old{shop: newShop(n), archive: newArchive(n.t), log: slog.New(slog.NewTextHandler(n.log, nil))}
	o.store = n.Store.(engine.Store)
	t, ctx := n.t, n.t.Context()
	of := engine.Installation{Store: o.store, Key: auditKey, Clock: n.Clock}
	ok(t, of.UseTemporal(ctx, engine.TemporalNamespace{}, engine.TemporalNamespace{ID: "ns_a", Name: "a"}, "first start"))
	for _, u := range []string{"carol", "dan"} {
		user, err := o.admin.CreateUser(ctx, o.requester, engine.User{Username: u}, "")
		ok(t, err)
		_, err = o.admin.SetMember(ctx, o.requester, user.ID, engine.RoleOperator)
		ok(t, err)
		if u == "dan" {
			ok(t, o.admin.RemoveMember(ctx, o.requester, user.ID))
		}
	}
	key, _, err := o.admin.CreateAPIKey(ctx, o.requester, engine.APIKeySettings{Name: "ci", Role: engine.RoleOperator})
	ok(t, err)
	ok(t, o.admin.RevokeAPIKey(ctx, o.requester, key.ID))
	o.policy(engine.ApprovalOff)
	o.use("first")
	o.pass(71 * day)
	return o
}

// use mints a token, redeems it, and has the end of its request recorded.
func (o *old) use(name string) {
	o.t.Helper()
	o.mint(name, 600)
	ok(o.t, o.redeem(name))
	o.end(name)
}

func (o *old) end(name string) {
	o.t.Helper()
	r := o.minted[name].Request
	_, err := o.transitions.RecordSettlement(o.t.Context(), engine.SettlementCheck{
		ProjectID: r.ProjectID, RequestID: r.ID, Report: engine.SettlementReport{RequestID: r.ID, TokenDigest: r.TokenDigest},
	})
	ok(o.t, err)
}

// pass lets time pass.
func (o *old) pass(d time.Duration) { o.now = o.now.Add(d) }

func (o *old) chains() []string { return []string{engine.SystemChain, o.requester.Project.ID} }

// purge runs retention once, on a node that was just started, and returns how many audit
// entries it deleted.
func (o *old) purge(through engine.AuditPurgeStore) int {
	o.t.Helper()
	o.purgeDocuments()
	p := &engine.AuditPurge{Store: through, Key: auditKey, Archive: o.archive, Sent: o.sent, Clock: o.Clock, Log: o.log}
	n, err := p.Run(o.t.Context(), oldAges, func() {})
	ok(o.t, err)
	o.failed = p.Failures()
	return n
}

func (o *old) purgeDocuments() {
	o.t.Helper()
	r := &engine.Retention{Store: o.store, Clock: o.Clock}
	for more := true; more; {
		var err error
		_, more, err = r.PurgeBatch(o.t.Context(), oldAges)
		ok(o.t, err)
	}
}

// purged is purge that must delete something and fail nowhere.
func (o *old) purged() int {
	o.t.Helper()
	n := o.purge(o.store)
	if n == 0 || o.failed > 0 {
		o.t.Fatalf("%d entries are deleted, with %d failures: %s", n, o.failed, o.node.log)
	}
	return n
}

// said is what a verification says of a chain, or "".
func (o *old) said(chain string, head engine.AuditHead) (said string, v engine.AuditVerification) {
	o.t.Helper()
	by := &engine.Verifier{Store: o.store, Key: auditKey, Ages: oldAges, Clock: o.Clock}
	v, err := by.Verify(o.t.Context(), chain, head)
	switch {
	case err != nil:
		return err.Error(), v
	case v.BrokenAt > 0:
		return fmt.Sprintf("broken at %d: %s", v.BrokenAt, v.Problem), v
	case !v.OK:
		return fmt.Sprintf("%+v", v.Disagreements), v
	}
	return "", v
}

// whole checks that all chains verify, and returns where they begin.
func (o *old) whole(when string) map[string]int64 {
	o.t.Helper()
	begins := map[string]int64{}
	for _, chain := range o.chains() {
		said, v := o.said(chain, engine.AuditHead{})
		if said != "" {
			o.t.Fatalf("%s, the verification of %s says: %s", when, chain, said)
		}
		begins[chain] = v.BeginsAt
	}
	return begins
}

func (o *old) entries(chain string) []engine.AuditEntry {
	o.t.Helper()
	all, err := o.store.AuditAfter(o.t.Context(), chain, 0, 10000)
	ok(o.t, err)
	return all
}
