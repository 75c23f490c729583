package conformance

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign/plugins/declaration"
	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
	"github.com/countersign-dev/countersign/plugins/sdk/specimen"
)

// description checks that the plugin declares valid formats, the same at each start.
func (s *suite) description(ctx context.Context) error {
	if err := declaration.Check(s.trial.Description()); err != nil {
		return err
	}
	again, err := s.launch(ctx)
	if err != nil {
		return fmt.Errorf("at a second start: %w", err)
	}
	defer func() { _ = again.Close() }() // a folder that cannot be removed is not a fault of the plugin
	same := slices.EqualFunc(s.formats, again.Description().GetFormats(), func(a, b *pluginv1.Format) bool { return proto.Equal(a, b) })
	if !same {
		return errors.New("it declares other formats at a second start")
	}
	return nil
}

// confinement reports what was enforced in this run. What the system cannot enforce
// is not a fault of the plugin.
func (s *suite) confinement() {
	const check = "confinement"
	held := s.trial.Sandbox()
	detail := "enforced: " + strings.Join(held.Enforced, ", ")
	switch missing := strings.Join(held.Missing, "; "); {
	case missing == "":
		s.record(check, "", nil, detail)
	case s.trial.Dynamic():
		s.record(check, "", errors.New(missing), "")
	default:
		s.skip(check, "", "this system lacks "+missing)
	}
}

// formatCheck runs the checks on one format.
type formatCheck struct {
	*suite
	f      *pluginv1.Format
	jobs   []sdk.Job // with the options that the format requires
	files  [][]byte  // for each job, rendered by the first check
	opens  bool      // the suite can open its files
	steady bool      // the same job makes the same file
	secret bool      // key or passphrase go into its files
	holds  bool      // its files may contain the key
}

// check is one check. It returns the detail of the report if it passes.
type check struct {
	name string
	run  func(context.Context) (detail string, err error)
}

// format runs the checks on a format, but not the one that needs all formats. If the
// format does not render, it skips the others.
func (s *suite) format(ctx context.Context, f *pluginv1.Format) {
	key, passphrase, holds := s.needs(f)
	t := &formatCheck{suite: s, f: f, jobs: slices.Clone(s.jobs), files: make([][]byte, len(s.jobs)), secret: key || passphrase, holds: holds}
	if key && !s.Key || passphrase && !s.Passphrase {
		s.skip("render", f.GetId(), "it needs a key or passphrase that is not granted")
		return
	}
	if !t.run(ctx, check{"render", t.renders}) {
		return
	}
	s.rendering = append(s.rendering, t)
	for _, c := range []check{
		{"parse", t.parses}, {"no chain", t.withoutChain}, {"repeat", t.repeats}, {"options", t.options},
		{"names", t.names}, {"key match", t.keyMatch}, {"extremes", t.extremes},
		{"cancellation", t.cancellation}, {"concurrency", t.concurrency},
	} {
		t.run(ctx, c)
	}
}

// run runs a check. After a failure it stops the process, so that the next check does
// not fail for the same reason.
func (t *formatCheck) run(ctx context.Context, c check) bool {
	err := t.start(ctx)
	var detail string
	if err == nil {
		detail, err = c.run(ctx)
	}
	err = cmp.Or(err, t.ended())
	if why, skipped := errors.AsType[notApplicable](err); skipped {
		t.skip(c.name, t.f.GetId(), why.Error())
		return true
	}
	t.record(c.name, t.f.GetId(), err, detail)
	if err != nil {
		t.stop()
	}
	return err == nil
}

// notApplicable says why a check does not apply.
type notApplicable struct{ error }

func doesNotApply(why string) error { return notApplicable{errors.New(why)} }

// renders makes a file of every job.
func (t *formatCheck) renders(ctx context.Context) (string, error) {
	count := 0
	options, err := optionsFor(t.f, nil)
	if err != nil {
		return "", err
	}
	for i := range t.jobs {
		j := &t.jobs[i]
		j.Options = options
		if !fits(t.f, *j) {
			continue
		}
		if t.files[i], err = t.render(ctx, t.f, *j); err != nil {
			return "", fmt.Errorf("%s: %w", describeJob(*j), err)
		}
		count++
	}
	return fmt.Sprintf("%d files", count), nil
}

