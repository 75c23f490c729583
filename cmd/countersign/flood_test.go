package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// flood is one kind of call, made far more often than its quota allows.
type flood struct {
	name string
	// half is how often it is called in each half.
	half int
	// call makes the i-th call and returns its status.
	call func(i int) int
	// statuses are all that may be answered. The last one must be: it is that of the limit.
	statuses []int
	// refill is how often the quota allows one more audit entry. 0 means never.
	refill time.Duration
	// action and code are those of the refusals on record, and recorded is their status;
	// without an action nothing is recorded.
	action   string
	code     engine.Code
	recorded int
}

// A half of a flood may grow what is measured by this much and still be flat.
const (
	// What earlier floods left out of the audit log is recorded every 30 s, with as many
	// entries as their quotas have given back since.
	spareEntries = 24
	// SQLite's pages of 4 KiB that an entry and its indexes may add, in bytes.
	diskOfAnEntry = 8 << 10
	// Temporal's files grow by what its write-ahead log holds, in one step, in bytes.
	spareDisk = 4 << 20
	// Go's heap lets garbage grow to the size of what lives before it collects, and
	// returns memory late: the heap of this server is tens of megabytes.
	spareMemory = 48 << 20
	// Two write-ahead logs of at most 32 MiB each: a log is cut to that when it is reset.
	spareLogs = 64 << 20
)

// Whoever calls far more often than a quota allows makes neither the audit log, nor the
// databases, nor the memory of the server grow: the second half of each flood adds no
// more than what the quotas give back in its time. What was left out of the audit log
// is counted there.
func TestFloodsOfEveryQuotaStayFlat(t *testing.T) {
	if !soak {
		t.Skip("it takes minutes; COUNTERSIGN_SOAK=1 runs it. Tests of engine and api flood each quota alone")
	}
	s := startForFloods(t)
	table := &strings.Builder{}
	out := tabwriter.NewWriter(table, 0, 0, 2, ' ', 0)
	defer func() {
		noError(t, out.Flush())
		t.Logf("before, halfway and after:\n%s", table)
	}()
	writeRow(out, "flood", "calls", "seconds", "answers", "audit entries", "databases KiB", "logs KiB", "resident MiB", "peak MiB")
	answered := map[string]int{} // by action and code of the refusals
	for _, f := range s.floods() {
		before := s.usage()
		first := s.callHalf(f, 0)
		halfway := s.usage()
		second := s.callHalf(f, f.half)
		after := s.usage()
		all := first.plus(second)
		s.checkFlood(f, all, halfway, after)
		if f.action != "" {
			answered[f.action+" "+string(f.code)] += all[f.recorded]
		}
		writeSteps(out, f.name, all, before, halfway, after)
	}
	s.hold(out)
	s.auditOK()
	s.stop() // it records what was left out
	for kind, want := range answered {
		action, code, _ := strings.Cut(kind, " ")
		if entries, stood := s.refusalsOnRecord(action, code); stood != want {
			t.Errorf("%s: %d entries stand for %d refusals, and %d were answered", kind, entries, stood, want)
		}
	}
}

// Settings of the server of floods; addresses of the proxy's and the attackers' sides.
const (
	liveTokens, waitingRequests = 50, 20
	connectionsOfAnAddress      = 64
	proxyAddress                = "127.0.0.2"
	floodPassword               = "a password of the floods"
)

// flooded is a server, and clients that call it directly and through a trusted proxy.
type flooded struct {
	*server
	proxied *http.Client
	used    string // a token that was used
}

func startForFloods(t *testing.T) *flooded {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	cmd := devCommandOf(binary(t), dir)
	cmd.Args = append(cmd.Args, "--log-level", "warn")
	s := launch(t, cmd, dir, "COUNTERSIGN_TRUSTED_PROXIES="+proxyAddress, fmt.Sprintf("COUNTERSIGN_LIMITS_LIVE_TOKENS=%d", liveTokens),
		fmt.Sprintf("COUNTERSIGN_LIMITS_WAITING_REQUESTS=%d", waitingRequests), fmt.Sprintf("COUNTERSIGN_LIMITS_CONNECTIONS_PER_ADDRESS=%d", connectionsOfAnAddress))
	t.Cleanup(s.kill)
	s.awaitReady()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(proxyAddress)}}
	f := &flooded{server: s, proxied: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, DialContext: dialer.DialContext,
	}}}
	for _, name := range []string{"viewer", "operator"} {
		s.must(http.StatusOK, nil, "system", http.MethodPatch, "/api/v1/users/"+s.person(name), object("password", floodPassword))
	}
	f.used = s.mint(0, "cert").Token
	if status, body := s.fetch(f.used); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	return f
}

