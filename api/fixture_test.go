package api_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/certimport"
	"github.com/countersign-dev/countersign/engine/keys"
	"github.com/countersign-dev/countersign/engine/notify"
	"github.com/countersign-dev/countersign/engine/passwords"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

// fixture is a whole server on a loopback port: real store, keys, rules and
// renderers. Only the workflows are in-process; their own tests are elsewhere.
type fixture struct {
	t         *testing.T
	url       string
	store     engine.Store
	downloads *engine.Downloads
	admin     *engine.Admin
	workflows *inProcess
	// notifications may go to 127.0.0.1.
	notifications  *engine.Notifications
	server         *api.Server
	registry       *prometheus.Registry
	log            *buffer
	authentication *engine.Authentication
	faults         *faultyStore
	skew           atomic.Int64              // what the clock is ahead, in nanoseconds
	frozen         atomic.Pointer[time.Time] // when set, the clock always returns this time
	anchored       engine.AuditHead          // of every chain
	otherNodes     []engine.NodeDifference
	heads          map[string]engine.AuditHead
	unrecorded     bool // the test writes documents without a record of them
	transport      http.RoundTripper

	project engine.Project
	users   map[string]engine.User   // by name: viewer, operator, second, approver, another, admin, root
	keys    map[string]engine.Secret // of the same people; root administers the system
	certs   map[string]engine.Certificate
}

// inProcess takes a request's steps at once, as its workflow does, and notes what
// the server reports. It has no timers.
type inProcess struct {
	transitions *engine.Transitions
	mu          sync.Mutex
	started     map[string]bool
	reports     chan engine.SettlementReport
	reused      chan engine.Token
	fail        error // when set, no workflow is started
}

var _ engine.Workflows = (*inProcess)(nil)

func (w *inProcess) Start(ctx context.Context, o engine.WorkflowInput) (engine.Request, error) {
	w.mu.Lock()
	again, failure := w.started[o.Request.ID], w.fail
	w.started[o.Request.ID] = true
	w.mu.Unlock()
	switch {
	case again:
		return engine.Request{}, engine.CodeExists
	case failure != nil:
		return engine.Request{}, failure
	}
	return w.transitions.EvaluatePolicy(ctx, o)
}

func (w *inProcess) Vote(ctx context.Context, b engine.VoteCommand) (engine.Request, error) {
	return turn(w, func() (engine.Request, error) { return w.transitions.Vote(ctx, b) })
}

func (w *inProcess) Cancel(ctx context.Context, o engine.CancelCommand) (engine.Request, error) {
	return turn(w, func() (engine.Request, error) { return w.transitions.Cancel(ctx, o) })
}

func (w *inProcess) Claim(ctx context.Context, c engine.ClaimCommand) (engine.Request, error) {
	return turn(w, func() (engine.Request, error) { return w.transitions.Claim(ctx, c) })
}

// turn runs one transition at a time, as a request's workflow does.
func turn(w *inProcess, step func() (engine.Request, error)) (engine.Request, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return step()
}

func (w *inProcess) PendingReport(string) (engine.SettlementReport, bool) {
	return engine.SettlementReport{}, false
}

func (w *inProcess) ReportReuse(t engine.Token) { w.reused <- t }

func (w *inProcess) ReportSettlement(r engine.SettlementReport) { w.reports <- r }

// buffer is a log that can be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newFixture(t *testing.T, change ...func(*fixture, *api.Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, transport: http.DefaultTransport}
	dir := t.TempDir()
	filled(t)
	must(t, os.CopyFS(dir, os.DirFS(template)))
	must(t, os.Chmod(filepath.Join(dir, "key"), 0o600))
	log, closeStore := f.open(dir)
	t.Cleanup(closeStore)
	f.project, f.users, f.keys, f.certs = sample.project, maps.Clone(sample.users), maps.Clone(sample.keys), maps.Clone(sample.certs)
	f.serve(log, change...)
	t.Cleanup(f.checkDocumented)
	t.Cleanup(f.verify)
	return f
}

// sample has what is in the template folder: people, a project and certificates.
var (
	sample     fixture
	fillSample sync.Once
)

