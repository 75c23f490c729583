//go:build cluster

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
  option redispatch
  retries 3
frontend callers
  bind %s
  default_backend nodes
backend nodes
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter 200ms fall 1 rise 2
`

// balancer is HAProxy before the nodes, which it calls only while they say that they are
// ready.
func (c *cluster) balancer() (url string) {
	t := c.t
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal("haproxy is missing: install it (Debian: apt-get install haproxy)")
	}
	listen := loopback(freePorts(t, 1)[0])
	config := fmt.Sprintf(haproxyConfig, listen)
	for i, n := range c.nodes {
		config += fmt.Sprintf("  server node%d %s\n", i, n.listen)
	}
	file := filepath.Join(c.dir, "haproxy.cfg")
	noError(t, os.WriteFile(file, []byte(config), 0o600))
	p := startProcess(t, c.dir, "haproxy", syscall.SIGTERM, func() *exec.Cmd { return exec.Command(program, "-db", "-f", file) })
	c.whole.Cleanup(func() { p.end(syscall.SIGTERM) })
	p.await(t, func() bool {
		conn, err := net.DialTimeout("tcp", listen, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return "http://" + listen
}

// A rolling restart behind a balancer that asks for readiness fails no call.
func TestClusterARollingRestartFailsNoCall(t *testing.T) {
	c := startCluster(t, "--drain", "3s")
	c.allow()
	url := c.balancer()
	direct := c.nodes
	through := *direct[0].server
	through.url = url
	c.nodes = []*node{{server: &through, cluster: c}}
	eventually(t, "an answer through the balancer", func() bool {
		status, _ := through.call("", "GET", "/readyz", "")
		return status == 200
	})
	stop := c.load(8)
	for range clusterTimes(1, 3) {
		for _, n := range direct {
			n.stop()
			n.restart()
			hold(time.Second) // until the balancer has seen it twice
		}
	}
	l := stop()
	t.Logf("what callers got:\n%s", l.table())
	if failed := l.failed(); failed != 0 {
		t.Errorf("%d calls failed while the nodes were restarted", failed)
	}
	c.nodes = direct
	c.settled(l)
}
