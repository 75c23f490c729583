package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func TestAuditLog(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(410)
	a := f.do("admin", "GET", "{p}/audit-logs", "").is(200)
	page := read[wire.Page[wire.AuditEntry]](a)
	if len(page.Items) < 10 || page.Items[0].Action != "download.refused" || page.Items[1].Action != "cert.downloaded" || page.NextCursor != nil {
		t.Fatalf("%s", a.body)
	}
	for i := 1; i < len(page.Items); i++ {
		if page.Items[i].Seq != page.Items[i-1].Seq-1 || page.Items[i-1].PrevHash != page.Items[i].Hash {
			t.Fatalf("the chain breaks at %d", page.Items[i].Seq)
		}
	}
	var shape struct {
		Items []json.RawMessage `json:"items"`
	}
	must(t, json.Unmarshal(a.body, &shape))
	members(t, shape.Items[0], "seq", "time", "action", "outcome", "actor", "ip", "user_agent", "certificate_id", "request_id", "format",
		"detail", "prev_hash", "hash")
	got := page.Items[1]
	if got.Actor.Type != "api_key" || got.IP != "127.0.0.1" || got.UserAgent != "countersign-test" || got.Format != "cert" || got.RequestID != m.RequestID {
		t.Fatalf("%+v", got)
	}
	for query, want := range map[string]int64{fmt.Sprint(got.Seq): got.Seq, fmt.Sprint(got.Seq, "&action=cert.downloaded"): got.Seq, "1": 1, "9999": 0, fmt.Sprint(got.Seq, "&action=token.issued"): 0} {
		page := read[wire.Page[wire.AuditEntry]](f.do("admin", "GET", "{p}/audit-logs?seq="+query, "").is(200))
		if len(page.Items) != int(min(want, 1)) || want > 0 && page.Items[0].Seq != want || page.NextCursor != nil {
			t.Errorf("seq=%s: %+v", query, page)
		}
	}
	for _, seq := range []string{"0", "-1", "x", "1.5"} {
		f.do("admin", "GET", "{p}/audit-logs?seq="+seq, "").problem(422, engine.CodeInvalidRequest)
	}
	now := url.QueryEscape(time.Now().UTC().Add(time.Minute).Format(time.RFC3339))
	for query, want := range map[string]int{
		"action=cert.downloaded": 1, "actor=" + f.users["operator"].ID + "&action=download.refused": 1, "request_id=" + m.RequestID: 3,
		"certificate_id=" + f.certs["alone"].ID: 1, "from=" + now: 0, "to=" + now + "&action=download.refused": 1, "limit=2": 2,
	} {
		if page := read[wire.Page[wire.AuditEntry]](f.do("admin", "GET", "{p}/audit-logs?"+query, "").is(200)); len(page.Items) != want {
			t.Errorf("%s: %d entries, want %d", query, len(page.Items), want)
		}
	}
}

func TestVerifyAudit(t *testing.T) {
	f := newFixture(t)
	a := f.do("admin", "GET", "{p}/audit-logs/verify", "").is(200)
	members(t, a.body, "ok", "begins_at", "entries", "head")
	v := read[wire.AuditVerdict](a)
	if !v.OK || v.BeginsAt != 1 || v.Entries != v.Head.Seq || v.Head.Seq == 0 || len(v.Head.Hash) != 64 {
		t.Fatalf("%+v", v)
	}
	anchored := func(seq int64, hash string) wire.AuditVerdict {
		return read[wire.AuditVerdict](f.do("admin", "GET", fmt.Sprintf("{p}/audit-logs/verify?anchor_seq=%d&anchor_hash=%s", seq, hash), "").is(200))
	}
	if v := anchored(v.Head.Seq, v.Head.Hash); !v.OK {
		t.Fatalf("%+v", v)
	}
	if v := anchored(v.Head.Seq, strings.Repeat("0", 64)); v.OK || v.BrokenAt != v.Head.Seq+1 || v.Problem == "" {
		t.Fatalf("%+v", v)
	}
	if v := anchored(v.Head.Seq+1, v.Head.Hash); v.OK {
		t.Fatalf("%+v", v)
	}
	f.do("admin", "GET", "{p}/audit-logs/verify?anchor_seq=1", "").problem(422, engine.CodeInvalidRequest)
	since := func() wire.AuditVerdict {
		return read[wire.AuditVerdict](f.do("admin", "GET", "{p}/audit-logs/verify?since_anchor=true", "").is(200))
	}
	if got := since(); !got.OK || got.After != 0 || got.Entries != v.Entries {
		t.Errorf("without an anchor: %+v", got)
	}
	f.anchored = engine.AuditHead(v.Head)
	f.mint("operator", "shop", `{"format":"cert"}`)
	if got := since(); !got.OK || got.After != v.Head.Seq || got.Entries != 1 || got.Head.Seq != v.Head.Seq+1 {
		t.Errorf("since the anchor: %+v", got)
	}
	f.anchored.Hash = strings.Repeat("0", 64)
	if got := since(); got.OK || got.BrokenAt != v.Head.Seq {
		t.Errorf("since an entry that is not there: %+v", got)
	}
	f.do("admin", "GET", fmt.Sprintf("{p}/audit-logs/verify?since_anchor=true&anchor_seq=1&anchor_hash=%s", v.Head.Hash), "").problem(422, engine.CodeInvalidRequest)
}

