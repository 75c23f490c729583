package api_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// forms are the spellings in which a secret might show.
func forms(secret string) []string {
	return []string{
		secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
}

// Secrets go through every path, errors included; none may appear in the log, in
// the metrics or in an answer that is not meant to contain it.
func TestSecretsAppearNowhere(t *testing.T) {
	f := newFixture(t)
	f.allowKeys(true)
	const passphrase, password = "canary-passphrase-1", "canary-password-2"
	id := leaf("canary.example.com")
	der := id.pkcs8()
	keyText := strings.Split(id.keyPEM(), "\n")[1]
	minted := f.mint("operator", "shop", `{"format":"pkcs12","passphrase":"`+passphrase+`"}`)
	secrets := map[string]string{
		"passphrase": passphrase, "password": password, "token": minted.Token.Reveal(), "API key": f.keys["operator"].Reveal(),
		"key": keyText, "key bytes": string(der[len(der)-40:]),
	}
	answers := f.everyPath(t, id, minted.RequestID, secrets)
	logged := len(answers) - 1 // one cannot be read as a request
	answers = append(answers, f.operators("//metrics"), f.operators("//readyz"))
	f.reported()
	for name, secret := range secrets {
		for _, form := range forms(secret) {
			for i, a := range answers {
				if strings.Contains(string(a.body), form) || strings.Contains(fmt.Sprint(a.header), form) {
					t.Errorf("the %s is in answer %d: %s", name, i, a.body)
				}
			}
			if strings.Contains(f.log.String(), form) {
				t.Errorf("the %s is in the log", name)
			}
		}
	}
	if n := strings.Count(f.log.String(), `"msg":"request"`); n < logged {
		t.Errorf("only %d of %d requests are in the log", n, logged)
	}
}

// everyPath sends the secrets wherever a caller can put them, rightly or not.
func (f *fixture) everyPath(t *testing.T, id *identity, request string, secrets map[string]string) []answer {
	passphrase, password := secrets["passphrase"], secrets["password"]
	token, mint := secrets["token"], "{c:shop}/downloads"
	return []answer{
		f.do("operator", "POST", mint, `{"format":"pkcs12","passphrase":"`+passphrase+`","passphrase":"`+passphrase+`"}`),
		f.do("operator", "POST", mint, `{"format":"pkcs12","passphrase":["`+passphrase+`"]}`),
		f.do("operator", "POST", mint, `{"format":"pkcs12","passphrase":"`+passphrase),
		f.do("operator", "POST", mint, `{"format":"pkcs12","passphrase":"`+passphrase+`","ttl_seconds":"`+passphrase+`"}`),
		f.do("operator", "POST", mint, `{"format":"pkcs12","passphrase":"`+passphrase+`","options":{"legacy":"`+passphrase+`"}}`),
		f.do("operator", "POST", mint, `{"format":"`+passphrase+`"}`),
		f.do("operator", "POST", mint, `{"format":"cert","bind_ip":"`+passphrase+`"}`),
		f.do("viewer", "POST", mint, `{"format":"pkcs12","passphrase":"`+passphrase+`"}`),
		f.do("operator", "POST", mint, `{"format":"pkcs12","passphrase":"`+passphrase+`é"}`),
		f.do("operator", "POST", "{p}/requests/"+request+"/token", `{"passphrase":"`+passphrase+`"}`),
		f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{"name": "n", "certificate_pem": leaf("x").certPEM(), "private_key_pem": id.keyPEM()})),
		f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{"name": "n", "certificate_pem": id.keyPEM()})),
		f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{"name": "n", "certificate_pem": id.certPEM(), "private_key_pem": id.keyPEM() + "x"})),
		f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{"name": "n", "pkcs12_base64": base64.StdEncoding.EncodeToString(id.pkcs8()), "passphrase": passphrase})),
		f.do("admin", "POST", "{p}/certificates", body(t, map[string]any{"name": "n", "private_key_pem": []string{id.keyPEM()}})),
		f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{"name": "n", "certificate_pem": id.certPEM(), "private_key_pem": id.keyPEM()})),
		f.do("root", "POST", "/users", `{"username":"c1","password":"`+password+`"}`),
		f.do("root", "POST", "/users", `{"username":"c1","password":"`+password+`"}`),
		f.do("root", "POST", "/users", `{"username":"C 1","password":["`+password+`"]}`),
		f.do("", "GET", "/me", "", "Authorization", "Basic "+secrets["API key"]),
		f.do("", "GET", "/me?access_token="+secrets["API key"], ""),
		f.do("", "GET", "/downloads/"+token, "", "Purpose", "prefetch"),
		f.do("", "HEAD", "/downloads/"+token, ""),
		f.do("", "GET", "/downloads/"+token+"x", ""),
		f.do("", "GET", "/downloads/"+token+"/x", ""),
		f.do("", "PUT", "/downloads/"+token, ""),
		f.do("", "GET", "/downloads/"+token, ""),
		f.do("", "GET", "/downloads/"+token, ""),
		f.do("", "POST", "/downloads", `{"token":["`+token+`"]}`),
		f.do("", "POST", "/downloads", `{"token":"`+token+`"}`),
		f.do("admin", "GET", "{p}/requests", ""), f.do("admin", "GET", "{p}/download-tokens", ""), f.do("admin", "GET", "{p}/audit-logs", ""),
		f.do("admin", "GET", "{p}/audit-logs?format=csv", ""), f.do("admin", "GET", "{p}/api-keys", ""), f.do("root", "GET", "/users", ""),
		f.do("root", "GET", "/projects/system/audit-logs", ""), f.do("viewer", "GET", "{p}/certificates", ""), f.do("viewer", "GET", "{c:shop}/events", ""),
		f.raw("GET /api/v1/downloads/" + token + " HTTP/1.1\r\nHost: localhost\r\nbad " + passphrase + "\r\n\r\n"),
	}
}

