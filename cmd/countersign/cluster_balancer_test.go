//go:build cluster

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

const haproxyConfig = `
global
  maxconn 512
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout check 2s
  option redispatch
  retries 3
frontend callers
  bind %s
  default_backend nodes
frontend state
  bind %s
  stats enable
  stats uri /
backend nodes
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter 300ms fall 2 rise 2
`

// balancer is HAProxy before the nodes, which it calls only while they say that they are
// ready. up asks it whether it calls a node.
func (c *cluster) balancer() (url string, up func(node int) bool) {
	t := c.t
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal("haproxy is missing: install it (Debian: apt-get install haproxy)")
	}
	ports := freePorts(t, 2)
	listen, state := loopback(ports[0]), loopback(ports[1])
	config := fmt.Sprintf(haproxyConfig, listen, state)
	for i, n := range c.nodes {
		config += fmt.Sprintf("  server node%d %s\n", i, n.listen)
	}
	file := filepath.Join(c.dir, "haproxy.cfg")
	noError(t, os.WriteFile(file, []byte(config), 0o600))
	p := startProcess(t, c.dir, "haproxy", syscall.SIGTERM, func() *exec.Cmd { return exec.Command(program, "-db", "-f", file) })
	c.whole.Cleanup(func() { p.end(syscall.SIGTERM) })
	up = func(node int) bool {
		answer, err := httpClient.Get("http://" + state + "/;csv")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return err == nil && regexp.MustCompile(fmt.Sprintf(`(?m)^nodes,node%d,.*,UP,`, node)).Match(text)
	}
	p.await(t, func() bool { return up(0) && up(1) })
	return "http://" + listen, up
}

// A rolling restart behind a balancer that asks for readiness fails no call.
func TestClusterARollingRestartFailsNoCall(t *testing.T) {
	c := startCluster(t, "--drain", "3s")
	c.allow()
	var restarts []restart
	for range times(1, 3) {
		restarts = append(restarts, restart{node: 0}, restart{node: 1})
	}
	l := newLedger()
	c.restarted(l, restarts...)
	if failed := l.failed(); failed != 0 {
		t.Errorf("%d calls failed while the nodes were restarted", failed)
	}
	c.settled(l)
}

// restart is one of a node, with another program if one is named. The load goes on for
// some time after it.
type restart struct {
	node    int
	program string
	calm    time.Duration
}

// restarted restarts nodes one after the other, under load and behind a balancer, and adds
// what callers were told.
func (c *cluster) restarted(l *ledger, restarts ...restart) {
	t := c.t
	t.Helper()
	url, up := c.balancer()
	direct := c.nodes
	through := *direct[0].server
	through.url = url
	c.nodes = []*node{{server: &through, cluster: c}}
	stop := c.load(8)
	for _, r := range restarts {
		n := direct[r.node]
		n.stop()
		n.program = r.program
		n.restart()
		eventually(t, "a balancer that has seen the node's return", func() bool { return up(r.node) })
		hold(r.calm)
	}
	l.add(stop())
	t.Logf("what callers got:\n%s", l.table())
	c.nodes = direct
}
