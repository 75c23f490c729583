package policies

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-dev/countersign/engine"
)

// ruleDirectory is a directory of rules with an evaluator that watches it.
type ruleDirectory struct {
	t       *testing.T
	dir     string
	e       *Evaluator
	metrics *prometheus.Registry
	log     *logBuffer
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) count(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), what)
}

// quick are limits that endless rules exceed soon, and other rules never.
var quick = limits{evaluation: 2 * time.Second, test: 2 * time.Second, revision: 20 * time.Second}

func newRuleDirectory(t *testing.T, files map[string]string) *ruleDirectory {
	t.Helper()
	r := &ruleDirectory{t: t, dir: t.TempDir(), metrics: prometheus.NewRegistry(), log: &logBuffer{}}
	if err := os.Chmod(r.dir, 0o700); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	for name, text := range files {
		r.write(name, text)
	}
	var err error
	r.e, err = open(t.Context(), r.options(), quick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.e.Close)
	return r
}

func (r *ruleDirectory) options() Options {
	return Options{Dir: r.dir, Log: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: r.metrics, poll: 2 * time.Millisecond}
}

func (r *ruleDirectory) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *ruleDirectory) remove(name string) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for a status.
func (r *ruleDirectory) until(what string, holds func(engine.PolicyStatus) bool) engine.PolicyStatus {
	r.t.Helper()
	late := time.After(time.Minute)
	for {
		if s := r.e.Status(); holds(s) {
			return s
		}
		select {
		case <-late:
			r.t.Fatalf("no %s within a minute: %+v", what, r.e.Status())
		case <-time.After(time.Millisecond):
		}
	}
}

// refuses waits for a problem, and checks that the revision before stays active.
func (r *ruleDirectory) refuses(before engine.PolicyStatus, problem string) {
	r.t.Helper()
	s := r.until("problem "+problem, func(s engine.PolicyStatus) bool { return strings.Contains(s.Problem, problem) })
	if s.Revision != before.Revision || !s.LoadedAt.Equal(before.LoadedAt) {
		r.t.Errorf("%+v, want the revision of %+v", s, before)
	}
	r.gauge("1")
}

// loads waits for another revision that has no problem.
func (r *ruleDirectory) loads(before engine.PolicyStatus) engine.PolicyStatus {
	r.t.Helper()
	s := r.until("other revision", func(s engine.PolicyStatus) bool { return s.Revision != before.Revision })
	if s.Problem != "" || s.LoadedAt.Before(before.LoadedAt) {
		r.t.Errorf("%+v after %+v", s, before)
	}
	r.gauge("0")
	return s
}

// gauge waits for the metric, which is set after the status.
func (r *ruleDirectory) gauge(want string) {
	r.t.Helper()
	const name = "countersign_policy_reload_failing"
	text := "# HELP " + name + " 1 while the policy directory cannot be loaded, else 0.\n# TYPE " + name + " gauge\n" + name + " " + want + "\n"
	r.until("metric of "+want, func(engine.PolicyStatus) bool {
		return testutil.GatherAndCompare(r.metrics, strings.NewReader(text), name) == nil
	})
}

// explanation is why a download of the example is denied, empty if it is allowed.
func (r *ruleDirectory) explanation() string {
	r.t.Helper()
	v, err := r.e.Evaluate(r.t.Context(), example())
	if err != nil {
		r.t.Fatal(err)
	}
	if v.Outcome == engine.OutcomeAllow {
		return ""
	}
	return strings.Join(v.Explanation, " ")
}

func denies(why string) string { return "package countersign\n\ndeny contains \"" + why + "\"\n" }