// Fiber reuses its buffers: under load too, an audit entry must contain only the
// data of its own caller.
func TestRecordsUnderLoad(t *testing.T) {
	f := newFixture(t)
	var all sync.WaitGroup
	const callers, each = 16, 20
	for caller := range callers {
		all.Go(func() {
			for n := range each {
				req, err := http.NewRequest("POST", f.url+"/api/v1"+f.expand("{c:shop}/downloads"), strings.NewReader(`{"format":"cert"}`))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+f.keys["operator"].Reveal())
				req.Header.Set("User-Agent", fmt.Sprintf("agent-%d-%d", caller, n))
				req.Header.Set("X-Request-ID", fmt.Sprintf("request-%d-%d", caller, n))
				got, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				if id := got.Header.Get("X-Request-ID"); id != req.Header.Get("X-Request-ID") || got.StatusCode != 201 {
					t.Errorf("status %d, request id %s", got.StatusCode, id)
				}
				if err := got.Body.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	agents := map[string]int{}
	for cursor := ""; ; {
		found, next, err := f.store.AuditEntries(t.Context(), engine.AuditQuery{
			ProjectID: f.project.ID, Action: engine.ActionDownloadRequested, Page: engine.Page{Limit: 200, Cursor: cursor},
		})
		must(t, err)
		for _, e := range found {
			agents[e.UserAgent]++
		}
		if cursor = next; next == "" {
			break
		}
	}
	for caller := range callers {
		for n := range each {
			if agent := fmt.Sprintf("agent-%d-%d", caller, n); agents[agent] != 1 {
				t.Errorf("%s is in the audit log %d times", agent, agents[agent])
			}
		}
	}
	if v := read[wire.AuditVerdict](f.do("admin", "GET", "{p}/audit-logs/verify", "").is(200)); !v.OK {
		t.Errorf("%+v", v)
	}
}