// filled fills the template folder, once.
func filled(t *testing.T) {
	t.Helper()
	fillSample.Do(func() {
		sample.t, sample.users = t, map[string]engine.User{}
		sample.keys, sample.certs = map[string]engine.Secret{}, map[string]engine.Certificate{}
		_, closeStore := sample.open(template)
		defer closeStore()
		sample.people()
		sample.certificates()
		sample.heads = map[string]engine.AuditHead{}
		for _, chain := range []string{sample.project.ID, engine.SystemChain} {
			found, err := sample.verifier().Verify(t.Context(), chain, engine.AuditHead{})
			if err != nil || !found.OK {
				t.Fatalf("verification of %s: %+v, %v", chain, found, err)
			}
			sample.heads[chain] = found.Head
		}
	})
}

// open makes the services on a folder.
func (f *fixture) open(dir string) (log *slog.Logger, closeStore func()) {
	t := f.t
	t.Helper()
	f.log, f.registry = &buffer{}, prometheus.NewRegistry()
	real, err := sqlite.Open(t.Context(), filepath.Join(dir, "store", "db"))
	must(t, err)
	store := &faultyStore{Store: real}
	log = slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sealer, err := keys.Open(t.Context(), keys.Options{KeyFile: filepath.Join(dir, "key"), Logger: log})
	must(t, err)
	clock := f.now
	f.store, f.faults = store, store
	f.admin = &engine.Admin{Store: store, Keys: sealer, Passwords: &passwords.Passwords{MemoryKiB: 64}, Plugins: renderers, Clock: clock}
	f.authentication = &engine.Authentication{Store: store, Passwords: f.admin.Passwords, Clock: clock, Idle: time.Hour, Life: 12 * time.Hour}
	f.workflows = &inProcess{started: map[string]bool{}, reports: make(chan engine.SettlementReport, 10_000), reused: make(chan engine.Token, 10_000)}
	f.downloads = &engine.Downloads{
		Store: store, Formats: renderers, Keys: sealer, Policy: rules, Workflows: f.workflows, Clock: clock, Log: log,
		Refusals: &engine.Refusals{Store: store, Clock: clock, Log: log}, Limits: engine.MintLimits{LiveTokens: 1000, WaitingRequests: 20},
	}
	f.notifications = &engine.Notifications{
		Store: store, Keys: sealer, Clock: clock, Log: log, Notifier: notify.New(notify.Options{AllowHosts: []string{"127.0.0.1"}, Clock: clock}),
	}
	f.workflows.transitions = &engine.Transitions{Store: store, Policy: rules, Reports: f.workflows, Clock: clock, Log: log}
	return log, func() { must(t, real.Close()) }
}

// now is the fixture's clock.
func (f *fixture) now() time.Time {
	at := time.Now()
	if frozen := f.frozen.Load(); frozen != nil {
		at = *frozen
	}
	return engine.NormalizeTime(at.Add(time.Duration(f.skew.Load())))
}

// freeze stops the clock, so that a rate limiter gives nothing back meanwhile.
func (f *fixture) freeze() {
	at := time.Now()
	f.frozen.Store(&at)
}

func (f *fixture) verifier() *engine.Verifier {
	return &engine.Verifier{Store: f.store, Clock: f.now, Ages: engine.RetentionAges{Tokens: 720 * time.Hour}}
}

// verify checks what the test added to every chain, and that it agrees with the
// documents.
func (f *fixture) verify() {
	f.t.Helper()
	if f.unrecorded {
		return
	}
	for _, chain := range []string{f.project.ID, engine.SystemChain} {
		v, err := f.verifier().VerifyAfter(context.Background(), chain, sample.heads[chain])
		if err != nil || !v.OK {
			f.t.Errorf("verification of %s: %+v, %v", chain, v, err)
		}
	}
}

// options are those of a server on the fixture's services.
func (f *fixture) options() api.Options {
	return api.Options{
		Downloads: f.downloads, Admin: f.admin, Authentication: f.authentication, Notifications: f.notifications, Store: f.store, Clock: f.now,
		Verifier: f.verifier(), AnchoredHead: func(string) (engine.AuditHead, bool) { return f.anchored, f.anchored.Seq > 0 },
		ImportPEM: certimport.PEM, ImportPKCS12: certimport.PKCS12,
		PolicyStatus: func() engine.PolicyStatus { return engine.PolicyStatus{Revision: rules.Revision()} },
		OtherNodes:   func() []engine.NodeDifference { return f.otherNodes },
	}
}

