package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/host"
)

// processes are those of a plugin that this process started.
func processes(t *testing.T, plugin string) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	must(t, err)
	for _, list := range lists {
		children, _ := os.ReadFile(list) // the thread may be gone
		for child := range strings.FieldsSeq(string(children)) {
			name, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if pid, err := strconv.Atoi(child); err == nil && strings.HasPrefix(string(name), "countersign-plugin-"+plugin+"\x00") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// stopped gives the server a host whose plugin pem renders one file at a time and is
// stopped until the test calls goOn, within a minute.
func (f *fixture) stopped(o host.Options) (goOn func()) {
	f.t.Helper()
	others := processes(f.t, "pem")
	o.Concurrency, o.Metrics, o.Deadline = 1, f.registry, time.Minute
	f.ownPlugins(o)
	own := slices.DeleteFunc(processes(f.t, "pem"), func(pid int) bool { return slices.Contains(others, pid) })
	if len(own) != 1 {
		f.t.Fatalf("the plugin runs as %v", own)
	}
	must(f.t, syscall.Kill(own[0], syscall.SIGSTOP))
	return func() { must(f.t, syscall.Kill(own[0], syscall.SIGCONT)) }
}

// fetch starts to fetch a file and returns when the metrics show that.
func (f *fixture) fetch(token wire.Secret, shown string) <-chan answer {
	f.t.Helper()
	done := make(chan answer, 1)
	go func() {
		a := answer{t: f.t} // the answer to send if do ends this goroutine
		defer func() { done <- a }()
		a = f.do("", "GET", "/downloads/"+token.Reveal(), "")
	}()
	f.shows(shown)
	return done
}

// shows waits until the metrics hold a line.
func (f *fixture) shows(line string) {
	f.t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		page := f.operators("//metrics").is(200)
		if strings.Contains(string(page.body), "\n"+line+"\n") {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			f.t.Fatalf("the metrics never show %s:\n%s", line, page.body)
		}
	}
}

const (
	inFlight = `countersign_plugin_renders_in_flight{plugin="pem"} `
	waiting  = `countersign_plugin_queue_waiting{plugin="pem"} `
	renders  = `countersign_plugin_renders_total{format="cert",outcome="%s",plugin="pem"} %d`
)

// A caller whose token ended while the call waited in the queue is refused, and
// nothing is rendered for it.
func TestQueueChecksTokensAgain(t *testing.T) {
	f := newFixture(t)
	goOn := f.stopped(host.Options{Queue: time.Minute})
	var m [5]wire.Minted
	for i := range m {
		m[i] = f.mint("operator", "shop", `{"format":"cert","ttl_seconds":`+[]string{"300", "300", "300", "100", "300"}[i]+`}`)
	}
	var got [len(m)]<-chan answer
	got[0] = f.fetch(m[0].Token, inFlight+"1")
	for i := 1; i < len(m); i++ {
		got[i] = f.fetch(m[i].Token, waiting+strconv.Itoa(i))
	}
	f.do("operator", "DELETE", "{p}/requests/"+m[1].RequestID+"/token", "").is(204)
	f.unrecorded = true
	used, err := f.store.Token(t.Context(), engine.SecretDigest(engine.Secret(m[2].Token)))
	must(t, err)
	_, won, err := f.store.Settle(t.Context(), engine.Settlement{ // as another node would
		Digest: used.Digest, Kind: engine.Consumed, Attempt: "elsewhere", RequestID: used.RequestID, ProjectID: used.ProjectID, Time: used.IssuedAt,
	}, engine.Record{Audit: engine.AuditEntry{Ref: "elsewhere", ProjectID: used.ProjectID, Time: used.IssuedAt, Action: engine.ActionCertificateDownloaded}})
	if err != nil || !won {
		t.Fatal(won, err)
	}
	f.skew.Store(int64(100 * time.Second))
	goOn()
	(<-got[0]).is(200)
	(<-got[1]).problem(410, engine.CodeTokenRevoked)
	(<-got[2]).problem(410, engine.CodeTokenConsumed)
	(<-got[3]).problem(410, engine.CodeTokenExpired)
	(<-got[4]).is(200)
	f.shows(fmt.Sprintf(renders, "rendered", 2))
	f.shows(fmt.Sprintf(renders, "unwanted", 3))
	if reused := <-f.workflows.reused; reused.Digest != used.Digest {
		t.Errorf("%+v was reported as reused", reused)
	}
	if refused := f.entries(f.project.ID, engine.ActionDownloadRefused); len(refused) != 3 || refused[0].Outcome != engine.AuditRefused {
		t.Errorf("audit entries: %+v", refused)
	}
}

// A caller for whom the queue has no place learns when to retry, and the token
// works then.
func TestFullQueueConsumesNoToken(t *testing.T) {
	f := newFixture(t)
	goOn := f.stopped(host.Options{Queue: time.Millisecond})
	first := f.fetch(f.mint("operator", "shop", `{"format":"cert"}`).Token, inFlight+"1")
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	refused := f.do("", "GET", "/downloads/"+m.Token.Reveal(), "")
	refused.problem(503, engine.CodeUnavailable)
	if after := refused.header.Get("Retry-After"); after != "5" {
		t.Errorf("Retry-After is %q", after)
	}
	goOn()
	(<-first).is(200)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
}
