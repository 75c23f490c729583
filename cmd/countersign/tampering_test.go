package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// used fills the store of a server through its API: every table gets documents, and
// requests and tokens of every end.
func (s *server) used() {
	s.t.Helper()
	s.approvals(true, "off", 1, 60, 60)
	consumed, revoked := s.mint(0, "pkcs12"), s.mint(0, "key")
	if status, body := s.fetch(consumed.Token); status != http.StatusOK {
		s.t.Fatalf("download: %d %s", status, body)
	}
	s.must(http.StatusNoContent, nil, "operator", http.MethodDelete, s.project()+"/requests/"+revoked.RequestID+"/token", "")
	expired := s.mint(0, "fullchain", `,"ttl_seconds":1`)
	s.mint(0, "fullchain") // it stays issued
	s.approvals(true, "all", 1, 600, 600)
	approved, denied, pending := s.waits("operator", "key"), s.waits("operator", "key"), s.waits("operator", "key")
	s.refused("approve", http.StatusOK, "")(s.decide("approver", approved, "approve"))
	s.refused("deny", http.StatusOK, "")(s.decide("approver", denied, "deny"))
	s.refused("claim", http.StatusCreated, "")(s.claims("operator", approved, ""))
	s.must(http.StatusCreated, nil, "admin", http.MethodPost, s.project()+"/notification-targets",
		`{"name":"chat","url":"https://127.0.0.1:1/hook","events":["approval.requested"]}`)
	s.must(http.StatusNoContent, nil, "admin", http.MethodDelete, s.project()+"/members/"+s.person("viewer"), "")
	if status, body := s.call("", http.MethodPost, "/api/v1/session", object("username", s.boot.UI.Username, "password", s.boot.UI.Password)); status >= 300 {
		s.t.Fatalf("sign in: %d %s", status, body)
	}
	for request, status := range map[string]string{
		consumed.RequestID: "consumed", revoked.RequestID: "revoked", expired.RequestID: "expired",
		approved.RequestID: "issued", denied.RequestID: "denied", pending.RequestID: "pending_approval",
	} {
		eventually(s.t, "the request to be "+status, func() bool { return s.status(request) == status })
	}
}

// verification finds out what the verification of all chains says of a store, given the
// heads of two of them that were noted before.
type verification struct {
	t       *testing.T
	store   engine.Store
	by      engine.Verifier
	anchors map[string]engine.AuditHead // by chain
}

// verification notes the heads of the chains, which must agree with the documents.
func (s *server) verification(store engine.Store, key []byte) *verification {
	s.t.Helper()
	v := &verification{s.t, store, engine.Verifier{Store: store, Key: key, Ages: engine.RetentionAges{Tokens: 720 * time.Hour}, Clock: engine.SystemClock}, map[string]engine.AuditHead{}}
	for _, chain := range []string{s.boot.ProjectID, engine.SystemChain} {
		found, err := v.by.Verify(s.t.Context(), chain, engine.AuditHead{})
		noError(s.t, err)
		v.anchors[chain] = found.Head
	}
	if said := v.said(); said != "" {
		s.t.Fatalf("an untouched store: %s", said)
	}
	return v
}

// said is what the verification of all chains says, or "".
func (v *verification) said() string {
	v.t.Helper()
	chains := []string{engine.SystemChain}
	projects, _, err := v.store.Projects(v.t.Context(), "", engine.Page{Limit: 100})
	for _, p := range projects {
		chains = append(chains, p.ID)
	}
	if err != nil {
		return fmt.Sprint("the projects cannot be listed: ", err)
	}
	for chain := range v.anchors {
		if !slices.Contains(chains, chain) {
			chains = append(chains, chain)
		}
	}
	for _, chain := range chains {
		found, err := v.by.Verify(v.t.Context(), chain, v.anchors[chain])
		for _, d := range found.Disagreements {
			return d.Document + ": " + d.Problem
		}
		switch {
		case err != nil:
			return fmt.Sprint("the verification fails: ", err)
		case !found.OK:
			return "chain: " + found.Problem
		}
	}
	return ""
}

// unfound are changes that no verification finds, with the reason.
type unfound []struct {
	reason  string
	changes []string
}

