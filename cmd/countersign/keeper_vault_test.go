//go:build keepers

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// vault is a server of HashiCorp Vault (testdata/vault) with a transit key, on this machine.
// It keeps its data in files, so it is sealed after each start.
type vault struct {
	*process
	t               *testing.T
	url             string
	root, unsealKey string
	token           string // may wrap and unwrap by the key, and nothing else
}

// startVault makes a new Vault with a key named countersign, as deploy/README.md says.
func startVault(t *testing.T) *vault {
	t.Helper()
	dir, address := t.TempDir(), fmt.Sprint("127.0.0.1:", freePorts(t, 1)[0])
	v := &vault{t: t, url: "http://" + address, process: &process{
		name: "Vault", log: filepath.Join(dir, "log"),
		command: func() *exec.Cmd { return exec.Command("../../bin/vault", address, filepath.Join(dir, "data")) },
	}}
	v.start()
	t.Cleanup(v.kill)
	var made struct {
		Keys      []string
		RootToken string `json:"root_token"`
	}
	v.call(http.MethodPut, "sys/init", `{"secret_shares":1,"secret_threshold":1}`, &made)
	v.root, v.unsealKey = made.RootToken, made.Keys[0]
	v.unseal()
	v.call(http.MethodPost, "sys/mounts/transit", `{"type":"transit"}`, nil)
	v.call(http.MethodPost, "transit/keys/countersign", `{}`, nil)
	policy, err := os.ReadFile("../../deploy/README.md")
	noError(t, err)
	_, rules, _ := strings.Cut(string(policy), "```hcl\n")
	rules, _, found := strings.Cut(rules, "```")
	if !found {
		t.Fatal("deploy/README.md has no policy for Vault")
	}
	v.call(http.MethodPut, "sys/policies/acl/countersign", object("policy", rules), nil)
	v.token = v.newToken()
	return v
}

func (v *vault) newToken() string {
	var out struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		}
	}
	v.call(http.MethodPost, "auth/token/create", `{"policies":["countersign"],"no_default_policy":true}`, &out)
	return out.Auth.ClientToken
}

func (v *vault) start() {
	v.t.Helper()
	v.process.start(v.t)
	v.await(v.t, func() bool {
		answer, err := http.Get(v.url + "/v1/sys/seal-status")
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil
	})
}

func (v *vault) kill() { v.end(syscall.SIGKILL) }

