//go:build cluster

package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
)

// outage is how long an engine is away, and calm how long the load runs before and after.
func outage() time.Duration { return time.Duration(times(8, 20)) * time.Second }

const calm = 2 * time.Second

// hold waits for a time that is part of what a test does to the servers.
func hold(d time.Duration) { <-time.After(d) }

// survives runs a load on both nodes while something is begun and ended, prints what
// the callers got, and checks that nothing that they were promised was lost.
func (c *cluster) survives(begin func() (end func())) {
	c.t.Helper()
	stop := c.load(8)
	hold(calm)
	end := begin()
	hold(outage())
	end()
	hold(calm)
	l := stop()
	c.t.Logf("what callers got:\n%s", l.table())
	c.settled(l)
}

// stopped ends a process and starts it again.
func (c *cluster) stopped(p *process, await func(*testing.T)) func() func() {
	return func() func() {
		p.end(syscall.SIGKILL)
		return func() {
			p.start(c.t)
			await(c.t)
		}
	}
}

// hung holds a process without ending it.
func (c *cluster) hung(p *process) func() func() {
	return func() func() {
		p.signal(c.t, syscall.SIGSTOP)
		return func() { p.signal(c.t, syscall.SIGCONT) }
	}
}

// cut closes the connections of a node to an engine, and refuses new ones.
func (c *cluster) cut(p *toxiproxy.Proxy) func() func() {
	return func() func() {
		p.Stop()
		return func() { noError(c.t, p.Start()) }
	}
}

// own fails unless the engine is a process of this test.
func own(t *testing.T, p *process, name string) *process {
	t.Helper()
	if p == nil {
		t.Skipf("%s is the server of someone else, which this test cannot stop", name)
	}
	return p
}

func TestClusterOutagesCostNothingThatWasPromised(t *testing.T) {
	wholeOnly(t)
	c := startCluster(t)
	c.allow()
	e := c.engines
	for _, o := range []struct {
		name string
		run  func(t *testing.T) func() func()
	}{
		{"Temporal is gone", func(t *testing.T) func() func() { return c.stopped(own(t, e.temporal, "Temporal"), e.awaitTemporal) }},
		{"Temporal hangs", func(t *testing.T) func() func() { return c.hung(own(t, e.temporal, "Temporal")) }},
		{"MongoDB is gone", func(t *testing.T) func() func() { return c.stopped(own(t, e.mongodb, "MongoDB"), e.awaitMongoDB) }},
		{"MongoDB hangs", func(t *testing.T) func() func() { return c.hung(own(t, e.mongodb, "MongoDB")) }},
		{"MongoDB is slow", func(*testing.T) func() func() {
			return func() func() {
				a, b := slow(c.t, c.nodes[0].mongodb, time.Second), slow(c.t, c.nodes[1].mongodb, time.Second)
				return func() { a(); b() }
			}
		}},
		{"the first node is cut from MongoDB", func(*testing.T) func() func() { return c.cut(c.nodes[0].mongodb) }},
		{"the second node is cut from MongoDB", func(*testing.T) func() func() { return c.cut(c.nodes[1].mongodb) }},
		{"the first node is cut from Temporal", func(*testing.T) func() func() { return c.cut(c.nodes[0].temporal) }},
		{"the second node is cut from Temporal", func(*testing.T) func() func() { return c.cut(c.nodes[1].temporal) }},
	} {
		t.Run(o.name, func(t *testing.T) {
			defer c.in(t)()
			c.survives(o.run(t))
		})
	}
}

// in lets a subtest report what goes wrong, and returns what ends that.
func (c *cluster) in(t *testing.T) (end func()) {
	outer := c.t
	use := func(t *testing.T) {
		c.t = t
		for _, n := range c.nodes {
			n.t = t
		}
	}
	use(t)
	return func() { use(outer) }
}
