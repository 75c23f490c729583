package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/stream"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// brisk is a pace at which tests need not wait.
func brisk(_ *fixture, o *api.Options) {
	o.Stream = briskly
}

var briskly = stream.Pace{Poll: 5 * time.Millisecond, Heartbeat: 20 * time.Millisecond}

// narrow is a listener whose connections hold little that is not read.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		err = tcp.SetWriteBuffer(4 << 10)
	}
	return c, err
}

// beside starts another server on the same store; f calls it from then on.
func (f *fixture) beside(pace stream.Pace) {
	f.t.Helper()
	o := f.options()
	o.Log, o.Stream = slog.New(slog.NewJSONHandler(f.log, nil)), pace
	server, err := api.New(o)
	must(f.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(f.t, err)
	f.server, f.url = server, "http://"+listener.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(narrow{listener}) }()
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(f.t, server.Shutdown(ctx))
		must(f.t, <-ended)
	})
}

// head is the id of the last audit entry.
func (f *fixture) head() string {
	f.t.Helper()
	found, _, err := f.store.AuditEntries(f.t.Context(), engine.AuditQuery{ProjectID: f.project.ID, Page: engine.Page{Limit: 1}})
	must(f.t, err)
	return strconv.FormatInt(found[0].Seq, 10)
}

// source is where a person follows the project's stream.
type source struct {
	address string
	key     engine.Secret
}

func (f *fixture) source(as string) source {
	return source{f.url + "/api/v1/projects/" + f.project.ID + "/stream", f.keys[as]}
}

// streamEvent is an event as a client reads it. Of several events of one audit
// entry, those before the last have the id of the entry before.
type streamEvent struct {
	ID, Type string
	wire.StreamEvent
}

// follow reads n events after an id. Where a stream ends, it connects again.
func follow(f *fixture, s source, after string, n int) (events []streamEvent) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	for len(events) < n {
		req, err := http.NewRequestWithContext(ctx, "GET", s.address, nil)
		must(f.t, err)
		req.Header.Set("Authorization", "Bearer "+s.key.Reveal())
		req.Header.Set("Last-Event-ID", after)
		got, err := http.DefaultClient.Do(req)
		if err != nil || got.StatusCode != http.StatusOK {
			f.t.Errorf("%v after %s", err, summary(events)) // Fatal would leave the reader of these events waiting
			return events
		}
		var e streamEvent
		for lines := bufio.NewScanner(got.Body); len(events) < n && lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				after = value
			case "event":
				e.Type = value
			case "data":
				err = errors.Join(err, json.Unmarshal([]byte(value), &e.StreamEvent))
			case "":
				if e.ID = after; e.Type != "" {
					events = append(events, e)
				}
				e = streamEvent{}
			}
		}
		if err := errors.Join(err, got.Body.Close()); err != nil {
			f.t.Error(err)
			return events
		}
	}
	return events
}

// summary is what events say, in short.
func summary(events []streamEvent) string {
	var texts []string
	for _, e := range events {
		texts = append(texts, e.Type+"/"+e.Action+"/"+e.Status)
	}
	return strings.Join(texts, " ")
}

