package mongo_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/event"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/certimport"
	"github.com/countersign-dev/countersign/engine/keys"
	"github.com/countersign-dev/countersign/engine/passwords"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/host"
	"github.com/countersign-dev/countersign/policies"
)

// budgets are the commands that each call of the API sends to the server, in the order
// in which the test makes the calls. What links the audit chain is not among them: it is
// done in batches, in the background, for all calls of a moment.
var budgets = []struct{ call, commands string }{
	{"mint",
		"2 aggregate download_requests, 1 find api_keys, 2 find certificate_policies, 1 find certificates, 1 find members, " +
			"1 find projects, 1 find users, 1 insert audit_waiting, 1 insert download_requests, 1 insert download_tokens"},
	{"redeem",
		"2 find api_keys, 1 find audit_logs, 1 find audit_waiting, 1 find certificate_keys, 2 find certificate_policies, " +
			"1 find certificates, 1 find download_requests, 1 find download_tokens, 2 find members, 1 find projects, 2 find users, " +
			"1 insert audit_waiting, 1 insert certificate_events, 1 insert download_tokens"},
	{"redeem again",
		"1 insert audit_waiting"},
	{"mint that waits",
		"2 aggregate download_requests, 1 find api_keys, 2 find certificate_policies, 1 find certificates, 1 find members, " +
			"1 find projects, 1 find users, 1 insert approval_requests, 1 insert audit_waiting, 1 insert download_requests"},
	{"vote",
		"4 find api_keys, 5 find approval_requests, 1 find certificates, 2 find download_requests, 4 find members, " +
			"1 find projects, 4 find users, 2 insert approval_requests, 2 insert audit_waiting, 2 update approval_requests, " +
			"1 update download_requests"},
	{"claim",
		"3 find api_keys, 4 find approval_requests, 1 find certificate_policies, 1 find certificates, 3 find download_requests, " +
			"3 find members, 1 find projects, 3 find users, 2 insert approval_requests, 2 insert audit_waiting, " +
			"1 insert download_tokens, 2 update approval_requests, 1 update download_requests"},
	{"claim again",
		"3 find api_keys, 4 find approval_requests, 1 find audit_logs, 1 find audit_waiting, 1 find certificate_policies, " +
			"1 find certificates, 3 find download_requests, 2 find download_tokens, 3 find members, 1 find projects, 3 find users, " +
			"2 insert approval_requests, 3 insert audit_waiting, 1 insert certificate_events, 3 insert download_tokens, " +
			"2 update approval_requests, 1 update download_requests"},
	{"redeem after approval",
		"4 find api_keys, 3 find approval_requests, 1 find audit_logs, 1 find audit_waiting, 1 find certificate_keys, " +
			"2 find certificate_policies, 1 find certificates, 1 find download_requests, 1 find download_tokens, 4 find members, " +
			"1 find projects, 4 find users, 1 insert audit_waiting, 1 insert certificate_events, 1 insert download_tokens"},
	{"list requests",
		"1 find api_keys, 1 find download_requests, 1 find members, 1 find projects, 1 find users"},
	{"list approvals",
		"1 find api_keys, 1 find approval_requests, 1 find members, 1 find projects, 1 find users"},
	{"list certificates",
		"1 find api_keys, 1 find certificates, 1 find members, 1 find projects, 1 find users"},
	{"search certificates",
		"1 find api_keys, 1 find certificates, 1 find members, 1 find projects, 1 find users"},
	{"list tokens",
		"1 find api_keys, 2 find download_tokens, 1 find members, 1 find projects, 1 find users"},
}

// commands counts what a store sends.
type commands struct {
	mu    sync.Mutex
	count map[string]int
}

func (c *commands) started(_ context.Context, e *event.CommandStartedEvent) {
	collection, ok := e.Command.Lookup(e.CommandName).StringValueOK()
	if !ok || links(e.CommandName, collection, e.Command) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[e.CommandName+" "+collection]++
}

// links reports whether a command belongs to the linking of the audit chain.
func links(name, collection string, command bson.Raw) bool {
	switch collection {
	case "audit_waiting":
		_, err := command.LookupErr("filter", "_id") // one entry is looked up by its Ref
		return name == "delete" || name == "find" && err != nil
	case "audit_logs":
		ref := command.Lookup("filter", "ref")
		return name == "insert" || ref.Type != bson.TypeString
	}
	return false
}

