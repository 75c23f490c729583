//go:build cluster

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
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
// The factor is wanted to be 1.5 at most. Two nodes do not share their processors, so one
// processor is for that node and its callers, and another for all the rest.
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
	status, err := os.ReadFile("/proc/self/status")
	noError(t, err)
	before := regexp.MustCompile(`Cpus_allowed_list:\s+(\S+)`).FindSubmatch(status)
	t.Cleanup(func() { runOn(t, string(before[1]), tree(os.Getpid())) })
	runOn(t, "1", tree(os.Getpid()))
	runOn(t, "0", tree(c.nodes[0].cmd.Process.Pid))
	quiet := redeemed(tokens[:n])
	hammer := exec.Command("taskset", "-c", "0", os.Args[0], "-test.run", "^TestClusterHammer$", "-test.v")
	hammer.Env = append(os.Environ(), hammered+"="+c.nodes[0].url+"/api/v1/downloads/"+used)
	stop, err := hammer.StdinPipe()
	noError(t, err)
	out, err := hammer.StdoutPipe()
	noError(t, err)
	noError(t, hammer.Start())
	said := bufio.NewReader(out)
	for line := ""; !strings.HasPrefix(line, "hammering"); {
		line, err = said.ReadString('\n')
		noError(t, err)
	}
	began := time.Now()
	busy := redeemed(tokens[n : 2*n])
	took := time.Since(began)
	noError(t, stop.Close())
	rest, err := io.ReadAll(said)
	noError(t, err)
	noError(t, hammer.Wait())
	_, after, _ := strings.Cut(string(rest), "answers: ")
	var answers float64
	_, err = fmt.Sscan(after, &answers)
	noError(t, err)
	t.Logf("a node hammered with a used token by 64 callers (%.0f answers/s): the other node's redemption p50 %v, quiet %v; p99 %v, quiet %v: %.2f times (wanted: at most 1.5)",
		answers/took.Seconds(), busy[n/2], quiet[n/2], p99(busy), p99(quiet), float64(p99(busy))/float64(p99(quiet)))
}

// hammered is the variable with the URL of a used token, for the process that asks for it.
const hammered = "COUNTERSIGN_TEST_HAMMERED"

// 64 callers ask for a used token until standard input ends. A process of its own runs this.
func TestClusterHammer(t *testing.T) {
	url := os.Getenv(hammered)
	if url == "" {
		t.Skip("TestClusterFigureOfAHammeredNode runs it")
	}
	var stopped atomic.Bool
	var answers atomic.Int64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for !stopped.Load() {
				answer, err := httpClient.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusGone && answer.StatusCode != http.StatusTooManyRequests {
					t.Errorf("a used token: %d", answer.StatusCode)
				}
				if answers.Add(1) == 64 {
					fmt.Println("hammering")
				}
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until it ends
	stopped.Store(true)
	callers.Wait()
	fmt.Println("answers:", answers.Load())
}

// runOn lets processes run on these processors only.
func runOn(t *testing.T, processors string, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if out, err := exec.Command("taskset", "-a", "-c", "-p", processors, strconv.Itoa(pid)).CombinedOutput(); err != nil && ticksOf(pid) > 0 {
			t.Errorf("taskset: %v\n%s", err, out)
		}
	}
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
func treeTicks(pid int) (sum float64) {
	for _, each := range tree(pid) {
		sum += ticksOf(each)
	}
	return sum
}

// tree is a process and its children, and theirs.
func tree(pid int) []int {
	pids := []int{pid}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // none if it has ended
	for _, task := range tasks {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for _, child := range strings.Fields(string(children)) {
			if id, err := strconv.Atoi(child); err == nil {
				pids = append(pids, tree(id)...)
			}
		}
	}
	return pids
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
