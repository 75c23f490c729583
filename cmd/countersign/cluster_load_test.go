//go:build cluster

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// wholeOnly leaves a test out of the short part, which the gate runs.
func wholeOnly(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it is in the whole run: make test-cluster")
	}
}

func decoded[T any](t *testing.T, text []byte) (v T) {
	if err := json.Unmarshal(text, &v); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	return v
}

// tokenLife is how long the tokens live, in seconds: longer than an outage, so that they can
// be tried after it.
func tokenLife() int { return times(30, 60) }

// promise is a token that a caller got, and what became of it.
type promise struct {
	requestID, token string
	expires          time.Time
	delivered        int // whole files
	unclear          int // redemptions that may have used it up: no answer, or 5xx
}

// ledger is what callers were told.
type ledger struct {
	mu       sync.Mutex
	answers  map[string]*answer // by call and answer
	promises []*promise
	accepted []string // requests that wait for an approval
}

func newLedger() *ledger { return &ledger{answers: map[string]*answer{}} }

type answer struct {
	count   int
	longest time.Duration
}

// did makes a call and writes down its answer.
func (l *ledger) did(call string, do func() (int, []byte)) (int, []byte) {
	began := time.Now()
	status, body := do()
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	kind := fmt.Sprintf("%-7s %3d %s", call, status, problem(body).Code)
	a := l.answers[kind]
	if a == nil {
		a = &answer{}
		l.answers[kind] = a
	}
	a.count, a.longest = a.count+1, max(a.longest, took)
	return status, body
}

// table is the answers, one kind a line. Status 0 is a connection without an answer.
func (l *ledger) table() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(l.answers)) {
		fmt.Fprintf(&b, "  %-32s %6d   longest %6.2f s\n", kind, l.answers[kind].count, l.answers[kind].longest.Seconds())
	}
	return b.String()
}

// failed counts the calls that no caller should have to repeat: without an answer, or
// with one from 500 on.
func (l *ledger) failed() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for kind, a := range l.answers {
		if status := strings.Fields(kind)[1]; status == "0" || status >= "500" {
			n += a.count
		}
	}
	return n
}

func (l *ledger) promised(m minted) *promise {
	p := &promise{requestID: m.RequestID, token: m.Token, expires: m.ExpiresAt}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.promises = append(l.promises, p)
	return p
}

// redeem redeems a token on a node and notes what became of it. Only one caller has it.
func (l *ledger) redeem(n *node, p *promise) int {
	status, _ := l.did("redeem", func() (int, []byte) { return n.fetch(p.token) })
	switch {
	case status == http.StatusOK:
		p.delivered++
	case status == 0 || status >= http.StatusInternalServerError:
		p.unclear++
	}
	return status
}

// pace is the time from one round of a caller to its next, if the round is shorter.
const pace = 100 * time.Millisecond

// load has callers on each node until stop is called, which waits for their last
// answers. Each mints and redeems, now with an approval and now without, by turns on
// its node and on the next.
func (c *cluster) load(callers int) (stop func() *ledger) {
	l := newLedger()
	stopped := make(chan struct{})
	var wg sync.WaitGroup
	for i := range callers * len(c.nodes) {
		wg.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for round := i; ; round++ {
				on, next := c.nodes[i%len(c.nodes)], c.nodes[(i+round)%len(c.nodes)]
				if round%4 == 3 {
					l.approved(on, next)
				} else {
					l.issued(on, next)
				}
				select {
				case <-stopped:
					return
				case <-tick.C:
				}
			}
		})
	}
	return func() *ledger {
		close(stopped)
		wg.Wait()
		return l
	}
}

// issued mints on one node and redeems on another.
func (l *ledger) issued(on, next *node) {
	status, body := l.did("mint", func() (int, []byte) { return on.tryMint("fullchain") })
	if status == http.StatusCreated {
		l.redeem(next, l.promised(decoded[minted](on.cluster.t, body)))
	}
}

// approved mints what needs an approval, votes, claims and redeems.
func (l *ledger) approved(on, next *node) {
	t := on.cluster.t
	status, body := l.did("mint", func() (int, []byte) { return on.tryMint("key") })
	if status != http.StatusAccepted {
		return
	}
	pending := decoded[struct {
		RequestID  string `json:"request_id"`
		ApprovalID string `json:"approval_id"`
	}](t, body)
	l.mu.Lock()
	l.accepted = append(l.accepted, pending.RequestID)
	l.mu.Unlock()
	if status, _ := l.did("vote", func() (int, []byte) { return next.vote(pending.ApprovalID) }); status != http.StatusOK {
		return
	}
	if status, body := l.did("claim", func() (int, []byte) { return on.claim(pending.RequestID) }); status == http.StatusCreated {
		l.redeem(next, l.promised(decoded[minted](t, body)))
	}
}

// tryMint asks for the RSA sample in a format, with a token of a short life.
func (n *node) tryMint(format string) (int, []byte) { return n.tryMintFor(format, tokenLife()) }

func (n *node) tryMintFor(format string, seconds int) (int, []byte) {
	return n.call("operator", http.MethodPost, n.project()+"/certificates/"+n.boot.Certificates[0].ID+"/downloads",
		fmt.Sprintf(`{"format":%q,"passphrase":%q,"ttl_seconds":%d}`, format, testPassphrase, seconds))
}

func (n *node) vote(approvalID string) (int, []byte) {
	return n.call("approver", http.MethodPost, n.project()+"/approvals/"+approvalID+"/approve", `{"comment":"fine"}`)
}

func (n *node) claim(requestID string) (int, []byte) {
	return n.call("operator", http.MethodPost, n.project()+"/requests/"+requestID+"/token", fmt.Sprintf(`{"passphrase":%q}`, testPassphrase))
}