func (t *formatCheck) parses(context.Context) (string, error) {
	if parserOf(t.f) == nil {
		return "", doesNotApply("the suite cannot open files of this kind")
	}
	for i, file := range t.files {
		if file == nil {
			continue
		}
		if err := open(t.f, file, t.jobs[i]); err != nil {
			return "", fmt.Errorf("%s: %w", describeJob(t.jobs[i]), err)
		}
	}
	t.opens = true
	return "every file opens, and the certificates and keys in it belong to the job", nil
}

func (t *formatCheck) withoutChain(ctx context.Context) (string, error) {
	if !t.f.GetNeedsChain() {
		return "", doesNotApply("it needs no chain")
	}
	return "refused", t.mustRefuse(ctx, "no chain", t.jobs[0])
}

// mustRefuse returns an error unless the plugin refuses the job with a proper answer.
func (t *formatCheck) mustRefuse(ctx context.Context, what string, j sdk.Job) error {
	_, err := t.render(ctx, t.f, j)
	if _, ok := errors.AsType[refusal](err); ok {
		return nil
	}
	return fmt.Errorf("%s: %w", what, cmp.Or(err, errors.New("it makes a file although it must refuse")))
}

// mustSurvive returns an error unless the plugin makes a file or refuses the job with
// a proper answer.
func (t *formatCheck) mustSurvive(ctx context.Context, what string, j sdk.Job) ([]byte, error) {
	file, err := t.render(ctx, t.f, j)
	if _, ok := errors.AsType[refusal](err); err == nil || ok {
		return file, nil
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

// usual returns the index of a job that every format accepts: ed25519 with a chain of
// one.
func (t *formatCheck) usual() int { return 2*(maxChain+1) + 1 }

// repeats checks that a job makes the same file every time. A format without secrets
// needs no salt.
func (t *formatCheck) repeats(ctx context.Context) (string, error) {
	for range 4 {
		file, err := t.render(ctx, t.f, t.jobs[t.usual()])
		switch {
		case err != nil:
			return "", err
		case bytes.Equal(file, t.files[t.usual()]):
		case t.secret:
			return "", doesNotApply("its files differ from render to render, as salts make them")
		default:
			return "", errors.New("the same job makes different files, although the format has no secret")
		}
	}
	t.steady = true
	return "the same file every time", nil
}

func (t *formatCheck) options(ctx context.Context) (string, error) {
	variants, err := optionVariants(t.f)
	if err != nil {
		return "", err
	}
	if len(variants) == 0 {
		return "", doesNotApply("it has no options to choose from")
	}
	for _, variant := range variants {
		j := t.jobs[t.usual()]
		j.Options = variant
		file, err := t.render(ctx, t.f, j)
		if err == nil && t.opens {
			err = open(t.f, file, j)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", variant, err)
		}
	}
	return fmt.Sprintf("%d choices", len(variants)), nil
}

// injected is the line that one of the hostile names contains.
const injected = "\nX-Injected: yes"

func (t *formatCheck) names(ctx context.Context) (string, error) {
	made := 0
	for _, name := range specimen.HostileNames {
		j := t.jobs[t.usual()]
		j.Name = name
		what := fmt.Sprintf("name %.40q", name)
		file, err := t.mustSurvive(ctx, what, j)
		switch {
		case err != nil:
			return "", err
		case file == nil:
			continue
		case utf8.Valid(file) && bytes.Contains(file, []byte(injected)):
			return "", fmt.Errorf("%s: a part of the name is a line of its own in the file", what)
		}
		if t.opens {
			if err := open(t.f, file, j); err != nil {
				return "", fmt.Errorf("%s: %w", what, err)
			}
		}
		made++
	}
	return fmt.Sprintf("%d of %d names are rendered, the others refused", made, len(specimen.HostileNames)), nil
}

func (t *formatCheck) keyMatch(ctx context.Context) (string, error) {
	if !t.f.GetNeedsKey() {
		return "", doesNotApply("it gets no key")
	}
	for i := 1; i < len(t.jobs); i += maxChain + 1 {
		other, err := specimen.WithAnotherKey(t.jobs[i])
		if err != nil {
			return "", err
		}
		if err := t.mustRefuse(ctx, "another key of the same kind", other); err != nil {
			return "", err
		}
		other.PrivateKey = t.jobs[(i+maxChain+1)%len(t.jobs)].PrivateKey
		if err := t.mustRefuse(ctx, "a key of another kind", other); err != nil {
			return "", err
		}
	}
	return "a key that does not match the certificate is refused", nil
}

// extremes sends jobs in which something is missing, broken or much too large. The
// plugin may render them or refuse them, but must refuse a missing or broken key.
func (t *formatCheck) extremes(ctx context.Context) (string, error) {
	change := func(how func(*sdk.Job)) sdk.Job {
		j := t.jobs[t.usual()]
		how(&j)
		return j
	}
	for what, j := range map[string]sdk.Job{
		"no certificate":     change(func(j *sdk.Job) { j.Leaf = nil }),
		"no certificate DER": change(func(j *sdk.Job) { j.Leaf = []byte("no DER") }),
		"more than one DER":  change(func(j *sdk.Job) { j.Leaf = append(bytes.Clone(j.Leaf), j.Leaf...) }),
		"a broken chain":     change(func(j *sdk.Job) { j.Chain = [][]byte{nil, {0x30}, j.Leaf[:40]} }),
		"a chain of 200":     change(func(j *sdk.Job) { j.Chain = slices.Repeat(j.Chain, 200) }),
		"a name of 1 MiB":    change(func(j *sdk.Job) { j.Name = strings.Repeat("n", 1<<20) }),
		"options of 1 MiB":   change(func(j *sdk.Job) { j.Options = fmt.Appendf(nil, `{"x":"%s"}`, strings.Repeat("n", 1<<20)) }),
		"no options":         change(func(j *sdk.Job) { j.Options = nil }),
		"options of no JSON": change(func(j *sdk.Job) { j.Options = []byte("{") }),
		"a long passphrase":  change(func(j *sdk.Job) { j.Passphrase = strings.Repeat(j.Passphrase, 5)[:128] }),
		"no passphrase":      change(func(j *sdk.Job) { j.Passphrase = "" }),
	} {
		if _, err := t.mustSurvive(ctx, what, j); err != nil {
			return "", err
		}
	}
	if t.f.GetNeedsKey() {
		for what, key := range map[string][]byte{"no key": nil, "a key of no DER": []byte("no DER")} {
			if err := t.mustRefuse(ctx, what, change(func(j *sdk.Job) { j.PrivateKey = key })); err != nil {
				return "", err
			}
		}
	}
	return "missing, broken or huge input does not end the plugin", nil
}

// cancellation cancels renders at every stage. The plugin must work as before.
func (t *formatCheck) cancellation(ctx context.Context) (string, error) {
	const tries = 2 * atOnce
	var calls sync.WaitGroup
	for i := range tries {
		after := time.Duration(i) * 500 * time.Microsecond
		calls.Go(func() {
			within, cancel := context.WithCancel(ctx)
			defer cancel()
			if i%2 == 0 { // the plugin knows a deadline in advance, but not a cancellation
				within, cancel = context.WithTimeout(within, after)
				defer cancel()
			} else {
				defer time.AfterFunc(after, cancel).Stop()
			}
			_, _ = t.renderWithin(within, t.f, t.jobs[i%len(t.jobs)], nil) // most are cancelled
		})
	}
	calls.Wait()
	for range 4 {
		if _, err := t.render(ctx, t.f, t.jobs[t.usual()]); err != nil {
			return "", fmt.Errorf("after cancelled renders: %w", err)
		}
	}
	return fmt.Sprintf("it works after %d cancelled renders", tries), nil
}

// atOnce is how many renders the suite has at once: more than most hosts, but not so
// many that the machine is the limit.
const atOnce = 8

// concurrency renders many jobs at once. Each must get its own file.
func (t *formatCheck) concurrency(ctx context.Context) (string, error) {
	const rounds = 3
	var calls errgroup.Group
	calls.SetLimit(atOnce)
	for n := range rounds * len(t.jobs) {
		i := n % len(t.jobs)
		if t.files[i] == nil {
			continue
		}
		calls.Go(func() error {
			file, err := t.render(ctx, t.f, t.jobs[i])
			switch {
			case err != nil:
			case t.steady && !bytes.Equal(file, t.files[i]):
				err = errors.New("among concurrent renders it makes another file")
			case t.opens:
				err = open(t.f, file, t.jobs[i])
			}
			if err == nil {
				err = t.suite.secret.findIn(file, t.jobs[i].PrivateKey)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", describeJob(t.jobs[i]), err)
			}
			return nil
		})
	}
	return fmt.Sprintf("%d renders, %d at once", rounds*len(t.jobs), atOnce), calls.Wait()
}