// download mints and redeems, and returns the request's id.
func (f *fixture) download(as string) string {
	f.t.Helper()
	m := f.mint(as, "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
	return m.RequestID
}

const oneDownload = "request.updated/download.requested/issued request.updated/cert.downloaded/consumed cert.downloaded/cert.downloaded/"

func TestStreamSendsAndResumes(t *testing.T) {
	f := newFixture(t, brisk)
	before, first := f.head(), f.source("admin")
	f.beside(briskly)
	live := make(chan []streamEvent, 2)
	for _, c := range []source{first, f.source("admin")} {
		go func() { live <- follow(f, c, before, 6) }()
	}
	one, two := f.download("operator"), f.download("second")
	for range 2 { // on both servers, only one of which served the downloads
		events := <-live
		if summary(events) != oneDownload+" "+oneDownload || events[0].RequestID != one || events[3].RequestID != two || events[0].CertificateID != f.certs["shop"].ID {
			t.Fatalf("%s", summary(events))
		}
		if got := f.entries(f.project.ID, engine.ActionCertificateDownloaded); events[2].ID != fmt.Sprint(got[1].Seq) || events[5].ID != fmt.Sprint(got[0].Seq) {
			t.Fatalf("ids %s and %s of %+v", events[2].ID, events[5].ID, got)
		}
		for i, missed := range map[int]int{0: 5, 1: 5, 2: 3, 3: 2, 4: 2} { // of two at once, both come again
			if again := follow(f, first, events[i].ID, missed); summary(again) != summary(events[6-missed:]) {
				t.Errorf("behind event %d came %s", i, summary(again))
			}
		}
	}
	if all := follow(f, first, "0", 6); summary(all) != oneDownload+" "+oneDownload {
		t.Errorf("from the beginning came %s", summary(all))
	}
}

// Everybody gets events of downloads, an operator those of their own requests and
// approvals, an approver those of all; nobody gets refusals or deleted requests.
func TestStreamVisibility(t *testing.T) {
	f := newFixture(t, brisk)
	f.mode(false, engine.ApprovalKeyExport)
	before := f.head()
	p := f.approved(`{"format":"key"}`)
	m := read[wire.Minted](f.do("operator", "POST", "{p}/requests/"+p.RequestID+"/token", "{}").is(201))
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(410)
	forgotten := f.entries(f.project.ID, engine.ActionApprovalApproved)[0]
	forgotten.Ref, forgotten.RequestID = engine.NewID("aud"), "req_forgotten"
	must(t, f.store.Append(t.Context(), forgotten))
	f.download("second")
	const downloaded = "cert.downloaded/cert.downloaded/ "
	const (
		waits = "request.updated/download.requested/pending_approval approval.updated/download.requested/pending "
		one   = "request.updated/approval.approved/pending_approval approval.updated/approval.approved/pending "
		both  = "request.updated/approval.approved/approved approval.updated/approval.approved/approved "
		mine  = waits + one + both + "request.updated/token.issued/issued request.updated/cert.downloaded/consumed " + downloaded
		other = "request.updated/download.requested/issued request.updated/cert.downloaded/consumed " + downloaded
	)
	for as, want := range map[string]string{
		"viewer": downloaded + downloaded, "operator": mine + downloaded, "second": downloaded + other,
		"approver": mine + other, "admin": mine + other, "root": mine + other,
	} {
		events := follow(f, f.source(as), before, strings.Count(want, " "))
		if got := summary(events) + " "; got != want {
			t.Errorf("%s got %s, want %s", as, got, want)
		}
		for _, e := range events {
			if e.Type == "approval.updated" && e.ApprovalID != p.ApprovalID {
				t.Errorf("%s got approval %q", as, e.ApprovalID)
			}
		}
	}
}

// Everybody who may read the policy gets an event when it changes, and reads it
// again.
func TestStreamSendsPolicyChanges(t *testing.T) {
	f := newFixture(t, brisk)
	before := f.head()
	f.allowKeys(true)
	for _, as := range []string{"viewer", "operator", "admin"} {
		events := follow(f, f.source(as), before, 1)
		if summary(events) != "policy.updated/policy.updated/" || events[0].ID != f.head() || events[0].RequestID != "" || events[0].Time.IsZero() {
			t.Errorf("%s got %+v", as, events)
		}
	}
}

// openStream opens a stream that the caller reads by hand.
func (f *fixture) openStream(as, query string, headers ...string) *http.Response {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	f.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", f.url+"/api/v1"+f.expand("{p}")+"/stream"+query, nil)
	must(f.t, err)
	req.Header.Set("Authorization", "Bearer "+f.keys[as].Reveal())
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{}
	f.t.Cleanup(transport.CloseIdleConnections)
	got, err := transport.RoundTrip(req)
	must(f.t, err)
	f.t.Cleanup(func() { _ = got.Body.Close() })
	return got
}

// block reads up to the next blank line.
func block(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, text+line)
		}
		if line == "\n" {
			return text
		}
		text += line
	}
}

func TestStreamOpens(t *testing.T) {
	f := newFixture(t, brisk)
	f.do("", "GET", "{p}/stream", "").problem(401, engine.CodeUnauthenticated)
	f.do("outsider", "GET", "{p}/stream?last_event_id=x", "").problem(404, engine.CodeNotFound)
	f.do("root", "GET", "/projects/system/stream", "").problem(404, engine.CodeNotFound)
	f.do("viewer", "HEAD", "{p}/stream", "").is(405)
	for _, id := range []string{"x", "-1", "1.5", "0x1", "1_0"} {
		f.do("viewer", "GET", "{p}/stream", "", "Last-Event-ID", id).problem(422, engine.CodeInvalidRequest)
		f.do("viewer", "GET", "{p}/stream?last_event_id="+id, "").problem(422, engine.CodeInvalidRequest)
	}
	head := f.head()
	for _, c := range []struct{ query, header, at string }{
		{"", "", head},
		{"?last_event_id=3", "", "3"},
		{"?last_event_id=3", "4", "4"},
		{"", "0", "0"},
		{"", head + "0", head},
		{"", strings.Repeat("9", 40), head},
	} {
		got := f.openStream("viewer", c.query, "Last-Event-ID", c.header)
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
		} {
			if got.Header.Get(name) != want {
				t.Errorf("%s: %q", name, got.Header.Get(name))
			}
		}
		if text := block(t, bufio.NewReader(got.Body)); got.StatusCode != 200 || text != "retry: 2000\nid: "+c.at+"\n" {
			t.Errorf("%+v: %d %q", c, got.StatusCode, text)
		}
	}
}

// Entries that the caller may not see also advance the caller's position.
func TestStreamHeartbeat(t *testing.T) {
	f := newFixture(t, brisk)
	r := bufio.NewReader(f.openStream("viewer", "").Body)
	block(t, r)
	if text := block(t, r); text != ":\n" {
		t.Fatalf("%q is not a heartbeat", text)
	}
	f.mint("operator", "shop", `{"format":"cert"}`)
	text := block(t, r)
	for text == ":\n" {
		text = block(t, r)
	}
	if want := ":\nid: " + f.head() + "\n"; text != want {
		t.Fatalf("%q, want %q", text, want)
	}
}
