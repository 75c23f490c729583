//go:build cluster

package main

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
)

// settled checks, after an outage or a crash, that nothing that callers were told was
// lost, given twice or left out of the audit log, and that every request can end.
func (c *cluster) settled(l *ledger) {
	t := c.t
	t.Helper()
	for _, n := range c.nodes {
		eventually(t, "a ready node", func() bool {
			status, _ := n.call("", http.MethodGet, "/readyz", "")
			return status == http.StatusOK
		})
	}
	burned, expired := c.noneLost(l)
	requests := c.noneStuck(l)
	recorded := c.recorded(t)
	for _, p := range l.promises {
		if p.delivered > 1 {
			t.Errorf("request %s: its file was given %d times", p.requestID, p.delivered)
		}
		if p.delivered > 0 && recorded[p.requestID] != 1 {
			t.Errorf("request %s: its file was given, and the audit log has %d entries of it", p.requestID, recorded[p.requestID])
		}
	}
	for id, entries := range recorded {
		if entries > 1 {
			t.Errorf("request %s: the audit log has %d entries of its download", id, entries)
		}
	}
	entries := c.nodes[1].auditOK()
	t.Logf("%d requests, %d tokens given, %d used up by a redemption without a clear answer, %d expired before they could be tried, %d audit entries",
		requests, len(l.promises), burned, expired, entries)
}

// noneLost redeems each token that has not given its file yet. It must, unless a
// redemption before it had no clear answer: that one may have used the token up. A token
// whose life is over was lost to nobody.
func (c *cluster) noneLost(l *ledger) (burned, expired int) {
	t := c.t
	t.Helper()
	for i, p := range l.promises {
		if p.delivered > 0 {
			continue
		}
		status, body := c.nodes[i%len(c.nodes)].fetch(p.token)
		switch {
		case status == http.StatusOK:
			p.delivered++
		case status == http.StatusGone && problem(body).Code == "token_consumed" && p.unclear > 0:
			burned++
		case status == http.StatusGone && problem(body).Code == "token_expired" && time.Now().After(p.expires):
			expired++
		default:
			t.Errorf("request %s: its token is lost: %d %s", p.requestID, status, problem(body).Code)
		}
	}
	return burned, expired
}

// endStates are the states in which a request stays.
var endStates = []string{"consumed", "denied", "expired", "cancelled", "revoked"}

// noneStuck takes every request to its end: those that wait are approved and claimed,
// and tokens that nobody received are revoked or claimed again.
func (c *cluster) noneStuck(l *ledger) int {
	t := c.t
	t.Helper()
	known := map[string]bool{}
	for _, p := range l.promises {
		known[p.requestID] = true
	}
	requests := c.requests()
	for _, id := range l.accepted {
		if !slices.ContainsFunc(requests, func(r wire.Request) bool { return r.ID == id }) {
			t.Errorf("request %s was accepted, and is not there", id)
		}
	}
	for i, r := range requests {
		if !known[r.ID] {
			c.finish(l, c.nodes[i%len(c.nodes)], r)
		}
	}
	// A redemption that was interrupted is completed when its token's life is over.
	over := time.Now().Add(time.Duration(tokenLife()) * time.Second / 2)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("these requests have not ended: %+v", c.open())
		}
	})
	eventually(t, "half of a token's life", func() bool { return time.Now().After(over) || len(c.open()) == 0 })
	eventually(t, "an end of every request", func() bool {
		open := c.open()
		for i, r := range open {
			if r.Status == "approved" { // its token's life was over before it was tried, so it can be claimed again
				c.finish(l, c.nodes[i%len(c.nodes)], r)
			}
		}
		return len(open) == 0
	})
	return len(requests)
}

// open are the requests that have not ended.
func (c *cluster) open() []wire.Request {
	c.t.Helper()
	return slices.DeleteFunc(c.requests(), func(r wire.Request) bool { return slices.Contains(endStates, r.Status) })
}

// finish takes a request whose token no caller has to its end.
func (c *cluster) finish(l *ledger, n *node, r wire.Request) {
	t := c.t
	t.Helper()
	switch r.Status {
	case "pending_approval":
		if status, body := n.vote(r.ApprovalID); status != http.StatusOK {
			t.Errorf("request %s, %s: a vote is answered %d %s", r.ID, r.Status, status, body)
		}
	case "approved":
	case "issued":
		if r.ApprovalID != "" {
			break // the claim's answer was lost; it can be claimed again
		}
		// The token may have expired since its request was read.
		if status, body := n.call("operator", http.MethodDelete, n.project()+"/requests/"+r.ID+"/token", ""); status != http.StatusNoContent && problem(body).Code != "not_pending" {
			t.Errorf("request %s, %s: revoking its token is answered %d %s", r.ID, r.Status, status, body)
		}
		return
	default:
		return
	}
	status, body := n.claim(r.ID)
	if status != http.StatusCreated {
		t.Errorf("request %s, %s: a claim is answered %d %s", r.ID, r.Status, status, body)
		return
	}
	p := l.promised(decoded[minted](t, body))
	if status, body = n.fetch(p.token); status != http.StatusOK {
		t.Errorf("request %s: its claimed token is answered %d %s", r.ID, status, body)
		return
	}
	p.delivered++
}

// requests are all of the project.
func (c *cluster) requests() (all []wire.Request) {
	c.t.Helper()
	n := c.nodes[0]
	for cursor := ""; ; {
		var page struct {
			Items      []wire.Request
			NextCursor *string `json:"next_cursor"`
		}
		n.must(http.StatusOK, &page, "admin", http.MethodGet, n.project()+"/requests?limit=200&cursor="+cursor, "")
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			return all
		}
		cursor = *page.NextCursor
	}
}

// recorded counts the audit entries of downloads by request.
func (c *cluster) recorded(t *testing.T) map[string]int {
	t.Helper()
	n := c.nodes[0]
	status, text := n.call("admin", http.MethodGet, n.project()+"/audit-logs?action=cert.downloaded&format=ndjson", "")
	if status != http.StatusOK {
		t.Fatalf("export of the audit log: %d %s", status, text)
	}
	count := map[string]int{}
	for line := range bytes.Lines(text) {
		count[decoded[struct {
			RequestID string `json:"request_id"`
		}](t, line).RequestID]++
	}
	return count
}
