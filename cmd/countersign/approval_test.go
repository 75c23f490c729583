package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// approvals sets the project's policy: key export, approval mode, how many must
// approve, and the seconds for that and for claiming.
func (s *server) approvals(export bool, mode string, required, ttl, window int) {
	s.t.Helper()
	s.must(http.StatusOK, nil, "admin", http.MethodPut, s.project()+"/certificate-policy", fmt.Sprintf(
		`{"allow_key_export":%v,"approval":{"mode":%q,"required_approvals":%d,"ttl_seconds":%d,"claim_window_seconds":%d},
		"token_ttl_seconds":300,"min_passphrase_length":8,"allow_legacy_encryption":true}`, export, mode, required, ttl, window))
}

type waiting struct {
	RequestID  string    `json:"request_id"`
	ApprovalID string    `json:"approval_id"`
	Status     string    `json:"status"`
	Expires    time.Time `json:"approval_expires_at"`
}

// waits asks for a file of the first sample that people must approve.
func (s *server) waits(as, format string) waiting {
	s.t.Helper()
	var w waiting
	s.must(http.StatusAccepted, &w, as, http.MethodPost, s.project()+"/certificates/"+s.boot.Certificates[0].ID+"/downloads",
		fmt.Sprintf(`{"format":%q,"reason":"test"}`, format))
	return w
}

func (s *server) decide(as string, w waiting, decision string) (int, []byte) {
	return s.call(as, http.MethodPost, s.project()+"/approvals/"+w.ApprovalID+"/"+decision, `{"comment":"because"}`)
}

func (s *server) claims(as string, w waiting, passphrase string) (int, []byte) {
	return s.call(as, http.MethodPost, s.project()+"/requests/"+w.RequestID+"/token", object("passphrase", passphrase))
}

// refused checks an answer's status and code.
func (s *server) refused(what string, want int, code string) func(int, []byte) {
	return func(status int, body []byte) {
		s.t.Helper()
		if status != want || problem(body).Code != code {
			s.t.Errorf("%s: %d %s, want %d %s", what, status, body, want, code)
		}
	}
}

// Each call and code about approvals, on the whole server.
func TestApprovals(t *testing.T) {
	t.Parallel()
	s := project(t)
	ask := func(format string) int {
		status, _ := s.call("operator", http.MethodPost, s.project()+"/certificates/"+s.boot.Certificates[0].ID+"/downloads", object("format", format))
		return status
	}
	for _, c := range []struct {
		export       bool
		mode         string
		key, without int
	}{
		{false, "off", 403, 201}, {false, "key_export", 202, 201}, {false, "all", 202, 202},
		{true, "off", 201, 201}, {true, "key_export", 202, 201}, {true, "all", 202, 202},
	} {
		s.approvals(c.export, c.mode, 2, 60, 60)
		if key, without := ask("key"), ask("cert"); key != c.key || without != c.without {
			t.Errorf("export %v, mode %s: %d for the key and %d without, want %d and %d", c.export, c.mode, key, without, c.key, c.without)
		}
	}
	s.approvals(false, "key_export", 2, 60, 60)
	w := s.waits("operator", "pkcs12")
	s.refused("claim too early", 409, "not_approved")(s.claims("operator", w, testPassphrase))
	s.refused("an operator approves", 403, "forbidden")(s.decide("operator", w, "approve"))
	s.refused("no comment", 422, "comment_required")(s.call("approver", http.MethodPost, s.project()+"/approvals/"+w.ApprovalID+"/deny", `{}`))
	s.refused("no such approval", 404, "not_found")(s.decide("approver", waiting{ApprovalID: "apr_none"}, "approve"))
	s.must(http.StatusOK, nil, "approver", http.MethodGet, s.project()+"/approvals/"+w.ApprovalID, "")
	if status, body := s.decide("approver", w, "approve"); status != http.StatusOK {
		t.Fatalf("approve: %d %s", status, body)
	}
	s.refused("a second time", 409, "already_decided")(s.decide("approver", w, "approve"))
	if status, body := s.decide("second_approver", w, "approve"); status != http.StatusOK {
		t.Fatalf("approve: %d %s", status, body)
	}
	s.refused("settled", 409, "not_pending")(s.decide("admin", w, "approve"))
	s.refused("another claims", 403, "forbidden")(s.claims("admin", w, testPassphrase))
	s.refused("no passphrase", 422, "passphrase_required")(s.claims("operator", w, ""))
	var first, second minted
	s.must(http.StatusCreated, &first, "operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/token", object("passphrase", testPassphrase))
	s.must(http.StatusCreated, &second, "operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/token", object("passphrase", testPassphrase))
	s.refused("the token before", 410, "token_revoked")(s.fetch(first.Token))
	s.refused("cancel once claimed", 409, "not_pending")(s.call("operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/cancel", ""))
	if status, _ := s.fetch(second.Token); status != http.StatusOK {
		t.Errorf("the file: %d", status)
	}
	s.refused("claim once used", 409, "not_pending")(s.claims("operator", w, testPassphrase))
	eventually(t, "the request to be consumed", func() bool { return s.status(w.RequestID) == "consumed" })

	own := s.waits("approver", "key")
	s.refused("one's own", 403, "self_approval")(s.decide("approver", own, "approve"))
	if status, _ := s.decide("second_approver", own, "deny"); status != http.StatusOK {
		t.Errorf("deny: %d", status)
	}
	s.refused("after a denial", 409, "not_pending")(s.decide("admin", own, "approve"))
	gone := s.waits("operator", "key")
	s.must(http.StatusOK, nil, "operator", http.MethodPost, s.project()+"/requests/"+gone.RequestID+"/cancel", "")
	s.refused("cancelled twice", 409, "not_pending")(s.call("operator", http.MethodPost, s.project()+"/requests/"+gone.RequestID+"/cancel", ""))
	s.refused("cancelled", 409, "not_pending")(s.decide("approver", gone, "approve"))
	s.auditOK()
}

