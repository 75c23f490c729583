package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// fetchers redeem one token at once and count the answers by status and code.
func fetchers(s *server, n int, token string) map[string]int {
	answers := make(chan string, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			status, body := s.fetch(token)
			answers <- fmt.Sprint(status, " ", problem(body).Code)
		})
	}
	wg.Wait()
	close(answers)
	count := map[string]int{}
	for a := range answers {
		count[a]++
	}
	return count
}

// subjectRefusals are the refusals of one token that are always in the audit log.
const subjectRefusals = 20

func TestOneOfManyCallersGetsTheFile(t *testing.T) {
	t.Parallel()
	s := project(t)
	const callers = 64
	tokens := times(20, 200)
	for range tokens {
		got := fetchers(s, callers, s.mint(0, "fullchain").Token)
		if got["200 "] != 1 || got["410 token_consumed"] != callers-1 {
			t.Fatalf("%d callers, one token: %v", callers, got)
		}
	}
	if n := s.auditOK(); n < 2*tokens+subjectRefusals {
		t.Errorf("%d audit entries for %d requests, their downloads, and some of the other calls' refusals", n, tokens)
	}
}

func TestRevocationRacesRedemption(t *testing.T) {
	t.Parallel()
	s := project(t)
	outcomes := map[string]int{}
	for range times(20, 200) {
		m := s.mint(0, "fullchain")
		revoked := make(chan int, 1)
		go func() {
			status, _ := s.call("operator", http.MethodDelete, s.project()+"/requests/"+m.RequestID+"/token", "")
			revoked <- status
		}()
		got := fetchers(s, 16, m.Token)
		want := "consumed"
		switch status := <-revoked; {
		case status == http.StatusNoContent && got["200 "] == 0 && got["410 token_revoked"] == 16:
			want = "revoked"
		case status == http.StatusConflict && got["200 "] == 1 && got["410 token_consumed"] == 15:
		default:
			t.Fatalf("revocation answered %d, redemption %v", status, got)
		}
		eventually(t, "the request to be "+want, func() bool { return s.status(m.RequestID) == want })
		outcomes[want]++
	}
	t.Logf("who came first: %v", outcomes)
	s.auditOK()
}

func TestExpiryRacesRedemption(t *testing.T) {
	t.Parallel()
	s := project(t)
	var wg sync.WaitGroup
	for i := range 32 {
		m := s.mint(0, "fullchain", `,"ttl_seconds":1`)
		wg.Go(func() {
			// Around the end of the token's life, each a few milliseconds apart.
			<-time.After(time.Until(m.ExpiresAt) + time.Duration(i-16)*3*time.Millisecond)
			got := fetchers(s, 4, m.Token)
			want := "expired"
			switch {
			case got["200 "] == 0 && got["410 token_expired"] == 4:
			case got["200 "] == 1 && got["410 token_consumed"]+got["410 token_expired"] == 3:
				want = "consumed"
			default:
				t.Errorf("around expiry: %v", got)
			}
			eventually(t, "the request to be "+want, func() bool { return s.status(m.RequestID) == want })
		})
	}
	wg.Wait()
	s.auditOK()
}

func TestReadsConsumeNothing(t *testing.T) {
	t.Parallel()
	s := project(t)
	m := s.mint(0, "fullchain")
	path := "/api/v1/downloads/" + m.Token
	for range 3 {
		if status, body := s.call("", http.MethodHead, path, ""); status != http.StatusOK || len(body) != 0 {
			t.Errorf("HEAD: %d with %d bytes", status, len(body))
		}
	}
	for _, header := range [][2]string{
		{"Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"},
		{"User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
		{"User-Agent", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"},
		{"User-Agent", "facebookexternalhit/1.1"}, {"User-Agent", "Twitterbot/1.0"}, {"User-Agent", "LinkedInBot/1.0"},
		{"User-Agent", "WhatsApp/2.23.20.0"}, {"User-Agent", "TelegramBot (like TwitterBot)"},
		{"User-Agent", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5"},
	} {
		if status, body := s.call("", http.MethodGet, path, "", header[0], header[1]); status != http.StatusForbidden || problem(body).Code != "prefetch_refused" {
			t.Errorf("%s: %s: %d %s", header[0], header[1], status, body)
		}
	}
	if status, _ := s.fetch(m.Token); status != http.StatusOK {
		t.Errorf("after looks and previews the download answers %d", status)
	}
	if status, body := s.fetch(m.Token); status != http.StatusGone || problem(body).Title != "token already used" {
		t.Errorf("the second download: %d %s", status, body)
	}
}