// from calls through the proxy from the n-th network.
func (f *flooded) from(n int, method, path, body string, header ...string) int {
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	noError(f.t, err)
	request.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", n/250, n%250+1))
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := f.proxied.Do(request)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0
	}
	return answer.StatusCode
}

func (f *flooded) as(key, method, path, body string) int {
	status, _ := f.call(key, method, path, body)
	return status
}

func (f *flooded) signIn(network int, username, password string) int {
	return f.from(network, http.MethodPost, "/api/v1/session", object("username", username, "password", password))
}

// answers counts answers by status.
type answers map[int]int

func (a answers) plus(b answers) answers {
	all := maps.Clone(a)
	for status, n := range b {
		all[status] += n
	}
	return all
}

// String implements fmt.Stringer.
func (a answers) String() string {
	parts := make([]string, 0, len(a))
	for _, status := range slices.Sorted(maps.Keys(a)) {
		parts = append(parts, fmt.Sprintf("%d:%d", status, a[status]))
	}
	return strings.Join(parts, " ")
}

func (f *flooded) callHalf(fl flood, from int) answers {
	f.t.Helper()
	var mu sync.Mutex
	got := answers{}
	concurrently(f.t, fl.half, func(i int) {
		status := fl.call(from + i)
		mu.Lock()
		defer mu.Unlock()
		got[status]++
	})
	f.failIfEnded()
	return got
}

// checkFlood compares the second half of a flood with what it may add.
func (f *flooded) checkFlood(fl flood, got answers, halfway, after usage) {
	f.t.Helper()
	for status := range got {
		if !slices.Contains(fl.statuses, status) {
			f.t.Errorf("%s: %d answers have the status %d", fl.name, got[status], status)
		}
	}
	if limit := fl.statuses[len(fl.statuses)-1]; got[limit] == 0 {
		f.t.Errorf("%s: no answer has the status %d of the limit", fl.name, limit)
	}
	entries := spareEntries
	if fl.refill > 0 {
		entries += 2 * int(after.at.Sub(halfway.at)/fl.refill) // by a call, and by what records the rest
	}
	for what, grown := range map[string]struct{ by, most int64 }{
		"audit entries":         {int64(after.entries - halfway.entries), int64(entries)},
		"bytes of databases":    {after.databases - halfway.databases, int64(entries)*diskOfAnEntry + spareDisk},
		"bytes of their logs":   {after.logs, spareLogs},
		"bytes that are in use": {after.resident - halfway.resident, spareMemory},
	} {
		if grown.by > grown.most {
			f.t.Errorf("%s: the second half adds %d %s; it may add %d", fl.name, grown.by, what, grown.most)
		}
	}
}

func (f *flooded) floods() []flood {
	refusals := []flood{
		{
			name: "a used token", half: 20_000, statuses: []int{410}, refill: 30 * time.Second,
			call:   func(int) int { return f.as("", http.MethodGet, "/api/v1/downloads/"+f.used, "") },
			action: engine.ActionDownloadRefused, code: engine.CodeTokenConsumed, recorded: 410,
		},
		{
			name: "unknown tokens of many networks", half: 20_000, statuses: []int{404, 429}, refill: 5 * time.Second,
			call: func(i int) int {
				return f.from(i%100, http.MethodGet, fmt.Sprintf("/api/v1/downloads/%043d", i), "")
			},
			action: engine.ActionDownloadRefused, code: engine.CodeTokenUnknown, recorded: 404,
		},
		{
			name: "calls without the right", half: 20_000, statuses: []int{403}, refill: 30 * time.Second,
			call:   func(int) int { return f.as("viewer", http.MethodGet, f.project()+"/audit-logs", "") },
			action: engine.ActionAccessRefused, code: engine.CodeForbidden, recorded: 403,
		},
		{
			name: "invalid API keys of many networks", half: 20_000, statuses: []int{401, 429}, refill: 5 * time.Second,
			call: func(i int) int {
				return f.from(i%100, http.MethodGet, "/api/v1/me", "", "Authorization", fmt.Sprintf("Bearer csk_%d", i))
			},
			action: engine.ActionLoginFailed, code: engine.CodeUnauthenticated, recorded: 401,
		},
	}
	return slices.Concat(refusals, f.floodsOfPasswords(), f.floodsOfMembers(), f.floodsOfNothing())
}

