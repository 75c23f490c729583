package api_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

func TestDownload(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ certificate, body, name, mediaType string }{
		{"shop", `{"format":"cert"}`, "cert.pem", "application/x-pem-file"},
		{"shop", `{"format":"chain"}`, "chain.pem", "application/x-pem-file"},
		{"shop", `{"format":"fullchain"}`, "fullchain.pem", "application/x-pem-file"},
		{"shop", `{"format":"key"}`, "key.pem", "application/x-pem-file"},
		{"shop", `{"format":"pkcs12","passphrase":"correct horse"}`, "bundle.pkcs12", "application/x-pkcs12"},
		{"shop", `{"format":"zip","passphrase":"correct horse"}`, "bundle.zip", "application/zip"},
	} {
		f.allowKeys(true)
		m := f.mint("operator", c.certificate, c.body)
		head := f.do("", "HEAD", "/downloads/"+m.Token.Reveal(), "").is(200)
		got := f.do("", "GET", "/downloads/"+m.Token.Reveal(), "", "Range", "bytes=0-3").is(200)
		sum := sha256.Sum256(got.body)
		for name, want := range map[string]string{
			"Content-Type":           c.mediaType,
			"Content-Disposition":    fmt.Sprintf(`attachment; filename="%s"; filename*=UTF-8''%s`, c.name, c.name),
			"Cache-Control":          "no-store",
			"X-Content-Type-Options": "nosniff",
			"Referrer-Policy":        "no-referrer",
			"Accept-Ranges":          "",
			"Server":                 "",
		} {
			if got.header.Get(name) != want || head.header.Get(name) != want {
				t.Errorf("%s: %s is %q, and %q to HEAD; want %q", c.name, name, got.header.Get(name), head.header.Get(name), want)
			}
		}
		if got.header.Get("Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" || head.header.Get("Repr-Digest") != "" {
			t.Errorf("%s: digest %q, to HEAD %q", c.name, got.header.Get("Repr-Digest"), head.header.Get("Repr-Digest"))
		}
		if got.header.Get("Content-Length") != strconv.Itoa(len(got.body)) || head.header.Get("Content-Length") != "" || len(got.body) < 100 {
			t.Errorf("%s: length %q, to HEAD %q, of %d bytes", c.name, got.header.Get("Content-Length"), head.header.Get("Content-Length"), len(got.body))
		}
		if r := f.reported(); r.RequestID != m.RequestID || r.Interrupted {
			t.Errorf("%s: reported %+v", c.name, r)
		}
		p := f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").problem(410, engine.CodeTokenConsumed)
		if p.Title != "token already used" {
			t.Errorf("title %q", p.Title)
		}
	}
}

func TestDownloadByPost(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	body := `{"token":"` + m.Token.Reveal() + `"}`
	got := f.do("", "POST", "/downloads", body, "Content-Type", "application/x-www-form-urlencoded").is(200)
	if !strings.HasPrefix(string(got.body), "-----BEGIN CERTIFICATE") {
		t.Fatalf("%s", got.body)
	}
	f.do("", "POST", "/downloads", body).problem(410, engine.CodeTokenConsumed)
	f.do("", "HEAD", "/downloads/"+m.Token.Reveal(), "").is(410)
	f.do("", "POST", "/downloads", `{}`).problem(422, engine.CodeInvalidRequest)
}

func TestDownloadEnds(t *testing.T) {
	f := newFixture(t)
	expired := f.mint("operator", "shop", `{"format":"cert","ttl_seconds":10}`)
	revoked := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("operator", "DELETE", "{p}/requests/"+revoked.RequestID+"/token", "").is(204)
	f.do("", "GET", "/downloads/"+revoked.Token.Reveal(), "").problem(410, engine.CodeTokenRevoked)
	bound := f.mint("operator", "shop", `{"format":"cert","bind_ip":"192.0.2.1"}`)
	f.do("", "GET", "/downloads/"+bound.Token.Reveal(), "", "X-Forwarded-For", "192.0.2.1").problem(403, engine.CodeIPMismatch)
	f.allowKeys(true)
	key := f.mint("operator", "shop", `{"format":"key"}`)
	f.allowKeys(false)
	f.do("", "GET", "/downloads/"+key.Token.Reveal(), "").problem(403, engine.CodeKeyExportDisabled)
	f.allowKeys(true)
	f.do("", "GET", "/downloads/"+key.Token.Reveal(), "").is(200)
	f.do("", "GET", "/downloads/"+strings.Repeat("A", 43), "").problem(404, engine.CodeTokenUnknown)
	f.do("", "GET", "/downloads/short", "").problem(404, engine.CodeTokenUnknown)
	f.skew.Store(int64(10 * time.Second))
	if p := f.do("", "GET", "/downloads/"+expired.Token.Reveal(), "").problem(410, engine.CodeTokenExpired); p.Title != "token expired" {
		t.Fatalf("title %q", p.Title)
	}
}

