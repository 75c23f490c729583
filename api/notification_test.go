package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

const targetPath = "{p}/notification-targets"

func targetBody(url string, events ...string) string {
	return fmt.Sprintf(`{"name":"chat","url":%q,"events":["%s"]}`, url, strings.Join(events, `","`))
}

func TestNotificationTargets(t *testing.T) {
	f := newFixture(t)
	const hidden = "services/canary-path"
	made := read[wire.NewNotificationTarget](f.do("admin", "POST", targetPath, targetBody("http://user:canary-pass@127.0.0.1:1/"+hidden, "approval.requested", "token.reused", "approval.requested")).is(201))
	if made.URL != "http://127.0.0.1:1" || len(made.Events) != 2 || made.SigningSecret == nil || !strings.HasPrefix(made.SigningSecret.Reveal(), "whsec_") || made.CreatedBy.Name == "" {
		t.Fatalf("%+v", made)
	}
	mail := read[wire.NewNotificationTarget](f.do("admin", "POST", targetPath, targetBody("smtp://user:canary-pass@127.0.0.1:1/?fromaddress=a@example.org", "approval.requested")).is(201))
	if mail.SigningSecret != nil || !mail.Personal || mail.URL != "smtp://127.0.0.1:1" {
		t.Fatalf("%+v", mail)
	}
	a := f.do("admin", "GET", targetPath, "").is(200)
	for _, secret := range []string{"canary", "whsec_", "ciphertext", made.SigningSecret.Reveal()} {
		if strings.Contains(string(a.body), secret) || strings.Contains(f.log.String(), secret) {
			t.Errorf("%s holds %q", a.body, secret)
		}
	}
	if page := read[wire.Page[wire.NotificationTarget]](a); len(page.Items) != 2 || page.Items[0].ID != mail.ID {
		t.Fatalf("%+v", page)
	}
	f.do("admin", "DELETE", targetPath+"/"+made.ID, "").is(204)
	f.do("admin", "DELETE", targetPath+"/"+made.ID, "").problem(404, engine.CodeNotFound)
	f.do("admin", "POST", targetPath+"/"+made.ID+"/test", "").problem(404, engine.CodeNotFound)
	f.do("admin", "DELETE", targetPath+"/%ff", "").problem(404, engine.CodeNotFound)
	f.do("outsider", "DELETE", targetPath+"/"+mail.ID, "").problem(404, engine.CodeNotFound)
	for _, action := range []string{engine.ActionTargetCreated, engine.ActionTargetDeleted} {
		entries := f.entries(f.project.ID, action)
		if len(entries) == 0 || strings.Contains(fmt.Sprint(entries), "canary") || entries[len(entries)-1].Detail["target_id"] != made.ID {
			t.Errorf("%s: %+v", action, entries)
		}
	}
	for _, role := range []string{"approver", "operator", "viewer"} {
		f.do(role, "GET", targetPath, "").problem(403, engine.CodeForbidden)
		f.do(role, "POST", targetPath, targetBody("https://127.0.0.1", "token.reused")).problem(403, engine.CodeForbidden)
		f.do(role, "DELETE", targetPath+"/"+mail.ID, "").problem(403, engine.CodeForbidden)
		f.do(role, "POST", targetPath+"/"+mail.ID+"/test", "").problem(403, engine.CodeForbidden)
	}
}

func TestNotificationTargetsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, body := range []string{
		targetBody("https://localhost/canary", "token.reused"), targetBody("https://169.254.169.254/canary", "token.reused"),
		targetBody("https://[::1]/canary", "token.reused"), targetBody("http://example.com/canary", "token.reused"),
		targetBody("logger://canary", "token.reused"), targetBody("slack://canary", "token.reused"), targetBody("canary", "token.reused"),
		targetBody("https://127.0.0.1/canary", "test"), targetBody("https://127.0.0.1/canary", ""), `{"name":"x","url":"https://127.0.0.1/canary","events":[]}`,
		`{"name":"","url":"https://127.0.0.1/canary","events":["token.reused"]}`, `{"name":"x","url":["canary"],"events":["token.reused"]}`,
	} {
		a := f.do("admin", "POST", targetPath, body)
		a.problem(422, engine.CodeInvalidRequest)
		if strings.Contains(string(a.body), "canary") {
			t.Errorf("the answer repeats the URL: %s", a.body)
		}
	}
	if strings.Contains(f.log.String(), "canary") {
		t.Error("the log holds a URL")
	}
	for range 50 {
		f.do("admin", "POST", targetPath, targetBody("https://127.0.0.1", "token.reused")).is(201)
	}
	f.do("admin", "POST", targetPath, targetBody("https://127.0.0.1", "token.reused")).problem(422, engine.CodeInvalidRequest)
}

func TestNotificationTargetsAreTested(t *testing.T) {
	f := newFixture(t)
	var status, got atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Webhook-Signature") != "" {
			got.Add(1)
		}
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(receiver.Close)
	made := read[wire.NewNotificationTarget](f.do("admin", "POST", targetPath, targetBody(receiver.URL+"/canary", "approval.decided")).is(201))
	path := targetPath + "/" + made.ID
	status.Store(200)
	if test := read[wire.NotificationTest](f.do("admin", "POST", path+"/test", "").is(200)); !test.Sent || test.Problem != "" || got.Load() != 1 {
		t.Errorf("%+v after %d messages", test, got.Load())
	}
	status.Store(503)
	if test := read[wire.NotificationTest](f.do("admin", "POST", path+"/test", "").is(200)); test.Sent || !strings.Contains(test.Problem, "answered 503") || strings.Contains(test.Problem, "canary") {
		t.Errorf("%+v", test)
	}
	if entries := f.entries(f.project.ID, engine.ActionTargetTested); len(entries) != 2 || entries[0].Outcome != engine.AuditFailed || entries[1].Outcome != engine.AuditSuccess {
		t.Errorf("%+v", entries)
	}
	if page := read[wire.Page[wire.NotificationTarget]](f.do("admin", "GET", targetPath, "").is(200)); len(page.Items) != 1 {
		t.Errorf("%+v", page)
	}
	f.do("admin", "DELETE", path, "").is(204)
}

// Each attempt to redeem a consumed token again is reported, by any caller.
func TestReusedTokensAreReported(t *testing.T) {
	f := newFixture(t)
	issued := read[wire.Minted](f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert"}`).is(201))
	f.do("", "GET", "/downloads/"+issued.Token.Reveal(), "").is(200)
	if len(f.workflows.reused) != 0 {
		t.Fatal("the first use was reported")
	}
	f.do("", "GET", "/downloads/"+issued.Token.Reveal(), "").problem(410, engine.CodeTokenConsumed)
	f.do("", "GET", "/downloads/"+issued.Token.Reveal(), "", "Purpose", "prefetch").problem(403, engine.CodePrefetchRefused)
	if n := len(f.workflows.reused); n != 1 {
		t.Fatalf("reported %d times", n)
	}
	if token := <-f.workflows.reused; token.RequestID != issued.RequestID {
		t.Errorf("%+v", token)
	}
}
