package host

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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

// battlefield is a host of the built-in plugins and the hostile ones.
type battlefield struct {
	*Host
	*testing.T  // of the attack under way
	catalogue   string
	outside     *outside
	rounds      atomic.Int64 // in which every built-in format was rendered
	peaceBroken atomic.Bool
}

// attackDeadline is that of a render during the attacks: short enough to wait
// for, and long enough for a busy machine.
const attackDeadline = 5 * time.Second

// attacks are what plugins do to the host. Each also checks what became of the
// plugin, and is made over and over until the other formats have been rendered
// often enough.
var attacks = []struct {
	name string
	make func(*battlefield)
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
	{"allocates without end", usesUp("allocate", "512 MiB of memory")},
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

// Whatever a plugin does, it costs itself alone: every other format is rendered
// meanwhile, over and over, and nothing is left of the attack (open checks that).
func TestHostilePlugins(t *testing.T) {
	t.Setenv("COUNTERSIGN_SECRET", "CANARY")
	b := newBattlefield(t)
	stop := b.serveOthers(t)
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			b.T = t
			for enough := b.rounds.Load() + roundsPerAttack(); b.rounds.Load() < enough && !b.peaceBroken.Load() && !t.Failed(); {
				attack.make(b)
			}
		})
	}
	stop()
	b.outside.untouched(t)
}

func newBattlefield(t *testing.T) *battlefield {
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
	b := &battlefield{T: t, catalogue: path, outside: newOutside(t)}
	b.Host, _ = open(t, Options{Catalogue: path, Deadline: attackDeadline})
	whole(t, state(t, b.Host, "hostile"))
	return b
}

// serveOthers renders the built-in formats, in rounds, until it is stopped.
func (b *battlefield) serveOthers(t *testing.T) (stop func()) {
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
					t.Errorf("another format suffered: %v", err)
					b.peaceBroken.Store(true)
					return
				}
			}
			b.rounds.Add(1)
		}
	})
	return func() { stopped.Store(true); served.Wait() }
}

// restart starts a plugin again that an earlier attack used.
func (b *battlefield) restart(plugin string) {
	b.Helper()
	if err := b.Reload(plugin); err != nil {
		b.Fatal(err)
	}
}

// startFails starts a plugin that is refused.
func startFails(plugin, detail string) func(*battlefield) {
	return func(b *battlefield) {
		if err := b.Reload(plugin); err == nil || !strings.Contains(err.Error(), detail) {
			b.Errorf("got %v", err)
		}
		if s := state(b.T, b.Host, plugin); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, detail) {
			b.Errorf("got %+v", s)
		}
	}
}

// usesUp renders a format of the hostile plugin, which is ended for that and
// started again.
func usesUp(format, detail string) func(*battlefield) {
	return func(b *battlefield) {
		b.restart("hostile")
		before := pid(b.T, b.Host, "hostile-pid")
		_, _ = b.Render(b.Context(), job(b.T, rsaJob, format)) // either way: spin answers
		eventually(b.T, "its state says "+detail, func() bool {
			s := state(b.T, b.Host, "hostile")
			return strings.Contains(s.Detail, detail) && s.State == runtime.StateRunning
		})
		if after := pid(b.T, b.Host, "hostile-pid"); after == before || !gone(before) {
			b.Errorf("the process was %d and is %d", before, after)
		}
	}
}

const overspent = "it used more of the CPU than renders were open"

// Many short renders of a plugin raise its limit of CPU time only by the time of
// these renders, and not for the threads that the plugin runs besides.
func spinsInside(b *battlefield) {
	b.restart("hostile")
	before, seen := pid(b.T, b.Host, "hostile-pid"), int64(-1)
	eventually(b.T, "its state says "+overspent, func() bool {
		if rounds := b.rounds.Load(); rounds != seen {
			seen = rounds
			_, _ = b.Render(b.Context(), job(b.T, rsaJob, "spin-inside")) // it may be ended meanwhile
		}
		return strings.Contains(state(b.T, b.Host, "hostile").Detail, overspent)
	})
	if after := pid(b.T, b.Host, "hostile-pid"); after == before || !gone(before) {
		b.Errorf("the process was %d and is %d", before, after)
	}
}

// tries has the hostile plugin try what it may not, by the names of probes.
func tries(probes ...string) func(*battlefield) {
	return func(b *battlefield) {
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
			b.Error("the process was replaced: being refused costs nothing")
		}
	}
}

// A panic is an error to the caller; one outside the SDK's reach ends the process.
func panicsMidRender(b *battlefield) {
	b.restart("bad")
	before := pid(b.T, b.Host)
	wantFailure(b.T, b.Host, job(b.T, rsaJob, "panic"), "its plugin refused or failed")
	if after := pid(b.T, b.Host); after != before {
		b.Error("a panic that the SDK catches cost the process")
	}
	wantFailure(b.T, b.Host, job(b.T, rsaJob, "burst"), "its plugin ended while rendering")
	if after := pid(b.T, b.Host); after == before || !gone(before) {
		b.Errorf("the process was %d and is %d", before, after)
	}
}

func neverAnswers(b *battlefield) {
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

// An answer that comes too late reaches no caller, and above all not the next one.
func answersLate(b *battlefield) {
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

// A binary that changes on the disk all the time runs only with the listed checksum.
func swapped(b *battlefield) {
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
		default: // der ran, and declared what it makes
			b.Errorf("got %v", err)
			started, refused = 3, 3
		}
	}
	close(stop)
	swaps.Wait()
	if got := render(b.T, b.Host, job(b.T, rsaJob, "honest")); len(got) == 0 {
		b.Error("what was listed does not run")
	}
}

// exchange makes the plugin swapped another program, from one moment to the next.
func exchange(t *testing.T, catalogue, program string) {
	path := filepath.Join(filepath.Dir(catalogue), "swapped")
	if err := errors.Join(os.Symlink(filepath.Join(binaries(t), program), path+"-next"), os.Rename(path+"-next", path)); err != nil {
		t.Error(err)
	}
}

func asksForKeys(b *battlefield) {
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
		b.Errorf("it was handed %s (%v)", got, err)
	}
}
