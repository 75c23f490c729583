package host

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
)

// roundsPerAttack is how often every other format is rendered during each attack.
func roundsPerAttack() int64 {
	if soak {
		return 20
	}
	return 1
}

// attackedHost is a host with the built-in plugins and the hostile ones.
type attackedHost struct {
	*Host
	*testing.T  // the test of the current attack
	catalogue   string
	outside     *outside
	rounds      atomic.Int64 // how often all built-in formats were rendered
	otherFailed atomic.Bool
}

// attackDeadline is the deadline of a render during the attacks. It is short enough to
// wait for, and long enough for a busy machine.
const attackDeadline = 5 * time.Second

// attacks are the attacks of plugins on the host. Each also checks the plugin's state
// afterwards. An attack is repeated until the other formats have been rendered
// roundsPerAttack times.
var attacks = []struct {
	name string
	make func(*attackedHost)
}{
	{"panics at once", startFails("panics", "exit status 2")},
	{"panics mid-render", panicsMidRender},
	{"never answers", neverAnswers},
	{"answers after the deadline", answersLate},
	{"returns 1 GiB", usesUp("giant", "512 MiB of memory")},
	{"floods stdout and stderr", usesUp("flood", "it answered nothing for 5s")},
	{"forks and detaches", tries("start", "fork", "setsid", "outlive")},
	{"opens a socket", tries("listen tcp", "dial tcp", "dial udp", "dial unix", "send unix", "look up", "raw socket", "netlink", "vsock", "io_uring")},
	{"reads /etc/passwd, the data folder and its parent's environment", tries("read", "list", "stat", "path", "descriptor")},
	// On a busy machine, the deadline of the render comes before the limit of memory.
	{"allocates without end", usesUp("allocate", "512 MiB of memory", "it answered nothing for 5s")},
	{"wrong handshake", startFails("gibberish", "it speaks protocol 99")},
	{"wrong checksum", startFails("wrong", "its checksum is not the one in the catalogue")},
	{"swapped on disk between check and start", swapped},
	{"claims another's format id", startFails("thief", "its format cert claims the name cert, which plugin pem has")},
	{"declares no key and asks for one", asksForKeys},
	{"a file name with ../", startFails("path", "its format path has a file name that does not match")},
	{"a file name with CR LF", startFails("header", "its format header has a file name that does not match")},
	{"a file name with a NUL", startFails("nul", "its format nul has a file name that does not match")},
	{"spins", usesUp("spin", overspent)},
	{"spins inside renders", spinsInside},
	{"starts threads without end", usesUp("threads", "it ran more than its 256 threads")},
	{"litters its folder", usesUp("litter", "it put more than 16 files into its socket folder")},
}

// An attack harms only the plugin itself: every other format is rendered meanwhile,
// and the attack leaves nothing behind (open checks that).
func TestHostilePlugins(t *testing.T) {
	t.Setenv("COUNTERSIGN_SECRET", "CANARY")
	b := newAttackedHost(t)
	stop := b.serveOthers(t)
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			b.T = t
			for enough := b.rounds.Load() + roundsPerAttack(); b.rounds.Load() < enough && !b.otherFailed.Load() && !t.Failed(); {
				attack.make(b)
			}
		})
	}
	stop()
	b.outside.untouched(t)
}

func newAttackedHost(t *testing.T) *attackedHost {
	t.Helper()
	named := func(name string) catalogue.Entry { e := hostile(); e.Name = name; return e }
	swapped := misbehaving("swapped", nil, "honest")
	swapped.Path = "swapped"
	path := folder(t, append(builtIn(t), bad(), hostile(), named("panics"), named("gibberish"), misbehaving("wrong", nil, "fine"),
		misbehaving("thief", nil, "cert"), misbehaving("path", nil, "path"), misbehaving("header", nil, "header"), misbehaving("nul", nil, "nul"),
		misbehaving("tardy", nil, "late", "prompt"))...)
	c, err := catalogue.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Plugins {
		if c.Plugins[i].Name == "wrong" {
			c.Plugins[i].SHA256 = strings.Repeat("0", 64)
		}
		if c.Plugins[i].Name == "bad" {
			swapped.SHA256 = c.Plugins[i].SHA256
		}
	}
	c.Plugins = append(c.Plugins, swapped)
	writeJSON(t, path, c)
	exchange(t, path, "misbehave")
	b := &attackedHost{T: t, catalogue: path, outside: newOutside(t)}
	b.Host, _ = open(t, Options{Catalogue: path, Deadline: attackDeadline})
	requireFullSandbox(t, state(t, b.Host, "hostile"))
	return b
}