func TestPrefetchConsumesNothing(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	path, body := "/downloads/"+m.Token.Reveal(), `{"token":"`+m.Token.Reveal()+`"}`
	for _, h := range [][2]string{
		{"Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"}, {"X-Purpose", "preview"}, {"X-Moz", "prefetch"},
		{"User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}, {"User-Agent", "Slack-ImgProxy (+https://api.slack.com/robots)"},
		{"User-Agent", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"}, {"User-Agent", "facebookexternalhit/1.1"},
		{"User-Agent", "Facebot"}, {"User-Agent", "Twitterbot/1.0"}, {"User-Agent", "LinkedInBot/1.0"}, {"User-Agent", "WhatsApp/2.23.20.0"},
		{"User-Agent", "TelegramBot (like TwitterBot)"}, {"User-Agent", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5"},
		{"User-Agent", "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Word 16.0)"}, {"User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1)"},
		{"User-Agent", "Pinterest/0.2 (+https://www.pinterest.com/bot.html)"}, {"User-Agent", "redditbot/1.0"}, {"User-Agent", "Iframely/1.3.1"},
		{"User-Agent", "Embedly/0.2"}, {"User-Agent", "vkShare"}, {"User-Agent", "W3C_Validator/1.3"}, {"User-Agent", "Mattermost-Bot/1.1"},
		{"User-Agent", "Rocket.Chat/6.0"}, {"User-Agent", "Applebot/0.1"}, {"User-Agent", "bingbot/2.0"},
	} {
		f.do("", "GET", path, "", h[0], h[1]).problem(403, engine.CodePrefetchRefused)
		f.do("", "HEAD", path, "", h[0], h[1]).is(403)
		f.do("", "POST", "/downloads", body, h[0], h[1]).problem(403, engine.CodePrefetchRefused)
	}
	for range 3 {
		f.do("", "HEAD", path, "").is(200)
	}
	f.do("", "GET", path, "", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0").is(200)
}

func TestOneOfManyCallersGetsTheFile(t *testing.T) {
	f := newFixture(t)
	for range 5 {
		m := f.mint("operator", "shop", `{"format":"fullchain"}`)
		var all sync.WaitGroup
		statuses := make(chan int, 64)
		for range 64 {
			all.Go(func() {
				got, err := http.Get(f.url + "/api/v1/downloads/" + m.Token.Reveal())
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, got.Body)
				if closed := got.Body.Close(); err != nil || closed != nil {
					t.Error(err, closed)
				}
				statuses <- got.StatusCode
			})
		}
		all.Wait()
		close(statuses)
		count := map[int]int{}
		for s := range statuses {
			count[s]++
		}
		if count[200] != 1 || count[410] != 63 {
			t.Fatalf("statuses %v", count)
		}
	}
}

// A caller who goes away before the file has left is reported, so that the
// record says that it may not have arrived.
func TestInterruptedDownload(t *testing.T) {
	f := newFixture(t)
	f.downloads.Formats = bigFiles{f.downloads.Formats}
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	must(t, err)
	_, err = fmt.Fprintf(conn, "GET /api/v1/downloads/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", m.Token.Reveal())
	must(t, err)
	status, err := bufio.NewReader(conn).ReadString('\n')
	must(t, err)
	if !strings.Contains(status, "200") {
		t.Fatalf("status line %q", status)
	}
	must(t, conn.Close())
	if r := f.reported(); r.RequestID != m.RequestID || !r.Interrupted {
		t.Fatalf("reported %+v", r)
	}
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").problem(410, engine.CodeTokenConsumed)
}