// taken are the commands since the last call, by name.
func (c *commands) taken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.count)) {
		parts = append(parts, fmt.Sprintf("%d %s", c.count[name], name))
	}
	c.count = map[string]int{}
	return strings.Join(parts, ", ")
}

// TestBudgets compares what calls cost with the table of budgets. FerretDB gets the
// same commands as MongoDB.
func TestBudgets(t *testing.T) {
	s := newAPI(t)
	s.policy(engine.ApprovalOff)
	var m struct {
		Token      string `json:"token"`
		RequestID  string `json:"request_id"`
		ApprovalID string `json:"approval_id"`
	}
	certificates := s.project + "/certificates"
	mint := func() string {
		m.Token, m.ApprovalID = "", ""
		return certificates + "/" + s.certificate + "/downloads"
	}
	s.costs("mint", "operator", "POST", mint(), `{"format":"key"}`, 201, &m)
	s.costs("redeem", "", "GET", "/downloads/"+m.Token, "", 200, nil)
	s.costs("redeem again", "", "GET", "/downloads/"+m.Token, "", 410, nil)
	s.policy(engine.ApprovalKeyExport)
	s.costs("mint that waits", "operator", "POST", mint(), `{"format":"key"}`, 202, &m)
	s.costs("vote", "approver", "POST", s.project+"/approvals/"+m.ApprovalID+"/approve", "", 200, nil)
	s.costs("claim", "operator", "POST", s.project+"/requests/"+m.RequestID+"/token", "{}", 201, &m)
	s.costs("claim again", "operator", "POST", s.project+"/requests/"+m.RequestID+"/token", "{}", 201, &m)
	s.costs("redeem after approval", "", "GET", "/downloads/"+m.Token, "", 200, nil)
	s.costs("list requests", "operator", "GET", s.project+"/requests", "", 200, nil)
	s.costs("list approvals", "approver", "GET", s.project+"/approvals?status=pending", "", 200, nil)
	s.costs("list certificates", "operator", "GET", certificates, "", 200, nil)
	s.costs("search certificates", "operator", "GET", certificates+"?q=shop+example", "", 200, nil)
	s.costs("list tokens", "admin", "GET", s.project+"/download-tokens", "", 200, nil)
	if s.calls != len(budgets) {
		t.Errorf("%d of %d budgets were tried", s.calls, len(budgets))
	}
}

// countedAPI is the API on a store whose commands are counted. Its requests take their steps
// at once.
type countedAPI struct {
	t                         *testing.T
	url, project, certificate string
	keys                      map[string]engine.Secret
	admin                     *engine.Admin
	by                        engine.Caller
	commands                  *commands
	calls                     int
}

// costs makes a call and compares its cost with the next budget.
func (s *countedAPI) costs(call, as, method, path, body string, want int, out any) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+"/api/v1"+path, strings.NewReader(body))
	noError(s.t, err)
	if as != "" {
		request.Header.Set("Authorization", "Bearer "+s.keys[as].Reveal())
	}
	s.commands.taken()
	answer, err := http.DefaultClient.Do(request)
	noError(s.t, err)
	text, err := io.ReadAll(answer.Body)
	noError(s.t, cmp.Or(err, answer.Body.Close()))
	if answer.StatusCode != want {
		s.t.Fatalf("%s: %s %s", call, answer.Status, text)
	}
	if out != nil {
		noError(s.t, json.Unmarshal(text, out))
	}
	got := s.commands.taken()
	if s.calls >= len(budgets) || budgets[s.calls].call != call || budgets[s.calls].commands != got {
		s.t.Errorf("%s took another number of commands than its budget:\n\t%s", call, got)
	}
	s.calls++
}

func (s *countedAPI) policy(mode engine.ApprovalMode) {
	s.t.Helper()
	p := engine.DefaultPolicy(s.by.Project.ID)
	p.AllowKeyExport, p.Approval.Mode = true, mode
	_, err := s.admin.SetPolicy(s.t.Context(), s.by, p, "")
	noError(s.t, err)
}

