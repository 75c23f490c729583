package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/modeltest"
)

// TestModelOnTheServer drives tens of requests at random through the whole
// server, where approvals, claims and tokens last a second, and kills it again
// and again: every answer and every end is the one that the model predicts. No other test
// of this package runs beside it, because under load a call may be answered 503, and then
// nobody knows whether it was done.
func TestModelOnTheServer(t *testing.T) {
	program, dir := binary(t), t.TempDir()+"/data"
	s := startSmall(t, program, dir)
	s.must(http.StatusOK, nil, "admin", http.MethodPut, s.project()+"/certificate-policy",
		`{"allow_key_export":false,"approval":{"mode":"all","required_approvals":2,"ttl_seconds":1,"claim_window_seconds":1},
		"token_ttl_seconds":1,"min_passphrase_length":8,"allow_legacy_encryption":true}`)
	voters := append(s.approvers(3), "approver")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	met := map[string]int{}
	for round := range times(3, 20) {
		all := make([]*life, 10)
		for i := range all {
			all[i] = &life{server: s, voters: voters, rand: rand.New(rand.NewPCG(seed, uint64(round*100+i))), met: map[string]int{}}
		}
		for phase := range 2 {
			concurrently(t, len(all), func(i int) {
				if phase == 0 {
					all[i].begin()
				}
				for range 5 + all[i].rand.IntN(6) {
					all[i].act()
				}
			})
			if phase == 0 {
				s.kill()
				s = startSmall(t, program, dir)
				for _, l := range all {
					s.boot.APIKeys = l.server.boot.APIKeys
					l.server = s
				}
			}
		}
		for _, l := range all {
			l.end()
			for what, n := range l.met {
				met[what] += n
			}
		}
	}
	t.Logf("what was met: %v", met)
	s.auditOK()
}

// life is one request and what the model knows of it. The requester is an
// approver too.
type life struct {
	*server
	rand   *rand.Rand
	voters []string
	model  *modeltest.Model
	waiting
	tokens []string
	met    map[string]int
}

func (l *life) begin() {
	l.waiting = l.waits("approver", "cert")
	lives := modeltest.Lives{Approval: time.Second, Window: time.Second, Token: time.Second}
	l.model = modeltest.New("approver", 2, lives, l.Expires.Add(-time.Second))
}

// act makes a random call, sometimes after a delay.
func (l *life) act() {
	if l.rand.IntN(12) == 0 {
		<-time.After(time.Duration(l.rand.IntN(1200)) * time.Millisecond)
	}
	voter := l.voters[l.rand.IntN(len(l.voters))]
	switch n := l.rand.IntN(14); {
	case n < 7:
		decision := engine.DecisionApprove
		if l.rand.IntN(10) == 0 {
			decision = engine.DecisionDeny
		}
		l.do("vote", func() (int, []byte) { return l.decide(voter, l.waiting, string(decision)) },
			func(m *modeltest.Model, at time.Time) engine.Code { return m.Vote(at, voter, decision) })
	case n < 10:
		l.claim()
	case n == 10:
		l.settleDown() // a timer may be late, and a request that still looks issued is not cancelled
		l.do("cancel", func() (int, []byte) {
			return l.call("approver", http.MethodPost, l.project()+"/requests/"+l.RequestID+"/cancel", "")
		}, (*modeltest.Model).Cancel)
	case n == 11:
		l.do("revoke", func() (int, []byte) {
			return l.call("approver", http.MethodDelete, l.project()+"/requests/"+l.RequestID+"/token", "")
		}, (*modeltest.Model).Revoke)
	case len(l.tokens) > 0:
		n := l.rand.IntN(len(l.tokens))
		l.do("redeem", func() (int, []byte) { return l.fetch(l.tokens[n]) },
			func(m *modeltest.Model, at time.Time) engine.Code { return m.Redeem(at, n) })
	}
}

func (l *life) claim() {
	body := l.do("claim", func() (int, []byte) { return l.claims("approver", l.waiting, "") }, (*modeltest.Model).Claim)
	var m minted
	if json.Unmarshal(body, &m) != nil || m.Token == "" {
		return
	}
	l.tokens = append(l.tokens, m.Token)
	l.model.Tokens[len(l.tokens)-1].Expires = m.ExpiresAt
}

// do makes a call and holds its answer against the model's: as of before the
// call or as of after it, where a time ran out between.
func (l *life) do(what string, call func() (int, []byte), predict func(*modeltest.Model, time.Time) engine.Code) []byte {
	early, late := l.model.Clone(), l.model.Clone()
	first := predict(early, time.Now().Add(-5*time.Millisecond))
	status, body := call()
	last := predict(late, time.Now().Add(5*time.Millisecond))
	got := engine.Code(problem(body).Code)
	l.met[fmt.Sprint(what, " ", status, " ", got)]++
	switch {
	case status != 0 && got == first:
		l.model = early
	case status != 0 && got == last:
		l.model = late
	default:
		l.t.Errorf("%s of %s: %d %s, want %q or %q; the model is %+v", what, l.RequestID, status, body, first, last, l.model)
	}
	if what == "vote" && got == "" {
		l.adopt()
	}
	return body
}

// read is the request as its requester sees it.
func (l *life) read() (r struct {
	Status string
	Claim  *time.Time `json:"claim_expires_at"`
}) {
	l.must(http.StatusOK, &r, "approver", http.MethodGet, l.project()+"/requests/"+l.RequestID, "")
	return r
}

// adopt copies the exact end of the claim window into the model.
func (l *life) adopt() {
	if r := l.read(); r.Claim != nil {
		l.model.Until = *r.Claim
	}
}

// settleDown waits until the request is where the model is.
func (l *life) settleDown() {
	eventually(l.t, "the request "+l.RequestID+" to be as the model", func() bool {
		l.model.Pass(time.Now().Add(-5 * time.Millisecond))
		return l.read().Status == string(l.model.Status)
	})
}

func (l *life) end() {
	eventually(l.t, "the end of "+l.RequestID, func() bool {
		l.model.Pass(time.Now())
		return l.model.Status.Ended()
	})
	l.settleDown()
	var a struct {
		Status    string
		Decisions []struct{}
	}
	l.must(http.StatusOK, &a, "approver", http.MethodGet, l.project()+"/approvals/"+l.ApprovalID, "")
	if a.Status != string(l.model.Approval()) || len(a.Decisions) != len(l.model.Votes) {
		l.t.Errorf("the approval of %s is %+v; the model is %+v", l.RequestID, a, l.model)
	}
	files := 0
	if l.model.Status == engine.StatusConsumed {
		files = 1
	}
	if n := l.downloads(l.RequestID, "cert.downloaded"); n != files {
		l.t.Errorf("%d downloads of %s are in the audit log, want %d", n, l.RequestID, files)
	}
}
