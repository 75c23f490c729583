//go:build cluster

package main

import (
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// securedTemporal is a process of Temporal's server, on SQLite in memory, which demands
// a client certificate of the authority in ca.pem.
const securedTemporal = `
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
      server: {certFile: %[1]s/server.pem, keyFile: %[1]s/server.key, requireClientAuth: true, clientCaFiles: [%[1]s/ca.pem]}
      client: {serverName: server.test, rootCaFiles: [%[1]s/ca.pem]}
    systemWorker: {certFile: %[1]s/client.pem, keyFile: %[1]s/client.key, client: {serverName: server.test, rootCaFiles: [%[1]s/ca.pem]}}
dcRedirectionPolicy: {policy: noop}
` + temporalServices

// startSecuredTemporal returns the server's address and the folder of the certificates.
func startSecuredTemporal(t *testing.T, a testAuthority) (address, dir string) {
	t.Helper()
	dir = t.TempDir()
	noError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600))
	a.issue(dir, "server")
	a.issue(dir, "client")
	values := []any{dir}
	for _, port := range freePorts(t, 8) {
		values = append(values, port)
	}
	file := filepath.Join(dir, "temporal.yaml")
	noError(t, os.WriteFile(file, fmt.Appendf(nil, securedTemporal, values...), 0o600))
	log, err := os.Create(filepath.Join(dir, "temporal.log"))
	noError(t, err)
	cmd := exec.Command(clusterProgram(t, "temporal-server"), "--config-file", file, "--allow-no-auth", "start")
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
func TestTemporalThatDemandsCertificates(t *testing.T) {
	a := newTestAuthority(t)
	address, dir := startSecuredTemporal(t, a)
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
	made, err := sampleCertificates()
	noError(t, err)
	var c bootstrapCertificate
	s.must(201, &c, "admin", "POST", s.project()+"/certificates", object("name", "one", "certificate_pem", pemOf("CERTIFICATE", made[0].leaf.Raw)))
	var m minted
	s.must(201, &m, "admin", "POST", s.project()+"/certificates/"+c.ID+"/downloads", `{"format":"cert","passphrase":""}`)
	if status, text := s.fetch(m.Token); status != 200 {
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