// unfoundAnywhere are those that are found in neither store.
var unfoundAnywhere = unfound{
	{"no entry has the digest of a session: it has a MAC of its own, without which it opens nothing", []string{
		"sessions.address: member", "sessions.created_at: member", "sessions.epoch: member", "sessions.expires_at: member",
		"sessions.mac: member", "sessions.seen_at: member", "sessions.user_id: member", "sessions: deletion", "sessions: insertion",
	}},
	{"only the newest version of a policy decides, and only it is compared", []string{
		"certificate_policies (replaced).allow_key_export: member", "certificate_policies (replaced).allow_legacy_encryption: member",
		"certificate_policies (replaced).approval: member", "certificate_policies (replaced).min_passphrase_length: member",
		"certificate_policies (replaced).token_ttl_seconds: member",
		"certificate_policies (replaced).updated_at: member", "certificate_policies (replaced).updated_by: member",
		"certificate_policies (replaced): deletion",
	}},
	{"a key that was changed does not open, so the server does not start; one that was deleted is made again, and under it no chain verifies; another one is not read", []string{
		"data_keys.ciphertext: member", "data_keys.keeper_id: member", "data_keys.wrapped_key: member", "data_keys: deletion", "data_keys: insertion",
	}},
	{"the digest of a request with a token leaves out what the token's end changes; the token's own documents decide who gets the file", []string{
		"download_requests.status: member, consumed to issued",
		"download_requests.status: member, expired to approved", "download_requests.status: member, expired to denied",
		"download_requests.status: member, expired to issued", "download_requests.status: member, expired to pending_approval",
		"download_requests.status: member, expired to revoked",
		"download_requests.status: member, issued to approved", "download_requests.status: member, issued to denied",
		"download_requests.status: member, issued to expired", "download_requests.status: member, issued to pending_approval",
		"download_requests.status: member, issued to revoked",
		"download_requests.status: member, revoked to approved", "download_requests.status: member, revoked to denied",
		"download_requests.status: member, revoked to expired", "download_requests.status: member, revoked to issued",
		"download_requests.status: member, revoked to pending_approval",
		"download_requests.updated_at: member", "download_requests.version: member",
	}},
	{"the digest of a member leaves out the times", []string{"members.created_at: member", "members.former_until: member"}},
}

// findings are what was said of each kind of change, such as "users.epoch: member".
// A change that was tried on several rows is found if it was found on each.
type findings map[string]string

const nothing = "NOT FOUND"

func (f findings) add(key, said string) {
	if said == "" {
		said = nothing
	}
	if f[key] != nothing {
		f[key] = said
	}
}

// report prints the table, and fails the test if what is not found is not what the test
// lists.
func (f findings) report(t *testing.T, lists ...unfound) {
	t.Helper()
	unfound := map[string]string{}
	for _, list := range slices.Concat(lists...) {
		for _, change := range list.changes {
			unfound[change] = list.reason
		}
	}
	table := &strings.Builder{}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		said := f[key]
		if said == nothing && unfound[key] != "" {
			said += " (" + unfound[key] + ")"
		}
		fmt.Fprintf(table, "%-60s | %.140s\n", key, said)
		if listed := unfound[key] != ""; listed != (f[key] == nothing) {
			t.Errorf("%s: listed is %v, and the verification says: %s", key, listed, f[key])
		}
	}
	for key := range unfound {
		if f[key] == "" {
			t.Errorf("%s is listed and was not tried", key)
		}
	}
	t.Logf("what a verification says of each change:\n%s", table)
}

// memberChange names the change of a member. A status is changed into each other one.
func memberChange(table, member string, from, to any) string {
	if member == "status" {
		return fmt.Sprintf("%s.%s: member, %v to %v", table, member, from, to)
	}
	return table + "." + member + ": member"
}

// altered returns other plausible values of a member, or none if it has none to change.
func altered(member string, value any) []any {
	switch value := value.(type) {
	case string:
		if at, err := time.Parse(time.RFC3339Nano, value); err == nil {
			return []any{at.Add(-time.Minute).Format(time.RFC3339Nano)}
		}
		if member == "status" {
			return slices.DeleteFunc([]any{"pending_approval", "approved", "issued", "consumed", "denied", "expired", "revoked"}, func(other any) bool { return other == value })
		}
		if value == "" {
			return []any{"a"}
		}
		first := "a"
		if value[0] == 'a' {
			first = "b"
		}
		return []any{first + value[1:]}
	case json.Number:
		n, err := value.Int64()
		if err == nil {
			return []any{n + 1}
		}
	case bool:
		return []any{!value}
	case []any:
		if len(value) > 0 {
			return []any{value[1:]}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if others := altered(name, value[name]); others != nil {
				changed := maps.Clone(value)
				changed[name] = others[0]
				return []any{changed}
			}
		}
	}
	return nil
}
