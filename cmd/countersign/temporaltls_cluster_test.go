//go:build cluster

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// securedTemporal is a process of Temporal's server, on SQLite in memory. What it demands
// of its callers comes behind it. The server's own workers call its internal frontend,
// which demands nothing.
var securedTemporal = `
log: {stdout: true, level: error}
persistence:
  defaultStore: main
  visibilityStore: main
  numHistoryShards: 1
  datastores:
    main:
      sql: {pluginName: sqlite, databaseName: default, connectAddr: localhost, connectProtocol: tcp, connectAttributes: {mode: memory, cache: private}, maxConns: 1, maxIdleConns: 1}
global:
  membership: {maxJoinDuration: 30s, broadcastAddress: 127.0.0.1}
  tls:
    frontend:
      server: {certFile: %[1]s/server.pem, keyFile: %[1]s/server.key, requireClientAuth: %[12]t, clientCaFiles: [%[1]s/ca.pem]}
      client: {serverName: server.test, rootCaFiles: [%[1]s/ca.pem]}
    systemWorker: {certFile: %[1]s/client.pem, keyFile: %[1]s/client.key, client: {serverName: server.test, rootCaFiles: [%[1]s/ca.pem]}}
  authorization: %[13]s
dcRedirectionPolicy: {policy: noop}
` + strings.Replace(temporalServices, "services:\n", "services:\n  internal-frontend: {rpc: {grpcPort: %[10]d, membershipPort: %[11]d, bindOnLocalHost: true}}\n", 1)

// startSecuredTemporal returns the server's address and the folder of the certificates. The
// server demands a client certificate of the authority in ca.pem, or what authorization
// says.
func startSecuredTemporal(t *testing.T, a testAuthority, certificates bool, authorization string) (address, dir string) {
	t.Helper()
	dir = t.TempDir()
	noError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600))
	a.issue(dir, "server")
	a.issue(dir, "client")
	values := []any{dir}
	for _, port := range freePorts(t, 10) {
		values = append(values, port)
	}
	values = append(values, certificates, authorization)
	file := filepath.Join(dir, "temporal.yaml")
	noError(t, os.WriteFile(file, fmt.Appendf(nil, securedTemporal, values...), 0o600))
	log, err := os.Create(filepath.Join(dir, "temporal.log"))
	noError(t, err)
	cmd := exec.Command(clusterProgram(t, "temporal-server"), "--config-file", file, "--allow-no-auth", "start",
		"--service", "frontend", "--service", "internal-frontend", "--service", "history", "--service", "matching", "--service", "worker")
	cmd.Stdout, cmd.Stderr = log, log
	noError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		noError(t, log.Close())
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("Temporal:\n%.8000s", text)
		}
	})
	return fmt.Sprintf("127.0.0.1:%d", values[1]), dir
}

// A server that demands client certificates is reached with one, and not without: that is
// said at once, and not after the wait. The namespace is made on request.
func TestClusterTemporalThatDemandsCertificates(t *testing.T) {
	wholeOnly(t)
	a := newTestAuthority(t)
	address, dir := startSecuredTemporal(t, a, true, "{}")
	base := t.TempDir()
	file := filepath.Join(base, "bootstrap.json")
	serve := func(more ...string) *exec.Cmd {
		return exec.Command(binary(t), append([]string{
			"serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file,
			"--temporal-address", address, "--temporal-ca-file", filepath.Join(dir, "ca.pem"), "--temporal-server-name", "server.test",
		}, more...)...)
	}
	certificate := []string{"--temporal-cert-file", filepath.Join(dir, "client.pem"), "--temporal-key-file", filepath.Join(dir, "client.key")}
	s := serveOn(t, serve(append(certificate, "--temporal-create-namespace")...), file)
	mint := s.minter()
	if status, text := mint(); status != http.StatusCreated {
		t.Fatalf("%d %s", status, text)
	}
	s.stop()
	for name, more := range map[string][]string{
		"no client certificate":  {"--wait", "1h"},
		"another server name":    append([]string{"--wait", "1h", "--temporal-server-name", "other.test"}, certificate...),
		"a namespace is missing": append([]string{"--wait", "1s", "--temporal-namespace", "missing"}, certificate...),
	} {
		out, err := serve(more...).CombinedOutput()
		want := "tls: "
		if strings.HasPrefix(name, "a namespace") {
			want = "temporal operator namespace create --address " + address + " --namespace missing --retention 72h"
		}
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// minter imports a certificate, and returns what asks for it.
func (s *server) minter() func() (status int, body []byte) {
	s.t.Helper()
	made, err := sampleCertificates()
	noError(s.t, err)
	var c bootstrapCertificate
	s.must(201, &c, "admin", "POST", s.project()+"/certificates", object("name", "one", "certificate_pem", pemOf("CERTIFICATE", made[0].leaf.Raw)))
	return func() (int, []byte) {
		return s.call("admin", "POST", s.project()+"/certificates/"+c.ID+"/downloads", `{"format":"cert","passphrase":""}`)
	}
}

// apiKeys signs API keys as JSON Web Tokens (RFC 7519), and serves the public key under
// which a Temporal server checks them (RFC 7517).
func apiKeys(t *testing.T) (jwks string, sign func(permissions ...string) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		noError(t, json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "key", Algorithm: "ES256", Use: "sig"}}}))
	}))
	t.Cleanup(server.Close)
	return server.URL, func(permissions ...string) string {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"sub": "countersign", "permissions": permissions})
		token.Header["kid"] = "key"
		text, err := token.SignedString(key)
		noError(t, err)
		return text
	}
}

// A server that demands an API key, as Temporal Cloud does, is reached with one, and not
// without. The key's file is read again: a key that is withdrawn and then replaced is
// noticed without a restart.
func TestClusterTemporalThatDemandsAnAPIKey(t *testing.T) {
	wholeOnly(t)
	a := newTestAuthority(t)
	jwks, sign := apiKeys(t)
	address, dir := startSecuredTemporal(t, a, false,
		fmt.Sprintf("{jwtKeyProvider: {keySourceURIs: [%q], refreshInterval: 1m}, permissionsClaimName: permissions, authorizer: default, claimMapper: default}", jwks))
	base := t.TempDir()
	file, key := filepath.Join(base, "bootstrap.json"), filepath.Join(base, "api.key")
	use := func(text string) { noError(t, os.WriteFile(key, []byte(text+"\n"), 0o600)) }
	serve := func(more ...string) *exec.Cmd {
		return exec.Command(binary(t), append([]string{
			"serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file,
			"--temporal-address", address, "--temporal-ca-file", filepath.Join(dir, "ca.pem"), "--temporal-server-name", "server.test",
		}, more...)...)
	}
	use(sign("temporal-system:admin"))
	s := serveOn(t, serve("--temporal-api-key-file", key, "--temporal-create-namespace"), file)
	mint := s.minter()
	answers := func(want int) func() bool {
		return func() bool {
			status, _ := mint()
			return status == want
		}
	}
	use(sign("another:write"))
	eventually(t, "a mint that Temporal refuses", answers(http.StatusServiceUnavailable))
	use(sign("countersign:admin"))
	eventually(t, "a mint under the new key", answers(http.StatusCreated))
	s.stop()
	for name, more := range map[string][]string{
		"no key":                     {"--wait", "1h"},
		"a key of another namespace": {"--wait", "1h", "--temporal-api-key-file", key, "--temporal-namespace", "another"},
	} {
		out, err := serve(more...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "PermissionDenied") && !strings.Contains(string(out), "unauthorized") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