// When 64 approvers vote at once, the first three approvals or the first denial
// settle the approval.
func TestManyApproversAtOnce(t *testing.T) {
	t.Parallel()
	s := project(t)
	s.approvals(false, "key_export", 3, 600, 600)
	people := s.approvers(64)
	for round, deniers := range []int{0, 0, 1, 2, 8, 32} {
		w := s.waits("operator", "key")
		answers := make(chan string, len(people))
		var wg sync.WaitGroup
		for i, name := range people {
			decision := "approve"
			if (i+round*7)%64 < deniers {
				decision = "deny"
			}
			wg.Go(func() {
				status, body := s.decide(name, w, decision)
				answers <- fmt.Sprint(decision, " ", status, " ", problem(body).Code)
			})
		}
		wg.Wait()
		close(answers)
		count := map[string]int{}
		for a := range answers {
			count[a]++
		}
		var a struct {
			Status    string
			Decisions []struct{ Decision string }
		}
		s.must(http.StatusOK, &a, "admin", http.MethodGet, s.project()+"/approvals/"+w.ApprovalID, "")
		approved, denied := count["approve 200 "], count["deny 200 "]
		late := count["approve 409 not_pending"] + count["deny 409 not_pending"]
		settled := a.Status == "approved" && approved == 3 && denied == 0 || a.Status == "denied" && approved < 3 && denied == 1
		if !settled || approved+denied+late != len(people) || len(a.Decisions) != approved+denied {
			t.Errorf("%d of 64 deny: %v; the approval is %+v", deniers, count, a)
		}
		t.Logf("%d of 64 deny: %v", deniers, count)
	}
	s.auditOK()
}