func TestSystemChain(t *testing.T) {
	f := newFixture(t)
	f.do("", "GET", "/downloads/nonsense", "").is(404)
	page := read[wire.Page[wire.AuditEntry]](f.do("root", "GET", "/projects/system/audit-logs", "").is(200))
	if page.Items[0].Action != "download.refused" || page.Items[0].Actor.Type != "anonymous" {
		t.Fatalf("%+v", page.Items[0])
	}
	if v := read[wire.AuditVerdict](f.do("root", "GET", "/projects/system/audit-logs/verify", "").is(200)); !v.OK || v.Entries == 0 {
		t.Fatalf("%+v", v)
	}
	f.do("admin", "GET", "/projects/system/audit-logs", "").problem(404, engine.CodeNotFound)
	f.do("root", "GET", "/projects/system/certificates", "").problem(404, engine.CodeNotFound)
}

func TestExport(t *testing.T) {
	f := newFixture(t)
	for i := range 1100 {
		e := f.caller("operator").Entry(time.Now(), "test.many")
		e.UserAgent, e.Detail = "=HYPERLINK(\"x\")", map[string]string{"n": fmt.Sprint(i)}
		must(t, f.store.Append(t.Context(), e))
	}
	a := f.do("admin", "GET", "{p}/audit-logs?format=ndjson&action=test.many&limit=1", "").is(200)
	if a.header.Get("Content-Type") != "application/x-ndjson" || !strings.Contains(a.header.Get("Content-Disposition"), `.ndjson"`) {
		t.Fatalf("%v", a.header)
	}
	lines, last := bufio.NewScanner(bytes.NewReader(a.body)), int64(0)
	n := 0
	for ; lines.Scan(); n++ {
		var e wire.AuditEntry
		must(t, json.Unmarshal(lines.Bytes(), &e))
		if n > 0 && e.Seq != last-1 || e.UserAgent != `=HYPERLINK("x")` {
			t.Fatalf("%+v follows %d", e, last)
		}
		last = e.Seq
	}
	if n != 1100 {
		t.Fatalf("%d lines", n)
	}
	b := f.do("admin", "GET", "{p}/audit-logs?format=csv&action=test.many", "").is(200)
	rows, err := csv.NewReader(bytes.NewReader(b.body)).ReadAll()
	must(t, err)
	if len(rows) != 1101 || rows[0][0] != "seq" || rows[1][8] != `'=HYPERLINK("x")` || rows[1][12] != `{"n":"1099"}` {
		t.Fatalf("%d rows, %v", len(rows), rows[:2])
	}
	for said, want := range map[string]string{
		"x; =HYPERLINK(1)": "x;' =HYPERLINK(1)", "x\n@SUM(1)": "x\n'@SUM(1)", "Mozilla/5.0 (X11; Linux) a=b": "Mozilla/5.0 (X11; Linux) a=b",
		"＝SUM(1)": "'＝SUM(1)", "x,﹢1": "x,'﹢1", "−1": "'−1", "\t=1": "'\t'=1", "\r\n=1": "'\n'=1",
		"a\u202eb\u2028c\x1b[31m\u0085\u00a0=1": `a\u202eb\u2028c\u001b[31m\u0085\u00a0=1`, "\u200b=1": `\u200b=1`,
	} {
		e := f.caller("operator").Entry(time.Now(), "test.cell")
		e.UserAgent = said
		must(t, f.store.Append(t.Context(), e))
		b := f.do("admin", "GET", "{p}/audit-logs?format=csv&action=test.cell&limit=1", "").is(200)
		if rows, err := csv.NewReader(bytes.NewReader(b.body)).ReadAll(); err != nil || rows[1][8] != want {
			t.Errorf("%q is exported as %q, want %q (%v)", said, rows[1][8], want, err)
		}
	}
	empty := f.do("admin", "GET", "{p}/audit-logs?format=ndjson&action=none", "").is(200)
	if len(empty.body) != 0 {
		t.Fatalf("%q", empty.body)
	}
}