func newAPI(t *testing.T) *countedAPI {
	t.Helper()
	ctx, log, clock := t.Context(), slog.New(slog.DiscardHandler), engine.SystemClock
	uri, _ := servers[0].database(t)
	s := &countedAPI{t: t, keys: map[string]engine.Secret{}, commands: &commands{count: map[string]int{}}}
	store, err := mongo.OpenMonitored(ctx, uri, mongo.Credential{}, &event.CommandMonitor{Started: s.commands.started})
	noError(t, err)
	t.Cleanup(func() { noError(t, store.Close()) })
	sealer, err := keys.Open(ctx, keys.Options{KeyFile: filepath.Join(t.TempDir(), "key"), Logger: log})
	noError(t, err)
	noError(t, store.UseAuditKey(ctx, []byte("an audit key of a test")))
	rules, err := policies.New(ctx)
	noError(t, err)
	formats := renderers(t, log)
	s.admin = &engine.Admin{Store: store, Keys: sealer, Passwords: &passwords.Passwords{MemoryKiB: 64}, Plugins: formats, Clock: clock}
	steps := &direct{}
	steps.Transitions = &engine.Transitions{Store: store, Policy: rules, Reports: steps, Clock: clock, Log: log}
	s.people()
	server, err := api.New(api.Options{
		Downloads: &engine.Downloads{
			Store: store, Formats: formats, Keys: sealer, Policy: rules, Workflows: steps, Clock: clock, Log: log,
			Refusals: &engine.Refusals{Store: store, Clock: clock, Log: log}, Limits: engine.MintLimits{LiveTokens: 1000, WaitingRequests: 20},
		},
		Admin: s.admin, Authentication: &engine.Authentication{Store: store, Passwords: s.admin.Passwords, Clock: clock, Idle: time.Hour, Life: time.Hour},
		Notifications: &engine.Notifications{Store: store, Keys: sealer, Clock: clock, Log: log}, Store: store, Clock: clock, Log: log,
		Verifier:     &engine.Verifier{Store: store, Clock: clock},
		AnchoredHead: func(string) (engine.AuditHead, bool) { return engine.AuditHead{}, false },
		ImportPEM:    certimport.PEM, ImportPKCS12: certimport.PKCS12,
		PolicyStatus: func() engine.PolicyStatus { return engine.PolicyStatus{} },
	})
	noError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	s.url = "http://" + listener.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		noError(t, server.Shutdown(ctx))
		noError(t, <-ended)
	})
	return s
}

// people makes a project with a certificate, and people with API keys in it.
func (s *countedAPI) people() {
	ctx := s.t.Context()
	root, err := s.admin.CreateUser(ctx, engine.Caller{}, engine.User{Username: "root", SystemAdmin: true}, "")
	noError(s.t, err)
	s.by = engine.Caller{Principal: engine.Principal{User: root}, Role: engine.RoleAdmin}
	s.by.Project, err = s.admin.CreateProject(ctx, s.by, "Payments")
	noError(s.t, err)
	s.project = "/projects/" + s.by.Project.ID
	for name, role := range map[string]engine.Role{"operator": engine.RoleOperator, "approver": engine.RoleApprover, "admin": engine.RoleAdmin} {
		u, err := s.admin.CreateUser(ctx, s.by, engine.User{Username: name}, "")
		noError(s.t, err)
		_, err = s.admin.SetMember(ctx, s.by, u.ID, role)
		noError(s.t, err)
		as := engine.Caller{Principal: engine.Principal{User: u}, Role: role, Project: s.by.Project}
		_, s.keys[name], err = s.admin.CreateAPIKey(ctx, as, engine.APIKeySettings{Name: "key", Role: role})
		noError(s.t, err)
	}
	c, err := s.admin.Import(ctx, s.by, "shop", selfSigned(s.t, "shop.example.com"))
	noError(s.t, err)
	s.certificate = c.ID
}

// direct takes a request's steps at once, as its workflow does.
type direct struct{ *engine.Transitions }

func (d *direct) Start(ctx context.Context, in engine.WorkflowInput) (engine.Request, error) {
	return d.EvaluatePolicy(ctx, in)
}

func (*direct) PendingReport(string) (r engine.SettlementReport, ok bool) { return r, false }
func (*direct) ReportReuse(engine.Token)                                  {}
func (*direct) ReportSettlement(engine.SettlementReport)                  {}

// renderers are the built-in plugins. The folder and the flags are those of the
// Makefile, so that go build links only what `make build` has not linked already.
func renderers(t *testing.T, log *slog.Logger) *host.Host {
	t.Helper()
	dir, err := filepath.Abs("../../../bin/plugins")
	noError(t, err)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "../../../plugins/formats/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build plugins: %v\n%s", err, out)
	}
	noError(t, catalogue.Write("../../../plugins/catalogue.json", dir))
	formats, err := host.Open(t.Context(), host.Options{Catalogue: filepath.Join(dir, catalogue.FileName), Logger: log})
	noError(t, err)
	t.Cleanup(func() { noError(t, formats.Close()) })
	return formats
}
