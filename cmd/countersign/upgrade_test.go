package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"testing"
)

// An installation is upgraded from the release before, and goes back by one: what each
// version has promised, the other one keeps, and what has ended stays as it was.
func TestUpgradeAndBack(t *testing.T) {
	t.Parallel()
	old, base := before(t), t.TempDir()
	data := filepath.Join(base, "data")
	s := startSmall(t, old, data)
	first := s.everyState()
	h := s.history()
	s.verified()
	s.stop()

	s = startSmall(t, binary(t), data)
	now := s.history()
	h.isIn(t, now, within)
	s.keeps(first, 0)
	second := s.everyState()
	s.auditOK()
	h = s.history()
	s.stop()

	s = startSmall(t, old, data)
	h.isIn(t, s.history(), func(newer, older any) bool { return within(older, newer) })
	s.keeps(first, 1)
	s.keeps(second, 0)
	third := s.everyState()
	s.verified()
	h = s.history()
	s.stop()

	s = startSmall(t, binary(t), data)
	h.isIn(t, s.history(), within)
	s.keeps(second, 1)
	s.keeps(third, 0)
	s.auditOK()
}

// lot is requests of every state. What has not ended is there twice.
type lot struct {
	pending  []waiting // without a vote
	voted    []waiting // with one of the two votes that it needs
	approved []waiting
	live     []minted
	claimed  []minted
	ended    map[string]ended // by request
}

// ended is how a request ended, its token if it had one, and the code by which that is
// refused.
type ended struct{ status, token, code string }

// everyState makes requests of every state, and waits until those that end have ended.
func (s *server) everyState() lot {
	t := s.t
	t.Helper()
	l := lot{ended: map[string]ended{}}
	s.approvals(true, "key_export", 2, 1, 3600)
	l.ended[s.waits("operator", "key").RequestID] = ended{status: "expired"}
	s.approvals(true, "key_export", 2, 3600, 3600)
	for range 2 {
		l.pending = append(l.pending, s.waits("operator", "key"))
		voted, approved, claimed := s.waits("operator", "key"), s.waits("operator", "key"), s.waits("operator", "key")
		s.refused("a vote", http.StatusOK, "")(s.decide("approver", voted, "approve"))
		s.approves(approved)
		s.approves(claimed)
		var m minted
		s.must(http.StatusCreated, &m, "operator", http.MethodPost, s.project()+"/requests/"+claimed.RequestID+"/token", "{}")
		l.voted, l.approved, l.claimed = append(l.voted, voted), append(l.approved, approved), append(l.claimed, m)
		l.live = append(l.live, s.mint(0, "fullchain"))
	}
	used, revoked, late := s.mint(0, "fullchain"), s.mint(0, "fullchain"), s.mint(0, "fullchain", `,"ttl_seconds":1`)
	s.once("a token", used.Token)
	s.must(http.StatusNoContent, nil, "operator", http.MethodDelete, s.project()+"/requests/"+revoked.RequestID+"/token", "")
	denied, cancelled := s.waits("operator", "key"), s.waits("operator", "key")
	s.refused("deny", http.StatusOK, "")(s.decide("approver", denied, "deny"))
	s.must(http.StatusOK, nil, "operator", http.MethodPost, s.project()+"/requests/"+cancelled.RequestID+"/cancel", "{}")
	l.ended[used.RequestID] = ended{"consumed", used.Token, "token_consumed"}
	l.ended[revoked.RequestID] = ended{"revoked", revoked.Token, "token_revoked"}
	l.ended[late.RequestID] = ended{"expired", late.Token, "token_expired"}
	l.ended[denied.RequestID] = ended{status: "denied"}
	l.ended[cancelled.RequestID] = ended{status: "cancelled"}
	s.areEnded(l.ended)
	return l
}