// pagesThenError returns some pages of audit entries, then an error.
type pagesThenError struct {
	api.Store
	pages atomic.Int64
}

func (p *pagesThenError) AuditEntries(ctx context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error) {
	if p.pages.Add(-1) < 0 {
		return nil, "", errBroken
	}
	return p.Store.AuditEntries(ctx, q)
}

// exportBreaks exports a chain, and fails the test unless the connection breaks.
func (f *fixture) exportBreaks(as, chain string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), "GET", f.url+"/api/v1/projects/"+chain+"/audit-logs?format=csv", nil)
	must(f.t, err)
	req.Header.Set("Authorization", "Bearer "+f.keys[as].Reveal())
	got, err := http.DefaultClient.Do(req)
	must(f.t, err)
	_, err = io.Copy(io.Discard, got.Body)
	if closed := got.Body.Close(); closed != nil {
		f.t.Log(closed) // the connection is broken, as it should be
	}
	if got.StatusCode != 200 || err == nil {
		f.t.Fatalf("status %d and no error: half an export passes for a whole one", got.StatusCode)
	}
}

// An export that ends on an error must not look complete.
func TestExportEndsOnAnError(t *testing.T) {
	broken := &pagesThenError{}
	f := newFixture(t, func(_ *fixture, o *api.Options) { broken.Store, o.Store = o.Store, broken })
	for range 600 {
		must(t, f.store.Append(t.Context(), f.caller("operator").Entry(time.Now(), "test.many")))
	}
	p := f.do("admin", "GET", "{p}/audit-logs?format=csv", "").problem(500, "internal")
	if strings.Contains(p.Detail, errBroken.Error()) {
		t.Fatal("the driver's text reached the caller")
	}
	broken.pages.Store(1)
	f.exportBreaks("admin", f.project.ID)
	if !strings.Contains(f.log.String(), "an audit export failed") {
		t.Fatal("nothing in the log")
	}
}

func TestDownloadTokens(t *testing.T) {
	f := newFixture(t)
	f.allowKeys(true)
	m := f.mint("operator", "shop", `{"format":"pkcs12","passphrase":"canary-passphrase"}`)
	used := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+used.Token.Reveal(), "", "User-Agent", "fetcher/1").is(200)
	a := f.do("admin", "GET", "{p}/download-tokens", "").is(200)
	for _, secret := range []string{m.Token.Reveal(), used.Token.Reveal(), "canary-passphrase", "sealed"} {
		if strings.Contains(string(a.body), secret) {
			t.Fatalf("%s in %s", secret, a.body)
		}
	}
	page := read[wire.Page[wire.DownloadToken]](a)
	ends := map[string]*wire.TokenEnd{}
	for _, token := range page.Items {
		ends[token.RequestID] = token.End
	}
	if end, ok := ends[m.RequestID]; !ok || end != nil {
		t.Fatalf("%s", a.body)
	}
	end := ends[used.RequestID]
	if end == nil || end.Kind != "consumed" || end.UserAgent != "fetcher/1" || end.IP != "127.0.0.1" || end.Format != "cert" ||
		len(end.FileSHA256) != 64 || end.FileSize == 0 || end.Actor.Type != "api_key" {
		t.Fatalf("%+v", end)
	}
}