func (f *fixture) serve(log *slog.Logger, change ...func(*fixture, *api.Options)) {
	f.t.Helper()
	o := f.options()
	o.Registry, o.Log, o.Version, o.Ready = f.registry, log, "test", []api.Check{{Name: "store", Ask: f.store.Ping}}
	for _, c := range change {
		c(f, &o)
	}
	server, err := api.New(o)
	must(f.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(f.t, err)
	f.server, f.url = server, "http://"+listener.Addr().String()
	if o.TLS != nil {
		f.url = "https://" + listener.Addr().String()
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(f.t, server.Shutdown(ctx))
		must(f.t, <-ended)
	})
}

// people makes a project with a person of each role, and someone outside it.
func (f *fixture) people() {
	ctx := f.t.Context()
	root, err := f.admin.CreateUser(ctx, engine.Caller{}, engine.User{Username: "root", SystemAdmin: true}, "")
	must(f.t, err)
	by := engine.Caller{Principal: engine.Principal{User: root}, Role: engine.RoleAdmin}
	f.project, err = f.admin.CreateProject(ctx, by, "Payments")
	must(f.t, err)
	by.Project = f.project
	f.users["root"] = root
	ofSystem := by
	ofSystem.Project = engine.Project{ID: engine.SystemChain}
	f.keys["root"] = f.key(ofSystem, engine.RoleAdmin, time.Time{})
	for name, role := range map[string]engine.Role{
		"viewer": engine.RoleViewer, "operator": engine.RoleOperator, "second": engine.RoleOperator,
		"approver": engine.RoleApprover, "another": engine.RoleApprover, "admin": engine.RoleAdmin,
	} {
		f.person(by, name, role)
	}
	outside, err := f.admin.CreateProject(ctx, by, "Elsewhere")
	must(f.t, err)
	by.Project = outside
	f.person(by, "outsider", engine.RoleAdmin)
}

func (f *fixture) person(by engine.Caller, name string, role engine.Role) {
	u, err := f.admin.CreateUser(f.t.Context(), by, engine.User{Username: name, Name: "The " + name}, "")
	must(f.t, err)
	_, err = f.admin.SetMember(f.t.Context(), by, u.ID, role)
	must(f.t, err)
	f.users[name] = u
	by.Principal, by.Role = engine.Principal{User: u}, role
	f.keys[name] = f.key(by, role, time.Time{})
}

func (f *fixture) key(by engine.Caller, role engine.Role, expires time.Time) engine.Secret {
	_, secret, err := f.admin.CreateAPIKey(f.t.Context(), by, engine.APIKeySettings{Name: "key of " + by.User.Username, Role: role, ExpiresAt: expires})
	must(f.t, err)
	return secret
}

// caller is a person of the project as the domain sees them.
func (f *fixture) caller(name string) engine.Caller {
	m, err := f.store.Member(f.t.Context(), f.project.ID, f.users[name].ID)
	must(f.t, err)
	return engine.Caller{Principal: engine.Principal{User: f.users[name]}, Role: m.Role, Project: f.project}
}

func (f *fixture) allowKeys(allow bool) {
	f.t.Helper()
	f.policy(func(p *engine.CertificatePolicy) { p.AllowKeyExport = allow })
}

// policy sets the project's: the default with a change.
func (f *fixture) policy(change func(p *engine.CertificatePolicy)) {
	f.t.Helper()
	p := engine.DefaultPolicy(f.project.ID)
	change(&p)
	_, err := f.admin.SetPolicy(f.t.Context(), f.caller("admin"), p, "")
	must(f.t, err)
}

// reported waits for what the server said became of a file.
func (f *fixture) reported() engine.SettlementReport {
	f.t.Helper()
	select {
	case r := <-f.workflows.reports:
		return r
	case <-time.After(10 * time.Second):
		f.t.Fatal("the server reported nothing")
		return engine.SettlementReport{}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// errBroken is what a driver might say; no caller may read it.
var errBroken = errors.New("canary-driver-text")