// approves gives a request the votes that it needs and lacks.
func (s *server) approves(w waiting) {
	s.t.Helper()
	for _, approver := range []string{"approver", "second_approver"} {
		if status, body := s.decide(approver, w, "approve"); status != http.StatusOK && problem(body).Code != "already_decided" {
			s.t.Errorf("a vote on the request %s: %d %s", w.RequestID, status, body)
		}
	}
}

// areEnded waits until requests have ended as they must.
func (s *server) areEnded(requests map[string]ended) {
	s.t.Helper()
	for id, e := range requests {
		eventually(s.t, "the end of a request: "+e.status, func() bool { return s.status(id) == e.status })
	}
}

// stayEnded checks that requests are as they ended, and their tokens refused.
func (s *server) stayEnded(requests map[string]ended) {
	s.t.Helper()
	for id, e := range requests {
		if status := s.status(id); status != e.status {
			s.t.Errorf("a request that was %s is %s", e.status, status)
		}
		if e.token != "" {
			s.refused("a token that was "+e.status, http.StatusGone, e.code)(s.fetch(e.token))
		}
	}
}

// keeps checks all that a version has promised by a lot, and uses the i-th of what has not
// ended.
func (s *server) keeps(l lot, i int) {
	s.t.Helper()
	s.stayEnded(l.ended)
	now := map[string]ended{}
	for _, w := range []waiting{l.pending[i], l.voted[i], l.approved[i]} {
		if w != l.approved[i] {
			s.approves(w)
		}
		s.claimsAndFetches(w)
		now[w.RequestID] = ended{status: "consumed"}
	}
	for _, m := range []minted{l.live[i], l.claimed[i]} {
		s.once("a live token of the other version", m.Token)
		now[m.RequestID] = ended{status: "consumed"}
	}
	s.areEnded(now)
}

// history is what an installation says of its past: documents by their address and id.
type history map[string]any

// history reads everything that the project has of its past.
func (s *server) history() history {
	t := s.t
	t.Helper()
	h := history{}
	for _, list := range []string{"/requests", "/approvals", "/certificates", "/certificates/" + s.boot.Certificates[0].ID + "/events", "/members"} {
		for cursor, more := "", true; more; more = cursor != "" {
			var page struct {
				Items      []map[string]any
				NextCursor string `json:"next_cursor"`
			}
			s.must(http.StatusOK, &page, "admin", http.MethodGet, s.project()+list+"?limit=100&cursor="+cursor, "")
			if len(page.Items) == 0 {
				t.Errorf("%s is empty", list)
			}
			for _, item := range page.Items {
				h[fmt.Sprint(list, " ", item["id"], item["user_id"])] = item
			}
			cursor = page.NextCursor
		}
	}
	status, text := s.call("admin", http.MethodGet, s.project()+"/audit-logs?format=ndjson", "")
	if status != http.StatusOK || len(text) == 0 {
		t.Fatalf("export of the audit log: %d %s", status, text)
	}
	for line := range bytes.Lines(text) {
		var entry map[string]any
		noError(t, json.Unmarshal(line, &entry))
		h[fmt.Sprint("audit ", entry["seq"])] = entry
	}
	return h
}

// isIn checks that a later history has everything of this one, as it was.
func (h history) isIn(t *testing.T, later history, same func(before, after any) bool) {
	t.Helper()
	for name, was := range h {
		if is := later[name]; !same(was, is) {
			t.Errorf("%s was %v\nand is %v", name, was, is)
		}
	}
}

// within reports whether a newer version says all that an older one says of a document.
// It may say more.
func within(older, newer any) bool {
	switch o := older.(type) {
	case map[string]any:
		n, _ := newer.(map[string]any)
		for member, value := range o {
			if !within(value, n[member]) {
				return false
			}
		}
		return n != nil
	case []any:
		n, ok := newer.([]any)
		for i := range o {
			ok = ok && i < len(n) && within(o[i], n[i])
		}
		return ok
	}
	return reflect.DeepEqual(older, newer)
}