// serveOthers renders the built-in formats, in rounds, until it is stopped.
func (b *attackedHost) serveOthers(t *testing.T) (stop func()) {
	var formats []string
	for _, e := range builtIn(t) {
		formats = append(formats, e.Formats...)
	}
	var stopped atomic.Bool
	var served sync.WaitGroup
	served.Go(func() {
		for !stopped.Load() {
			for _, format := range formats {
				if _, err := b.Render(t.Context(), job(t, rsaJob, format)); err != nil {
					t.Errorf("another format failed during the attack: %v", err)
					b.otherFailed.Store(true)
					return
				}
			}
			b.rounds.Add(1)
		}
	})
	return func() { stopped.Store(true); served.Wait() }
}

// restart reloads a plugin that an earlier attack has used.
func (b *attackedHost) restart(plugin string) {
	b.Helper()
	if err := b.Reload(plugin); err != nil {
		b.Fatal(err)
	}
}

// startFails starts a plugin that is refused.
func startFails(plugin, detail string) func(*attackedHost) {
	return func(b *attackedHost) {
		if err := b.Reload(plugin); err == nil || !strings.Contains(err.Error(), detail) {
			b.Errorf("got %v", err)
		}
		if s := state(b.T, b.Host, plugin); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, detail) {
			b.Errorf("got %+v", s)
		}
	}
}

// usesUp renders a format of the hostile plugin. The host must kill the plugin for one
// of the reasons, and start it again.
func usesUp(format string, reasons ...string) func(*attackedHost) {
	return func(b *attackedHost) {
		b.restart("hostile")
		before := pid(b.T, b.Host, "hostile-pid")
		_, _ = b.Render(b.Context(), job(b.T, rsaJob, format)) // only spin returns a file
		eventually(b.T, "its state says "+strings.Join(reasons, " or "), func() bool {
			s := state(b.T, b.Host, "hostile")
			said := slices.ContainsFunc(reasons, func(reason string) bool { return strings.Contains(s.Detail, reason) })
			return said && s.State == runtime.StateRunning
		})
		if after := pid(b.T, b.Host, "hostile-pid"); after == before || !gone(before) {
			b.Errorf("the process was %d and is %d", before, after)
		}
	}
}

const overspent = "it used more of the CPU than renders were open"

// Many short renders allow the plugin only as much CPU time as they are open, not
// threads that keep running.
func spinsInside(b *attackedHost) {
	b.restart("hostile")
	before, lastRound := pid(b.T, b.Host, "hostile-pid"), int64(-1)
	eventually(b.T, "its state says "+overspent, func() bool {
		if rounds := b.rounds.Load(); rounds != lastRound {
			lastRound = rounds
			_, _ = b.Render(b.Context(), job(b.T, rsaJob, "spin-inside")) // the host may kill it meanwhile
		}
		return strings.Contains(state(b.T, b.Host, "hostile").Detail, overspent)
	})
	if after := pid(b.T, b.Host, "hostile-pid"); after == before || !gone(before) {
		b.Errorf("the process was %d and is %d", before, after)
	}
}

// tries makes the hostile plugin try forbidden operations, by the names of probes.
func tries(probes ...string) func(*attackedHost) {
	return func(b *attackedHost) {
		before, tried := pid(b.T, b.Host, "hostile-pid"), 0
		for _, attempt := range b.outside.attempts() {
			for _, name := range probes {
				if attempt[0] != name {
					continue
				}
				tried++
				if got := probe(b.T, b.Host, attempt[0], attempt[1]); !strings.HasPrefix(got, "refused: ") {
					b.Errorf("%s %s: %s", attempt[0], attempt[1], got)
				}
			}
		}
		if got := probe(b.T, b.Host, "environment", ""); strings.Contains(got, "CANARY") || tried < len(probes) {
			b.Errorf("after %d attempts its environment is %s", tried, got)
		}
		if after := pid(b.T, b.Host, "hostile-pid"); after != before {
			b.Error("the process was replaced although it only tried forbidden operations")
		}
	}
}

