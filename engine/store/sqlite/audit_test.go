package sqlite

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// A listing by time finds the right entries although the clock is set back by an
// hour and callers overtake each other.
func TestAuditTimes(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	begin := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	var times []time.Time
	if _, err := update(t.Context(), s, func(tx tx) (none struct{}, err error) {
		for i := range 1000 {
			e := newRecord("prj").Audit
			e.Time = begin.Add(time.Duration(i)*time.Minute - time.Duration(random.IntN(90))*time.Second)
			if i > 600 {
				e.Time = e.Time.Add(-time.Hour)
			}
			times = append(times, e.Time)
			if _, err := tx.append(e); err != nil {
				return none, err
			}
		}
		return none, nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := 15; i < len(times); i += 16 { // includes every entry in the index audit_time
		from := times[i]
		to := from.Add(time.Duration(random.IntN(300)) * time.Minute)
		if i%3 == 0 {
			from, to = from.Add(-to.Sub(from)), from
		}
		q := engine.AuditQuery{ProjectID: "prj", From: from, To: to, Page: engine.Page{Limit: 2000}}
		if random.IntN(4) == 0 {
			q.From = time.Time{}
		} else if random.IntN(4) == 0 {
			q.To = time.Time{}
		}
		want := 0
		for _, at := range times {
			if (q.From.IsZero() || !at.Before(q.From)) && (q.To.IsZero() || at.Before(q.To)) {
				want++
			}
		}
		found, _, err := s.AuditEntries(t.Context(), q)
		if err != nil || len(found) != want {
			t.Fatalf("from %s to %s: %d entries, want %d, %v", q.From, q.To, len(found), want, err)
		}
	}
}