// floodsOfPasswords are of wrong passwords. On a busy machine a few wait for too long to
// be hashed, and are answered 503. While they last, the right password lets in whoever
// signed in from the same network before.
func (f *flooded) floodsOfPasswords() []flood {
	const home = 5000
	if status := f.signIn(home, "operator", floodPassword); status != http.StatusOK {
		f.t.Fatalf("signing in answers %d", status)
	}
	wrong := func(network int, username string, i int) int {
		if i%1000 == 0 {
			if status := f.signIn(home, "operator", floodPassword); status != http.StatusOK {
				f.t.Errorf("the right password is answered with %d meanwhile", status)
			}
		}
		return f.signIn(network, username, "not the password")
	}
	return []flood{
		{ // each network has a minute's worth of 60
			name: "wrong passwords of one network", half: 5000, statuses: []int{401, 503, 429}, refill: time.Second,
			call:   func(i int) int { return wrong(4000, "viewer", i) },
			action: engine.ActionLoginFailed, code: engine.CodeWrongPassword, recorded: 401,
		},
		{ // each account has a minute's worth of 100
			name: "wrong passwords of many networks", half: 5000, statuses: []int{401, 503, 429}, refill: 600 * time.Millisecond,
			call:   func(i int) int { return wrong(i%1000, "operator", i) },
			action: engine.ActionLoginFailed, code: engine.CodeWrongPassword, recorded: 401,
		},
	}
}

// floodsOfMembers are of people who may do what they do, but not so often.
func (f *flooded) floodsOfMembers() []flood {
	mint := func(key, format string) func(int) int {
		return func(int) int {
			return f.as(key, http.MethodPost, f.project()+"/certificates/"+f.boot.Certificates[0].ID+"/downloads", object("format", format, "ttl_seconds", 300))
		}
	}
	var once sync.Once
	return []flood{
		{name: "links that nobody uses", half: 5000, statuses: []int{201, 429}, call: mint("operator", "cert")},
		{
			name: "requests that the policy denies", half: 5000, statuses: []int{403, 429}, refill: 3 * time.Second,
			call: mint("approver", "key"),
		},
		{
			name: "requests that wait for approval", half: 5000, statuses: []int{202, 429},
			call: func(i int) int {
				once.Do(func() { f.approvals(false, "key_export", 1, 3600, 3600) })
				return mint("second_approver", "key")(i)
			},
		},
		{
			name: "notification targets", half: 500, statuses: []int{201, 422},
			call: func(i int) int {
				return f.as("admin", http.MethodPost, f.project()+"/notification-targets",
					object("name", fmt.Sprint("target ", i), "url", "https://hooks.example.com/x", "events", []string{"approval.requested"}))
			},
		},
	}
}

// floodsOfNothing are of calls that leave nothing behind.
func (f *flooded) floodsOfNothing() []flood {
	large := strings.Repeat("x", 200<<10) // the server reads the rest of it, so that the answer arrives
	return []flood{
		{
			name: "large bodies of strangers", half: 3000, statuses: []int{413},
			call: func(i int) int { return f.from(i, http.MethodPost, "/api/v1/session", large) },
		},
		{
			name: "paths and methods that do not exist", half: 20_000, statuses: []int{405, 404},
			call: func(i int) int {
				return f.from(i%1000, []string{"GET", "POST", "BREW"}[i%3], fmt.Sprintf("/api/v1/nothing/%d?x=%d", i, i), "")
			},
		},
		{
			// Each answer closes its connection, and this machine has 28,000 ports for clients.
			name: "other hosts", half: 5000, statuses: []int{421},
			call: func(i int) int { return f.toHost(fmt.Sprintf("host%d.example", i)) },
		},
	}
}

// toHost asks for another host than the server's.
func (f *flooded) toHost(host string) int {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/api/v1/me", nil)
	noError(f.t, err)
	request.Host = host
	answer, err := f.proxied.Do(request)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close() // the status is all that matters
	return answer.StatusCode
}