// concurrently runs do n times, several at a time, and ends the test once one of them
// fails: a t.Fatal in do ends only its own goroutine.
func concurrently(t *testing.T, n int, do func(i int)) {
	t.Helper()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range times(8, 32) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// A server that is killed while many approvals are pending restores all of them with
// their deadlines: those whose deadline has passed expire, the others are decided.
func TestKillWhileApprovalsArePending(t *testing.T) {
	t.Parallel()
	program, dir := binary(t), t.TempDir()+"/data"
	s := startSmall(t, program, dir)
	lasting, brief := times(60, 900), times(20, 100)
	all := make([]waiting, lasting+brief)
	s.approvals(false, "key_export", 1, 3600, 600)
	concurrently(t, lasting, func(i int) { all[i] = s.waits("operator", "key") })
	s.approvals(false, "key_export", 1, 8, 600)
	concurrently(t, brief, func(i int) { all[lasting+i] = s.waits("operator", "key") })
	s.kill()
	last := all[lasting].Expires
	for _, w := range all[lasting:] {
		if w.Expires.After(last) {
			last = w.Expires
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), last)
	<-ctx.Done() // their deadlines pass while no server runs
	cancel()

	s = startSmall(t, program, dir)
	concurrently(t, len(all), func(i int) {
		var a struct {
			Status  string
			Expires time.Time `json:"expires_at"`
		}
		s.must(http.StatusOK, &a, "approver", http.MethodGet, s.project()+"/approvals/"+all[i].ApprovalID, "")
		if !a.Expires.Equal(all[i].Expires) || i < lasting && a.Status != "pending" {
			t.Errorf("approval %d: %+v, must expire at %s", i, a, all[i].Expires)
		}
	})
	s.refused("decided too late", 409, "not_pending")(s.decide("approver", all[lasting], "approve"))
	concurrently(t, lasting, func(i int) {
		if status, body := s.decide("approver", all[i], "approve"); status != http.StatusOK {
			t.Errorf("approval %d: %d %s", i, status, body)
		}
	})
	for _, w := range all[lasting:] {
		eventually(t, "the request to expire", func() bool { return s.status(w.RequestID) == "expired" })
	}
	var m minted
	s.must(http.StatusCreated, &m, "operator", http.MethodPost, s.project()+"/requests/"+all[7].RequestID+"/token", "{}")
	if status, _ := s.fetch(m.Token); status != http.StatusOK {
		t.Errorf("the file: %d", status)
	}
	s.auditOK()
}

// A server that is killed after the store has a transition, and before its workflow
// has it, restores the transition: the vote counts, and the next claim revokes the
// token that no caller received.
func TestKillInsideATransition(t *testing.T) {
	t.Parallel()
	program, dir := binary(t), t.TempDir()+"/data"
	s := startSmall(t, program, dir)
	s.approvals(false, "key_export", 2, 600, 600)
	w, denied, cancelled := s.waits("operator", "key"), s.waits("operator", "key"), s.waits("operator", "key")
	if status, body := s.decide("approver", w, "approve"); status != http.StatusOK {
		t.Fatalf("approve: %d %s", status, body)
	}
	s.kill()
	// The result of each crash is checked on the next server, which crashes too.
	crash := func(what string, before func(), call func() (int, []byte)) {
		s = startSmall(t, program, dir, "COUNTERSIGN_FAILPOINT=transition-stored")
		before()
		if status, body := call(); status != 0 {
			t.Fatalf("%s: the killed server answered %d %s", what, status, body)
		}
		s.awaitEnd()
	}
	crash("the last vote", func() {}, func() (int, []byte) { return s.decide("second_approver", w, "approve") })
	crash("the claim", func() {
		s.refused("who voted when the server died", 409, "already_decided")(s.decide("second_approver", w, "approve"))
	}, func() (int, []byte) { return s.claims("operator", w, "") })
	crash("a denial", func() {}, func() (int, []byte) { return s.decide("approver", denied, "deny") })
	crash("a cancellation", func() {
		s.refused("after a denial", 409, "not_pending")(s.decide("second_approver", denied, "approve"))
	}, func() (int, []byte) {
		return s.call("operator", http.MethodPost, s.project()+"/requests/"+cancelled.RequestID+"/cancel", "")
	})

	s = startSmall(t, program, dir)
	if got := s.status(cancelled.RequestID); got != "cancelled" {
		t.Errorf("the request is %s", got)
	}
	var first, second minted
	s.must(http.StatusCreated, &first, "operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/token", "{}")
	s.must(http.StatusCreated, &second, "operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/token", "{}")
	s.refused("the token before", 410, "token_revoked")(s.fetch(first.Token))
	if status, _ := s.fetch(second.Token); status != http.StatusOK {
		t.Errorf("the file: %d", status)
	}
	eventually(t, "the request to be consumed", func() bool { return s.status(w.RequestID) == "consumed" })
	s.auditOK()
}