// An invalid revision leaves the last valid one active until the next valid one.
func TestAnInvalidRevisionLeavesTheLastValidOne(t *testing.T) {
	for name, c := range map[string]struct {
		bad     map[string]string
		problem string
	}{
		"syntax error": {map[string]string{"team.rego": "package countersign\n\ndeny contains if"}, "team.rego:3: "},
		"half written": {map[string]string{"team.rego": denies("Second.")[:30]}, "team.rego:3: "},
		"empty file":   {map[string]string{"team.rego": ""}, "empty module"},
		"failing test": {map[string]string{
			"team_test.rego": "package team_test\n\nimport data.countersign\n\n" +
				"test_allows if {\n\td := countersign.decision with input as data.samples.operator_mints_key\n\td.outcome == \"allow\"\n}\n",
		}, "team_test.rego:5: test team_test.test_allows fails"},
		"test without end": {map[string]string{"team_test.rego": strings.Replace(endless, `deny contains "No."`, "test_it", 1)}, "test_it did not end within "},
		"rule without end": {map[string]string{"more.rego": endless}, "did not end within "},
		"redefinition":     {map[string]string{"team.rego": "package countersign\n\nallowed := true\n"}, "team.rego:3: allowed is a name of the built-in rules"},
		"unknown member":   {map[string]string{"team.rego": "package countersign\n\ndeny contains \"No.\" if input.polcy.x\n"}, "team.rego:3: undefined ref: input.polcy.x"},
		"no decision":      {map[string]string{"team.rego": "package countersign\n\napproval contains 7\n"}, "no decision on the sample "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRuleDirectory(t, map[string]string{"team.rego": denies("First.")})
			first := r.e.Status()
			for file, text := range c.bad {
				r.write(file, text)
			}
			r.refuses(first, c.problem)
			if got := r.explanation(); got != "First." {
				t.Errorf("%q decides", got)
			}
			for file := range c.bad {
				r.remove(file)
			}
			r.write("team.rego", denies("Third."))
			r.until("third revision", func(engine.PolicyStatus) bool { return r.explanation() == "Third." })
			r.loads(first)
		})
	}
}

