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
		{"User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1)"},
		{"User-Agent", "Pinterest/0.2 (+https://www.pinterest.com/bot.html)"}, {"User-Agent", "redditbot/1.0"}, {"User-Agent", "Iframely/1.3.1"},
		{"User-Agent", "Embedly/0.2"}, {"User-Agent", "vkShare"}, {"User-Agent", "W3C_Validator/1.3"}, {"User-Agent", "Mattermost-Bot/1.1"},
		{"User-Agent", "Rocket.Chat/6.0"}, {"User-Agent", "Applebot/0.1"}, {"User-Agent", "bingbot/2.0"},
		{"User-Agent", "Discourse Forum Onebox v3.3.0.beta1-dev"}, {"User-Agent", "ClickUpLinkUnfurler/1.0 (+https://clickup.com)"},
		{"User-Agent", "Shortwave Image Fetcher"}, {"User-Agent", "Lemmy/0.19.8; +https://leminal.space"}, {"User-Agent", "Mozilla/5.0 (X11) (dbot)"},
		{"User-Agent", "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:15.0) Xing Bot"}, {"User-Agent", "Mozilla/5.0 (compatible; VKRobot/1.0)"},
		{"User-Agent", "Mozilla/5.0 (Supabase Paired Crawler HTTP/2)"}, {"User-Agent", "Mozilla/5.0 (Linux; Android 5.0) (compatible; TikTokSpider)"},
		{"User-Agent", "YahooMailProxy; https://help.yahoo.com"}, {"User-Agent", "meta-externalagent/1.1"}, {"User-Agent", "Synapse (bot; +https://github.com/matrix-org/synapse)"},
	} {
		f.do("", "GET", path, "", h[0], h[1]).problem(403, engine.CodePrefetchRefused)
		f.do("", "HEAD", path, "", h[0], h[1]).is(403)
		f.do("", "POST", "/downloads", body, h[0], h[1]).problem(403, engine.CodePrefetchRefused)
	}
	for range 3 {
		f.do("", "HEAD", path, "").is(200)
	}
	f.do("", "GET", path, "").is(200)
}

// The programs with which people fetch files get theirs.
func TestPeoplesProgramsAreNoPreview(t *testing.T) {
	f := newFixture(t)
	for _, agent := range []string{
		"", "curl/8.5.0", "Wget/1.21.4", "aria2/1.37.0", "HTTPie/3.2.2", "python-requests/2.32.3", "Go-http-client/1.1", "okhttp/4.12.0",
		"node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "PHP-Curl-Class/4.13.0 (+https://github.com/php-curl-class/php-curl-class) PHP/7.2.24",
		"Mozilla/5.0 (Windows NT; Windows NT 10.0; en-GB) WindowsPowerShell/5.1.19041.1682", "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.19045; en-GB) PowerShell/7.4.2",
		"Microsoft Office/16.0 (Windows NT 10.0; Microsoft Word 16.0.17328; Pro)", "Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "Microsoft BITS/7.8",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Mozilla/5.0 (Linux; Android 9; CUBOT_X20_PRO) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Linux; Android 16; Pixel 10; wv) AppleWebKit/537.36 Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 MetaIAB Facebook",
	} {
		m := f.mint("operator", "shop", `{"format":"cert"}`)
		if a := f.do("", "GET", "/downloads/"+m.Token.Reveal(), "", "User-Agent", agent); a.status != 200 {
			t.Errorf("%q is refused: %s", agent, a.body)
		}
	}
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
