//go:build cluster

package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign/engine/store/mongo/mongotest"
)

// The figures here are printed and compared by readers: a test would fail by chance.

// timed makes n calls by concurrent callers, and returns the time that each took, in
// order, and all of them together.
func timed(callers, n int, call func(i int)) (took []time.Duration, all time.Duration) {
	took = make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				at := time.Now()
				call(i)
				took[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	all = time.Since(began)
	slices.Sort(took)
	return took, all
}

// measured is how much is measured, and by how many callers. FerretDB reads all tokens to
// find one, so more would measure that alone.
func measured(many int) (n, callers int) {
	if mongotest.External() == "" {
		return 100, 8
	}
	return many, 32
}

func p99(took []time.Duration) time.Duration { return took[len(took)*99/100] }

// A used token that many callers ask one node for does not slow the other node down.
// The factor is wanted to be 1.5 at most.
func TestClusterFigureOfAHammeredNode(t *testing.T) {
	wholeOnly(t)
	c := startCluster(t)
	c.allow()
	n, callers := measured(1000)
	tokens := c.tokens(callers, 2*n+1)
	redeemed := func(tokens []string) []time.Duration {
		took, _ := timed(1, len(tokens), func(i int) {
			if status, body := c.nodes[1].fetch(tokens[i]); status != http.StatusOK {
				t.Errorf("redemption: %d %s", status, body)
			}
		})
		return took
	}
	used := tokens[2*n]
	c.nodes[0].fetch(used)
	quiet := redeemed(tokens[:n])
	var stopped atomic.Bool
	var answers atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for !stopped.Load() {
				if status, body := c.nodes[0].fetch(used); status != http.StatusGone && status != http.StatusTooManyRequests {
					t.Errorf("a used token: %d %s", status, body)
				}
				answers.Add(1)
			}
		})
	}
	began := time.Now()
	hammered := redeemed(tokens[n : 2*n])
	took := time.Since(began)
	stopped.Store(true)
	wg.Wait()
	t.Logf("a node hammered with a used token by 64 callers (%.0f answers/s): the other node's redemption p50 %v, quiet %v; p99 %v, quiet %v: %.2f times (wanted: at most 1.5)",
		float64(answers.Load())/took.Seconds(), hammered[n/2], quiet[n/2], p99(hammered), p99(quiet), float64(p99(hammered))/float64(p99(quiet)))
}

// How many mints and redemptions one node and two do in a second, and which process
// the machine works for meanwhile.
func TestClusterFiguresOfThroughput(t *testing.T) {
	wholeOnly(t)
	c := startCluster(t)
	c.allow()
	both := c.nodes
	for _, nodes := range [][]*node{both[:1], both} {
		c.nodes = nodes
		n, callers := measured(2000)
		before := c.cpu(both)
		var tokens []string
		_, took := timed(1, 1, func(int) { tokens = c.tokens(callers, n) })
		t.Logf("%d node(s), %d callers: %.0f mints/s; CPU %s", len(nodes), callers, float64(n)/took.Seconds(), shares(before, c.cpu(both)))
		before = c.cpu(both)
		_, took = timed(callers, n, func(i int) {
			if status, body := nodes[i%len(nodes)].fetch(tokens[i]); status != http.StatusOK {
				t.Errorf("redemption: %d %s", status, body)
			}
		})
		t.Logf("%d node(s), %d callers: %.0f redemptions/s; CPU %s", len(nodes), callers, float64(n)/took.Seconds(), shares(before, c.cpu(both)))
	}
	c.nodes = both
	workflows, late := c.lateTasks()
	t.Logf("%d workflow tasks of %d workflows timed out", late, workflows)
}

// lateTasks counts the workflow tasks that no worker completed in time.
func (c *cluster) lateTasks() (workflows, late int) {
	t := c.t
	t.Helper()
	temporal, err := client.NewLazyClient(c.engines.temporalOptions(c.namespace))
	noError(t, err)
	defer temporal.Close()
	for next := []byte(nil); workflows == 0 || len(next) > 0; {
		page, err := temporal.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
			Query: "WorkflowType = 'Download'", NextPageToken: next,
		})
		noError(t, err)
		for _, w := range page.GetExecutions() {
			workflows++
			history := temporal.GetWorkflowHistory(t.Context(), w.GetExecution().GetWorkflowId(), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
			for history.HasNext() {
				event, err := history.Next()
				noError(t, err)
				if event.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT {
					late++
				}
			}
		}
		next = page.GetNextPageToken()
	}
	return workflows, late
}

// tokens mints with that many callers, on the nodes by turns.
func (c *cluster) tokens(callers, n int) []string {
	tokens := make([]string, n)
	l := newLedger()
	timed(callers, n, func(i int) { tokens[i] = l.mint(c.nodes[i%len(c.nodes)]).token })
	return tokens
}

// cpu is the time that processes have worked, their children included, in ticks.
func (c *cluster) cpu(nodes []*node) map[string]float64 {
	used := map[string]float64{"callers": ticksOf(os.Getpid())}
	for _, p := range c.engines.processes() {
		used[p.name] = treeTicks(p.cmd.Process.Pid)
	}
	for i, n := range nodes {
		used[fmt.Sprint("node ", i)] = treeTicks(n.cmd.Process.Pid)
	}
	return used
}

// treeTicks are those of a process and its children.
func treeTicks(pid int) float64 {
	sum := ticksOf(pid)
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // none if it has ended
	for _, task := range tasks {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for _, child := range strings.Fields(string(children)) {
			if id, err := strconv.Atoi(child); err == nil {
				sum += treeTicks(id)
			}
		}
	}
	return sum
}

// ticksOf are the user and system time of /proc/PID/stat (proc_pid_stat(5)), with those
// of children that have ended.
func ticksOf(pid int) (ticks float64) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0 // it has ended
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[11:15] {
		n, _ := strconv.ParseFloat(field, 64)
		ticks += n
	}
	return ticks
}

// shares are each process' part of the work between two moments.
func shares(before, after map[string]float64) string {
	var sum float64
	for name := range after {
		sum += after[name] - before[name]
	}
	var parts []string
	for name := range after {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", name, 100*(after[name]-before[name])/sum))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
