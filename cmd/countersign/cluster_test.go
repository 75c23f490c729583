//go:build cluster

package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/countersign-dev/countersign/engine"
)

// cluster is two nodes of one installation, with a store and a Temporal namespace of
// their own.
type cluster struct {
	t         *testing.T // reports what goes wrong
	whole     *testing.T // until its end the nodes run
	engines   *engines
	dir       string
	uri       string // of the database, past the proxies
	namespace string
	nodes     []*node
	first     *node // whose key file all nodes use
}

// node is one of the nodes. It reaches the engines through proxies of its own.
type node struct {
	*server
	cluster           *cluster
	dir, listen       string
	mongodb, temporal *toxiproxy.Proxy
	flags             []string
	program           string // if it is not this version's
}

var clusters atomic.Int64

// startCluster starts two nodes, with a project that has the sample certificates, and
// API keys of the sample users.
func startCluster(t *testing.T, flags ...string) *cluster {
	t.Helper()
	c := newCluster(t, 2, flags...)
	c.start()
	return c
}

// start starts all nodes for the first time, and makes the project.
func (c *cluster) start() {
	c.t.Helper()
	for _, n := range c.nodes {
		n.start()
		if n == c.nodes[0] {
			n.importSamples()
			c.makeUsers(n)
		}
		n.boot = c.nodes[0].boot
	}
}

// newCluster makes everything for n nodes, and starts none.
func newCluster(t *testing.T, n int, flags ...string) *cluster {
	t.Helper()
	e, name := startEngines(t), fmt.Sprintf("cluster%d_%d", os.Getpid(), clusters.Add(1))
	c := &cluster{t: t, whole: t, engines: e, dir: t.TempDir(), namespace: name}
	c.uri = c.mongoURI(mongoHost(t, e.mongoURI))
	e.makeNamespace(t, name)
	for i := range n {
		dir := filepath.Join(c.dir, fmt.Sprintf("node%d", i))
		c.nodes = append(c.nodes, &node{
			cluster: c, dir: dir, listen: loopback(freePorts(t, 1)[0]), flags: flags,
			mongodb: newProxy(t, "mongodb", mongoHost(t, e.mongoURI)), temporal: newProxy(t, "temporal", e.temporalAddress),
		})
	}
	c.first = c.nodes[0]
	return c
}

// mongoURI is the URI of the cluster's database at a host.
func (c *cluster) mongoURI(host string) string {
	c.t.Helper()
	u, err := url.Parse(c.engines.mongoURI)
	noError(c.t, err)
	query := u.Query()
	query.Set("directConnection", "true") // not past the proxy, to a host that the server names
	u.Host, u.Path, u.RawQuery = host, "/"+c.namespace, query.Encode()
	return u.String()
}

func mongoHost(t *testing.T, uri string) string {
	t.Helper()
	u, err := url.Parse(uri)
	noError(t, err)
	return u.Host
}

// newProxy passes connections on to an engine until it is stopped or has toxics.
func newProxy(t *testing.T, name, upstream string) *toxiproxy.Proxy {
	t.Helper()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), name, loopback(0), upstream)
	noError(t, p.Start())
	t.Cleanup(p.Stop)
	return p
}

// slow delays what a proxy passes on, and returns what ends the delay.
func slow(t *testing.T, p *toxiproxy.Proxy, by time.Duration) (end func()) {
	t.Helper()
	toxic, err := p.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"name":"slow","type":"latency","stream":"downstream","attributes":{"latency":%d}}`, by.Milliseconds())))
	noError(t, err)
	return func() { noError(t, p.Toxics.RemoveToxic(context.Background(), toxic.Name)) }
}

// start starts the node and waits until it is ready. All nodes use the first one's key
// file, and listen at the same address at each start.
func (n *node) start(env ...string) {
	c := n.cluster
	c.t.Helper()
	n.server = serveOn(c.whole, n.command(env...), filepath.Join(c.dir, "bootstrap.json"))
	n.server.t = c.t
	log := n.log.Name()
	c.whole.Cleanup(func() { errorsOf(c.whole, log) })
	n.server.dir, n.server.mongoURI, n.server.url = c.first.dir, c.uri, "http://"+n.listen
}

// errorsOf shows the errors in a node's log if the test has failed, once each kind.
func errorsOf(t *testing.T, log string) {
	text, err := os.ReadFile(log)
	noError(t, err)
	shown := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		_, cause, _ := strings.Cut(line, " error=")
		if kind := cause[:min(len(cause), 60)]; t.Failed() && strings.Contains(line, "level=ERROR") && !shown[kind] {
			shown[kind] = true
			t.Log(strings.TrimSpace(line))
		}
	}
}

func (n *node) command(env ...string) *exec.Cmd {
	c := n.cluster
	cmd := exec.Command(cmp.Or(n.program, binary(c.t)), append([]string{
		"serve", "--data", n.dir, "--keeper-file", filepath.Join(c.first.dir, "keys", "local.key"),
		"--bootstrap", filepath.Join(c.dir, "bootstrap.json"), "--listen", n.listen, "--listen-admin", "", "--public-url", "",
		"--temporal-address", n.temporal.Listen, "--temporal-namespace", c.namespace,
	}, n.flags...)...)
	cmd.Env = append(append(os.Environ(), "COUNTERSIGN_MONGODB_URI="+c.mongoURI(n.mongodb.Listen)), env...)
	return cmd
}

// restart starts the node again, with what it knew.
func (n *node) restart(env ...string) {
	n.cluster.t.Helper()
	boot := n.boot
	n.start(env...)
	n.boot = boot
}

// makeUsers makes the sample users in the project of the bootstrap file.
func (c *cluster) makeUsers(n *node) {
	t := c.t
	t.Helper()
	n.inStore(func(store engine.Store, admin *engine.Admin) {
		root, err := store.UserByName(t.Context(), "admin")
		noError(t, err)
		by := engine.Caller{Principal: engine.Principal{User: root}, Role: engine.RoleAdmin}
		by.Project, err = store.Project(t.Context(), n.boot.ProjectID)
		noError(t, err)
		for _, p := range sampleUsers {
			if p.key == "admin" {
				continue
			}
			u, err := admin.CreateUser(t.Context(), by, engine.User{Username: p.username, Name: p.name}, "")
			noError(t, err)
			n.boot.APIKeys[p.key] = memberKey(t, admin, by, u, p.role)
		}
	})
}

// allow sets the policy: formats without a key are issued, those with one wait for one
// approval, and tokens live for an hour.
func (c *cluster) allow() {
	c.t.Helper()
	n := c.nodes[0]
	n.must(200, nil, "admin", "PUT", n.project()+"/certificate-policy",
		`{"allow_key_export":true,"approval":{"mode":"key_export","required_approvals":1,"ttl_seconds":86400,"claim_window_seconds":86400},
		"token_ttl_seconds":3600,"min_passphrase_length":8,"allow_legacy_encryption":true}`)
}
