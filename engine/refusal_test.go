package engine

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"
)

// appended is an audit log in memory.
type appended []AuditEntry

func (a *appended) Append(_ context.Context, e AuditEntry) error {
	*a = append(*a, e)
	return nil
}

// total counts the refusals that the entries stand for.
func (a *appended) total() int {
	n := len(*a)
	for _, e := range *a {
		if left, err := strconv.Atoi(e.Detail["left_out_before"]); err == nil {
			n += left
		}
	}
	return n
}

// flood is a log, a clock and what writes refusals to the log.
type flood struct {
	log appended
	now time.Time
	*Refusals
}

func newFlood() *flood {
	f := &flood{now: time.Unix(1_800_000_000, 0)}
	f.Refusals = &Refusals{Store: &f.log, Clock: func() time.Time { return f.now }, Log: slog.Default()}
	return f
}

func (f *flood) refuse(action, subject string, n int) {
	for range n {
		f.Record(context.Background(), AuditEntry{Ref: NewID("aud"), ProjectID: "p", Action: action, Detail: map[string]string{"code": "forbidden"}}, subject)
	}
}

func TestFloodOfOneSubjectIsBoundedAndCounted(t *testing.T) {
	f := newFlood()
	f.refuse("access.refused", "ann", 9_000)
	if len(f.log) != subjectRefusals {
		t.Fatalf("%d entries", len(f.log))
	}
	f.refuse("access.refused", "bob", 1)
	f.refuse("download.refused", "ann", 1)
	if len(f.log) != subjectRefusals+2 {
		t.Fatal("another subject, or another kind, waits with it")
	}
	f.now = f.now.Add(subjectInterval)
	f.refuse("access.refused", "ann", 1)
	if f.log.total() != 9_003 {
		t.Fatalf("the entries stand for %d refusals", f.log.total())
	}
	f.refuse("access.refused", "ann", 5)
	f.RecordOmitted(t.Context())
	f.RecordOmitted(t.Context())
	if f.log.total() != 9_008 || len(f.log) != subjectRefusals+4 {
		t.Fatalf("%d entries stand for %d refusals", len(f.log), f.log.total())
	}
}

func TestFloodOfManySubjectsIsBoundedAndCounted(t *testing.T) {
	f := newFlood()
	const subjects = 3 * maxSubjects
	for i := range subjects {
		f.refuse("login.failed", fmt.Sprint("from ", i), 1)
	}
	if len(f.log) != kindRefusals || len(f.quotas) > maxSubjects+1 {
		t.Fatalf("%d entries, %d quotas in memory", len(f.log), len(f.quotas))
	}
	f.refuse("access.refused", "ann", 1)
	if len(f.log) != kindRefusals+1 {
		t.Fatal("noise of one kind hides another")
	}
	f.RecordOmitted(t.Context())
	if f.log.total() != subjects+1 || len(f.log) != kindRefusals+2 {
		t.Fatalf("%d entries stand for %d refusals", len(f.log), f.log.total())
	}
	f.now = f.now.Add(2 * kindRefusals * kindInterval)
	f.RecordOmitted(t.Context())
	if len(f.quotas) != 0 {
		t.Errorf("%d quotas are kept for ever", len(f.quotas))
	}
}

func TestWhatWasTypedIsSafeToShow(t *testing.T) {
	for typed, want := range map[string]string{
		"ada": "ada", "Zo\u00eb": "Zo\u00eb", "a\nb\x1b[2J": `a\nb\x1b[2J`, "\u202egpj": `\u202egpj`, "\xff": `\xff`,
	} {
		if got := escaped(typed); got != want {
			t.Errorf("%q became %q, want %q", typed, got, want)
		}
	}
	if got := escaped(fmt.Sprintf("%0500d", 7)); len([]rune(got)) != MaxUsername+1 {
		t.Errorf("%d characters", len([]rune(got)))
	}
}