// A panic in Render is an error for the caller. A panic in another goroutine, which
// the SDK cannot catch, ends the process.
func panicsMidRender(b *attackedHost) {
	b.restart("bad")
	before := pid(b.T, b.Host)
	wantFailure(b.T, b.Host, job(b.T, rsaJob, "panic"), "its plugin refused or failed")
	if after := pid(b.T, b.Host); after != before {
		b.Error("a panic that the SDK catches ended the process")
	}
	wantFailure(b.T, b.Host, job(b.T, rsaJob, "burst"), "its plugin ended while rendering")
	if after := pid(b.T, b.Host); after == before || !gone(before) {
		b.Errorf("the process was %d and is %d", before, after)
	}
}

func neverAnswers(b *attackedHost) {
	b.restart("bad")
	before := pid(b.T, b.Host)
	wantFailure(b.T, b.Host, job(b.T, rsaJob, "hang"), "it took longer than 5s")
	if after := pid(b.T, b.Host); after == before || !gone(before) {
		b.Errorf("the process was %d and is %d", before, after)
	}
	if s := state(b.T, b.Host, "bad"); !strings.Contains(s.Detail, "it answered nothing for 5s") {
		b.Errorf("got %+v", s)
	}
}

// An answer after the deadline reaches no caller, in particular not the next one.
func answersLate(b *attackedHost) {
	b.restart("tardy")
	late := make(chan error)
	go func() { _, err := b.Render(b.Context(), job(b.T, rsaJob, "late")); late <- err }()
	for done := false; !done; {
		select {
		case err := <-late:
			if !errors.Is(err, engine.CodeRendererFailed) || !strings.Contains(err.Error(), "it took longer than 5s") {
				b.Errorf("got %v", err)
			}
			done = true
		default:
		}
		if got := render(b.T, b.Host, job(b.T, rsaJob, "prompt")); string(got) == "too late" {
			b.Errorf("got %q", got)
		}
	}
	if s := state(b.T, b.Host, "tardy"); s.State != runtime.StateRunning || s.Detail != "" {
		b.Errorf("got %+v", s)
	}
}

// While the binary on the disk changes all the time, only the binary that the
// catalogue lists is run.
func swapped(b *attackedHost) {
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				exchange(b.T, b.catalogue, "misbehave")
				return
			default:
				exchange(b.T, b.catalogue, []string{"der", "misbehave"}[i%2])
			}
		}
	})
	for started, refused := 0, 0; started < 3 || refused < 3; {
		switch err := b.Reload("swapped"); {
		case err == nil:
			started++
		case strings.HasSuffix(err.Error(), "its checksum is not the one in the catalogue"):
			refused++
		default: // der was started and declared its own formats
			b.Errorf("got %v", err)
			started, refused = 3, 3
		}
	}
	close(stop)
	swaps.Wait()
	if got := render(b.T, b.Host, job(b.T, rsaJob, "honest")); len(got) == 0 {
		b.Error("the listed binary does not run")
	}
}

// exchange replaces the binary of the plugin swapped, atomically.
func exchange(t *testing.T, catalogue, program string) {
	path := filepath.Join(filepath.Dir(catalogue), "swapped")
	if err := errors.Join(os.Symlink(filepath.Join(binaries(t), program), path+"-next"), os.Rename(path+"-next", path)); err != nil {
		t.Error(err)
	}
}

func asksForKeys(b *attackedHost) {
	b.restart("bad")
	j := job(b.T, rsaJob, "echo")
	j.PrivateKey, j.Passphrase = []byte("CANARY-KEY"), "CANARY-PASSPHRASE"
	got := render(b.T, b.Host, j)
	var found struct {
		Key        []byte
		Passphrase string
		Files      map[string][]byte
	}
	if err := json.Unmarshal(got, &found); err != nil || found.Key != nil || found.Passphrase != "" || len(found.Files) > 0 || strings.Contains(string(got), "CANARY") {
		b.Errorf("it received %s (%v)", got, err)
	}
}