func (v *vault) unseal() {
	v.t.Helper()
	v.call(http.MethodPut, "sys/unseal", object("key", v.unsealKey), nil)
	eventually(v.t, "Vault to take writes", func() bool {
		answer, err := http.Get(v.url + "/v1/sys/health")
		noError(v.t, err)
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

func (v *vault) call(method, path, body string, out any) {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), method, v.url+"/v1/"+path, strings.NewReader(body))
	noError(v.t, err)
	request.Header.Set("X-Vault-Token", v.root)
	answer, err := http.DefaultClient.Do(request)
	noError(v.t, err)
	defer answer.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(answer.Body)
	noError(v.t, err)
	if answer.StatusCode >= 300 {
		v.t.Fatalf("%s %s: %d %s", method, path, answer.StatusCode, &text)
	}
	if out != nil {
		noError(v.t, json.Unmarshal(text.Bytes(), out))
	}
}

// environment makes this Vault the keeper of a server, which shows it a token.
func (v *vault) environment(token string) []string {
	return []string{
		"COUNTERSIGN_KEEPER_URL=hashivault://countersign", "VAULT_SERVER_URL=" + v.url, "VAULT_SERVER_TOKEN=" + token,
		"COUNTERSIGN_NOTIFICATIONS_ALLOW_HOSTS=127.0.0.1",
	}
}

// A server loses Vault for a while, for an hour with COUNTERSIGN_SOAK=1, because it
// hangs, is stopped, then sealed, and then refuses its token. What needs no private key goes on, what
// needs one is refused and can be repeated, notifications wait, and nothing is lost.
func TestTheKeeperIsLostForAWhile(t *testing.T) {
	v := startVault(t)
	in := &inbox{t: t, healed: true, got: map[string]map[string]string{}}
	far := httptest.NewServer(in)
	defer far.Close()
	in.host = strings.TrimPrefix(far.URL, "http://")
	dir := filepath.Join(t.TempDir(), "data")
	s := startSmall(t, binary(t), dir, v.environment(v.token)...)
	s.must(http.StatusCreated, nil, "admin", http.MethodPost, s.project()+"/notification-targets",
		fmt.Sprintf(`{"name":"chat","url":%q,"events":["approval.requested"]}`, far.URL+"/chat"))
	s.allow(true)
	s.once("a key before", s.mint(0, "key").Token)
	s.approvals(true, "key_export", 1, 86400, 86400)

	var waited []outageRequest
	v.signal(t, syscall.SIGSTOP)
	waited = append(waited, s.withoutKeeper())
	v.kill()
	waited = append(waited, s.withoutKeeper())
	if os.Getenv("COUNTERSIGN_SOAK") == "1" {
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(time.Minute) {
			waited = append(waited, s.withoutKeeper())
		}
	}
	v.start() // sealed
	waited = append(waited, s.withoutKeeper())
	v.unseal()
	v.call(http.MethodPost, "auth/token/revoke", object("token", v.token), nil)
	waited = append(waited, s.withoutKeeper())
	s.stop()
	refused := launch(t, devCommandOf(binary(t), dir), dir, v.environment(v.token)...)
	refused.awaitEnd()
	log, err := os.ReadFile(refused.log.Name())
	noError(t, err)
	if refused.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(log), "permission denied") || strings.Contains(string(log), v.token) {
		t.Errorf("a start without the keeper: %v\n%s", refused.cmd.ProcessState, log)
	}
	s = startSmall(t, binary(t), dir, v.environment(v.newToken())...)

	var wanted []string
	for _, w := range waited {
		if s.status(w.RequestID) == "approved" { // the token of then has expired unused
			s.claimsAndFetches(w.waiting)
		} else {
			s.once("a token of the outage", w.token)
		}
		wanted = append(wanted, "approval.requested "+w.RequestID)
	}
	eventually(t, "every notification", func() bool { return in.has("/chat", wanted) })
	s.must(http.StatusCreated, nil, "admin", http.MethodPost, s.project()+"/certificates", keyed(t))
	s.verified()
	t.Logf("%d requests of the outage were fetched once each", len(waited))
}

// outageRequest is a request that was approved while the keeper failed, and its token.
type outageRequest struct {
	waiting
	token string
}

// keyed is the body of an import with a private key.
func keyed(t *testing.T) string {
	t.Helper()
	made, err := sampleCertificates()
	noError(t, err)
	return object("name", "another", "certificate_pem", pemOf("CERTIFICATE", made[0].leaf.Raw), "private_key_pem", pemOf("PRIVATE KEY", made[0].key))
}

// withoutKeeper sees what a server does whose keeper fails.
func (s *server) withoutKeeper() outageRequest {
	s.t.Helper()
	w := s.waits("operator", "key")
	s.refused("approve", http.StatusOK, "")(s.decide("approver", w, "approve"))
	var m minted
	s.must(http.StatusCreated, &m, "operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/token", "{}")
	s.refused("a key", http.StatusServiceUnavailable, "unavailable")(s.fetch(m.Token))
	s.once("a certificate", s.mint(0, "fullchain").Token)
	s.refused("an import", http.StatusServiceUnavailable, "unavailable")(s.call("admin", http.MethodPost, s.project()+"/certificates", keyed(s.t)))
	s.refused("a target", http.StatusServiceUnavailable, "unavailable")(s.call("admin", http.MethodPost, s.project()+"/notification-targets",
		`{"name":"other","url":"https://hooks.example.com/x","events":["approval.requested"]}`))
	s.must(http.StatusOK, nil, "", http.MethodGet, "/readyz", "")
	var found struct{ Items []any }
	s.must(http.StatusOK, &found, "viewer", http.MethodGet, s.project()+"/certificates?q=another", "")
	if len(found.Items) != 0 {
		s.t.Errorf("an import that was refused left %v", found.Items)
	}
	return outageRequest{w, m.Token}
}
