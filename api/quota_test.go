package api_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// counted are the entries of an action, and the refusals that they stand for.
func (f *fixture) counted(chain, action string) (entries, refusals int) {
	for _, e := range f.entries(chain, action) {
		left, err := strconv.Atoi(e.Detail["left_out_before"])
		if err != nil {
			left = 0
		}
		entries, refusals = entries+1, refusals+1+left
	}
	return entries, refusals
}

// Whoever is refused again and again does not fill the audit log. What was left out
// is counted there, and other refusals are written meanwhile.
func TestFloodsOfRefusalsAreBounded(t *testing.T) {
	f := newFixture(t)
	f.freeze()
	dead := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+dead.Token.Reveal(), "").is(200)
	preview := f.mint("operator", "shop", `{"format":"cert"}`)
	f.withPassword("operator")
	for name, c := range map[string]struct {
		chain, action string
		refuse        func()
	}{
		"a dead token":                   {f.project.ID, engine.ActionDownloadRefused, func() { f.do("", "GET", "/downloads/"+dead.Token.Reveal(), "").is(410) }},
		"a live token":                   {f.project.ID, engine.ActionDownloadRefused, func() { f.do("", "GET", "/downloads/"+preview.Token.Reveal(), "", "Purpose", "prefetch").is(403) }},
		"a missing role":                 {f.project.ID, engine.ActionAccessRefused, func() { f.do("viewer", "GET", "{p}/audit-logs", "").is(403) }},
		"a system administrator's right": {engine.SystemChain, engine.ActionAccessRefused, func() { f.do("admin", "GET", "/users", "").is(403) }},
	} {
		before, refusedBefore := f.counted(c.chain, c.action)
		for range 400 {
			c.refuse()
		}
		entries, _ := f.counted(c.chain, c.action)
		f.downloads.Refusals.RecordOmitted(t.Context())
		_, refused := f.counted(c.chain, c.action)
		if n := entries - before; n != 20 || refused-refusedBefore != 400 {
			t.Errorf("%s: %d entries for 400 refusals, which stand for %d", name, n, refused-refusedBefore)
		}
	}
}

// One person's mints are bounded by what they have at a time, not by their rate.
func TestMintsAreBoundedByWhatAPersonHas(t *testing.T) {
	f := newFixture(t, func(f *fixture, _ *api.Options) {
		f.downloads.Limits = engine.MintLimits{LiveTokens: 3, WaitingRequests: 2}
	})
	var last wire.Minted
	for range 3 {
		last = f.mint("operator", "shop", `{"format":"cert"}`)
	}
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert"}`).problem(429, engine.CodeRateLimited)
	f.mint("second", "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+last.Token.Reveal(), "").is(200)
	_, err := f.workflows.transitions.RecordSettlement(t.Context(), engine.SettlementCheck{ProjectID: f.project.ID, RequestID: last.RequestID, Report: f.reported()})
	must(t, err)
	f.mint("operator", "shop", `{"format":"cert"}`)

	f.mode(false, engine.ApprovalAll)
	p := f.waits("second", `{"format":"cert"}`)
	f.waits("second", `{"format":"cert"}`)
	a := f.do("second", "POST", "{c:shop}/downloads", `{"format":"cert"}`)
	if p := a.problem(429, engine.CodeRateLimited); !strings.Contains(p.Detail, "2 of your requests wait") || a.header.Get("Retry-After") == "" {
		t.Errorf("%+v", p)
	}
	f.do("second", "POST", "{p}/requests/"+p.RequestID+"/cancel", "{}").is(200)
	f.waits("second", `{"format":"cert"}`)
}

// Requests that the policy denies leave something too.
func TestDeniedMintsAreLimited(t *testing.T) {
	f := newFixture(t)
	f.freeze()
	for range 100 {
		f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).problem(403, engine.CodeKeyExportDisabled)
	}
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).problem(429, engine.CodeRateLimited)
	f.do("second", "POST", "{c:shop}/downloads", `{"format":"key"}`).problem(403, engine.CodeKeyExportDisabled)
	f.skew.Store(int64(3 * time.Second))
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).problem(403, engine.CodeKeyExportDisabled)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).problem(429, engine.CodeRateLimited)
}

// Guesses of one account from many addresses are limited together, and do not lock
// out who signed in from elsewhere before; invalid API keys are counted apart.
func TestFailedLoginsOfAnAccountAreLimited(t *testing.T) {
	f := newFixture(t, func(f *fixture, o *api.Options) {
		o.TrustedProxies = []string{"127.0.0.0/8"}
		f.freeze()
	})
	const home = "192.0.2.1"
	signIn := func(from, password string) answer {
		return f.do("", "POST", "/session", credentials("operator", password), "X-Forwarded-For", from)
	}
	f.withPassword("operator")
	signIn(home, goodPassword).is(200)
	for range 61 {
		f.do("Bearer csk_wrong", "GET", "/me", "", "X-Forwarded-For", home)
	}
	f.do("Bearer csk_wrong", "GET", "/me", "", "X-Forwarded-For", home).problem(429, engine.CodeRateLimited)
	signIn(home, goodPassword).is(200)
	for i := range 100 {
		signIn(fmt.Sprintf("198.51.100.%d", i), "a wrong password").problem(401, engine.CodeUnauthenticated)
	}
	signIn("203.0.113.1", "a wrong password").problem(429, engine.CodeRateLimited)
	signIn(home, goodPassword).is(200)
	f.withPassword("viewer")
	f.do("", "POST", "/session", credentials("viewer", goodPassword), "X-Forwarded-For", "203.0.113.1").is(200)

	f.do("", "POST", "/session", credentials(`no\n\u202ebody`, "x"), "X-Forwarded-For", "203.0.113.2").problem(401, engine.CodeUnauthenticated)
	if e := f.entries(engine.SystemChain, engine.ActionLoginFailed)[0]; e.Detail["username"] != `no\n\u202ebody` || e.IP != "203.0.113.2" {
		t.Errorf("%+v", e)
	}
}

// A person's PKCS#12 files are read one at a time: each can cost a second of a
// processor.
func TestImportsOfAPersonAreReadOneAtATime(t *testing.T) {
	reading, proceed := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(_ *fixture, o *api.Options) {
		read := o.ImportPKCS12
		o.ImportPKCS12 = func(file []byte, passphrase engine.Secret) (engine.Bundle, error) {
			reading <- struct{}{}
			<-proceed
			return read(file, passphrase)
		}
	})
	const file = `{"name":"x","pkcs12_base64":"MAA=","passphrase":"x"}`
	var first sync.WaitGroup
	first.Go(func() { f.do("admin", "POST", "{p}/certificates", file).is(422) })
	<-reading
	f.do("admin", "POST", "{p}/certificates", file).problem(429, engine.CodeRateLimited)
	f.do("admin", "POST", "{p}/certificates", `{"name":"x","certificate_pem":"x"}`).is(422)
	first.Go(func() { f.do("root", "POST", "{p}/certificates", file).is(422) })
	<-reading
	close(proceed)
	first.Wait()
	go func() { <-reading }()
	f.do("admin", "POST", "{p}/certificates", file).is(422)
}
