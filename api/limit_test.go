package api_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
)

func unknownToken(i int) string { return fmt.Sprintf("%043d", i) }

func TestUnknownTokensAreLimited(t *testing.T) {
	f := newFixture(t, func(f *fixture, o *api.Options) {
		o.UnknownTokensPerMinute = 6
		f.freeze()
	})
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	for i := range 6 {
		switch i % 3 {
		case 0:
			f.do("", "GET", "/downloads/"+unknownToken(i), "").problem(404, engine.CodeTokenUnknown)
		case 1:
			f.do("", "POST", "/downloads", `{"token":"guess"}`).problem(404, engine.CodeTokenUnknown)
		default:
			f.do("", "HEAD", "/downloads/"+unknownToken(i), "").is(404)
		}
	}
	if n := len(f.entries(engine.SystemChain, engine.ActionDownloadRefused)); n != 6 {
		t.Fatalf("%d entries", n)
	}
	for _, guess := range []string{unknownToken(7), "guess"} {
		a := f.do("", "GET", "/downloads/"+guess, "")
		a.problem(429, engine.CodeRateLimited)
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds != 10 {
			t.Fatalf("Retry-After %q", a.header.Get("Retry-After"))
		}
	}
	if n := len(f.entries(engine.SystemChain, engine.ActionDownloadRefused)); n != 6 {
		t.Fatalf("limited attempts are in the audit log: %d entries", n)
	}
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200) // one that exists still works
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").problem(410, engine.CodeTokenConsumed)
	f.skew.Store(int64(10 * time.Second))
	f.do("", "GET", "/downloads/"+unknownToken(8), "").problem(404, engine.CodeTokenUnknown)
	f.do("", "GET", "/downloads/"+unknownToken(9), "").problem(429, engine.CodeRateLimited)
}

// The default is a minute's worth of 60, from each address for itself.
func TestLimitIsPerAddress(t *testing.T) {
	f := newFixture(t, func(f *fixture, o *api.Options) {
		o.TrustedProxies = []string{"127.0.0.0/8"}
		f.freeze()
	})
	try := func(from string, n int) int {
		refused := 0
		for i := range n {
			if f.do("", "GET", "/downloads/"+unknownToken(i), "", "X-Forwarded-For", from).status == 429 {
				refused++
			}
		}
		return refused
	}
	if n := try("192.0.2.1", 61); n != 1 {
		t.Fatalf("%d of 61 were refused", n)
	}
	if n := try("192.0.2.2", 1); n != 0 {
		t.Fatal("another address is limited with it")
	}
	if n := try("2001:db8::1", 40) + try("2001:db8::2", 20) + try("2001:db8:0:0:ffff::1", 1); n != 1 {
		t.Fatalf("%d were refused: a /64 counts as one", n)
	}
	if n := try("2001:db8:0:1::1", 1); n != 0 {
		t.Fatal("another /64 is limited with it")
	}
}

// A token bound to an address is not opened by a header.
func TestBoundToken(t *testing.T) {
	f := newFixture(t, func(_ *fixture, o *api.Options) { o.TrustedProxies = []string{"127.0.0.1"} })
	m := f.mint("operator", "shop", `{"format":"cert","bind_ip":"192.0.2.9"}`)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "", "X-Forwarded-For", "192.0.2.9, 192.0.2.1").problem(403, engine.CodeIPMismatch)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "", "X-Forwarded-For", "192.0.2.9").is(200)
}

func TestBadOptions(t *testing.T) {
	f := newFixture(t)
	for _, change := range []func(*api.Options){
		func(o *api.Options) { o.TrustedProxies = []string{"proxy.example"} },
		func(o *api.Options) { o.PublicURL = "sign.example.com" },
		func(o *api.Options) { o.PublicURL = "ftp://sign.example.com" },
		func(o *api.Options) { o.PublicURL = "https://user:pw@sign.example.com" },
		func(o *api.Options) { o.Registry = f.registry }, // taken by the fixture's server
	} {
		o := f.options()
		change(&o)
		if _, err := api.New(o); err == nil || strings.Contains(err.Error(), "user:pw") {
			t.Errorf("%+v: %v", o.PublicURL, err)
		}
	}
}