// An invalid revision is checked once, again after a while, and logged once.
func TestAnInvalidRevisionIsLoggedOnce(t *testing.T) {
	r := newRuleDirectory(t, map[string]string{"team.rego": denies("First.")})
	r.e.Close()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := r.options()
	o.Metrics, o.Clock = nil, func() time.Time { return now }
	w, err := newWatcher(r.e, o)
	if err != nil {
		t.Fatal(err)
	}
	tries := func(times int) (n int) {
		for range times {
			if w.check(t.Context()) != nil {
				n++
			}
		}
		return n
	}
	r.write("team.rego", "package countersign\n\ndeny contains")
	if n := tries(5); n != 1 {
		t.Errorf("checked %d times at once", n)
	}
	now = now.Add(retryAfter)
	if n := tries(5); n != 1 {
		t.Errorf("checked %d times a while later", n)
	}
	if n := r.log.count("the policy directory is invalid"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	r.write("team.rego", "package countersign\n\nrole := 1")
	if n := tries(5); n != 1 || r.log.count("the policy directory is invalid") != 2 {
		t.Errorf("another revision is checked %d times, in all %d are logged", n, r.log.count("the policy directory is invalid"))
	}
	r.write("team.rego", denies("Second."))
	if n := tries(5); n != 0 || r.explanation() != "Second." {
		t.Errorf("a valid one is refused %d times; %q decides", n, r.explanation())
	}
	// A change is checked when it was seen twice.
	r.write("team.rego", denies("Third."))
	for _, want := range []string{"Second.", "Third."} {
		if err := w.check(t.Context()); err != nil || r.explanation() != want {
			t.Errorf("%q decides (%v), want %q", r.explanation(), err, want)
		}
	}
	for outcome, want := range map[string]float64{"refused": 2, "loaded": 2} {
		if n := testutil.ToFloat64(w.reloads.WithLabelValues(outcome)); n != want {
			t.Errorf("%v are counted as %s, want %v", n, outcome, want)
		}
	}
}

// TestDeletionIsAChange deletes one file, then all rules, then the directory. The
// last rules stay active, so that a lost directory makes no decision less strict.
func TestDeletionIsAChange(t *testing.T) {
	r := newRuleDirectory(t, map[string]string{"one.rego": denies("One."), "two.rego": denies("Two."), "README.md": "no rules"})
	both := r.e.Status()
	r.remove("two.rego")
	one := r.loads(both)
	if got := r.explanation(); got != "One." {
		t.Errorf("%q decides", got)
	}
	r.write("one_test.rego", "package one_test\n")
	r.remove("one.rego")
	r.refuses(one, "read policy directory policies.dir: it holds no rules")
	r.remove("one_test.rego")
	r.refuses(one, "it holds no rules")
	if got := r.explanation(); got != "One." {
		t.Errorf("%q decides", got)
	}
	if n := r.log.count("it holds no rules"); n == 0 {
		t.Error("the log does not name the problem")
	}
	r.write("one.rego", denies("One."))
	r.until("end of the problem", func(s engine.PolicyStatus) bool { return s.Problem == "" && s.Revision == one.Revision })
	r.gauge("0")
	aside := r.dir + ".aside"
	if err := os.Rename(r.dir, aside); err != nil {
		t.Fatal(err)
	}
	r.refuses(r.e.Status(), "open policies.dir: no such file or directory")
	if got := r.explanation(); got != "One." {
		t.Errorf("%q decides", got)
	}
	if err := os.Rename(aside, r.dir); err != nil {
		t.Fatal(err)
	}
	r.until("end of the problem", func(s engine.PolicyStatus) bool { return s.Problem == "" })
}

// TestConfigMap swaps a directory as Kubernetes does: files are links through
// ..data, which is replaced by a rename.
func TestConfigMap(t *testing.T) {
	r := &ruleDirectory{t: t, dir: t.TempDir(), metrics: prometheus.NewRegistry(), log: &logBuffer{}}
	mount := func(version, why string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(r.dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		r.write(version+"/team.rego", denies(why))
		fresh := filepath.Join(r.dir, "..data_tmp")
		if err := os.Symlink(version, fresh); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(r.dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	mount("..1", "First.")
	if err := os.Symlink("..data/team.rego", filepath.Join(r.dir, "team.rego")); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.e, err = open(t.Context(), r.options(), quick); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.e.Close)
	first := r.e.Status()
	if got := r.explanation(); got != "First." {
		t.Errorf("%q decides", got)
	}
	mount("..2", "Second.")
	r.loads(first)
	if got := r.explanation(); got != "Second." {
		t.Errorf("%q decides", got)
	}
}

// An invalid directory is an error at the start, because the built-in rules alone
// may allow what the team's rules deny.
func TestAnInvalidDirectoryAtTheStart(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    string
	}{
		"missing":  {os.Remove, "no such file or directory"},
		"empty":    {func(string) error { return nil }, "it holds no rules"},
		"no rules": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o600) }, "unset policies.dir"},
		"a file":   {func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) }, "not a directory"},
		"no Rego":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.rego"), []byte("package"), 0o600) }, "a.rego:1: "},
		"a folder": {func(dir string) error { return os.Mkdir(filepath.Join(dir, "sub"), 0o700) }, "is a folder"},
		"dangling": {func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "a.rego")) }, "no such file"},
		"endless":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.rego"), []byte(endless), 0o600) }, "no decision on the sample"},
		"too large": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "a.rego"), bytes.Repeat([]byte("#"), maxFileSize+1), 0o600)
		}, "larger than"},
		"too many": {func(dir string) error {
			for i := range maxFiles + 1 {
				if err := os.WriteFile(filepath.Join(dir, strings.Repeat("a", i%200+1)+strings.Repeat("b", i/200)+".rego"), []byte("package a"), 0o600); err != nil {
					return err
				}
			}
			return nil
		}, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := c.prepare(dir); err != nil {
				t.Fatal(err)
			}
			e, err := open(t.Context(), Options{Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, quick)
			if e != nil || err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v, want %s and the directory", err, c.want)
			}
		})
	}
}

// Rules that others than their owner can change are not loaded.
func TestDirectoryOfOthersIsRefused(t *testing.T) {
	const rule = "package countersign\n"
	for _, file := range []string{".", "team.rego"} {
		r := newRuleDirectory(t, map[string]string{"team.rego": rule})
		before := r.e.Status()
		if err := os.Chmod(filepath.Join(r.dir, file), 0o770); err != nil {
			t.Fatal(err)
		}
		e, err := Open(t.Context(), Options{Dir: r.dir, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			e.Close()
			t.Fatalf("%s can be written by its group, and the rules are loaded", file)
		}
		if !strings.Contains(err.Error(), "by other users") {
			t.Fatal(err)
		}
		r.refuses(before, "by other users")
	}
}
