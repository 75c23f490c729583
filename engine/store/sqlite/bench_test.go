package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// issueMany stores n tokens with the least effort, and as many settlements and
// records if they are to be settled.
func issueMany(b *testing.B, s *Store, n int, settled bool) []engine.Token {
	b.Helper()
	tokens := make([]engine.Token, n)
	for i := range tokens {
		tokens[i] = newToken("prj")
	}
	for part := range slices.Chunk(tokens, 1000) {
		if _, err := update(b.Context(), s, func(tx tx) (none struct{}, err error) {
			for _, token := range part {
				if _, err := tx.open(opening("prj", &token)); err != nil {
					return none, err
				}
				if settled {
					if _, err := tx.settle(settlement(token)); err != nil {
						return none, err
					}
				}
			}
			return none, nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	return tokens
}

func settlement(token engine.Token) (engine.Settlement, engine.Record) {
	rec := newRecord("prj")
	rec.Audit.RequestID = token.RequestID
	rec.Event = &engine.Event{
		ID: engine.NewID("event"), ProjectID: "prj", CertificateID: "cert_a", Type: engine.ActionCertificateDownloaded, Time: rec.Audit.Time,
		Actor: rec.Audit.Actor, IP: rec.Audit.IP, Format: "fullchain", RequestID: token.RequestID,
	}
	return engine.Settlement{
		Digest: token.Digest, Kind: engine.Consumed, Attempt: engine.NewID("try"), RequestID: token.RequestID, ProjectID: "prj",
		Actor: rec.Audit.Actor, IP: rec.Audit.IP, UserAgent: rec.Audit.UserAgent, Format: "fullchain", Time: rec.Audit.Time,
	}, rec
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// measure lets callers do one thing for each token and reports the median and
// the 99th percentile of how long one takes, the rate, and the processor time of
// the whole process for one, which other work on the machine blurs least.
func measure(b *testing.B, callers int, tokens []engine.Token, do func(token engine.Token) error) {
	b.Helper()
	took := make([]time.Duration, len(tokens))
	var next atomic.Int64
	var running sync.WaitGroup
	before := cpu(b)
	b.ResetTimer()
	for range callers {
		running.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(tokens); i = next.Add(1) - 1 {
				begun := time.Now()
				if err := do(tokens[i]); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(begun)
			}
		})
	}
	running.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(len(tokens)), "cpu-µs/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(len(tokens))/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkStore measures what a mint and a redemption ask of the store, with
// few and with 100,000 settled tokens stored.
func BenchmarkStore(b *testing.B) {
	for _, stored := range []int{0, 100_000} {
		s := open(b, filepath.Join(b.TempDir(), "countersign.db"))
		issueMany(b, s, stored, true)
		for _, callers := range []int{1, 32} {
			name := fmt.Sprintf("stored=%d/callers=%d", stored, callers)
			b.Run("OpenRequest/"+name, func(b *testing.B) {
				tokens := make([]engine.Token, b.N)
				for i := range tokens {
					tokens[i] = newToken("prj")
				}
				measure(b, callers, tokens, func(token engine.Token) error {
					_, err := s.OpenRequest(b.Context(), opening("prj", &token))
					return err
				})
			})
			b.Run("Settle/"+name, func(b *testing.B) {
				measure(b, callers, issueMany(b, s, b.N, false), func(token engine.Token) error {
					mine, rec := settlement(token)
					_, won, err := s.Settle(b.Context(), mine, rec)
					if err == nil && !won {
						err = fmt.Errorf("lost %s", token.Digest)
					}
					return err
				})
			})
			b.Run("Token/"+name, func(b *testing.B) {
				measure(b, callers, issueMany(b, s, b.N, true), func(token engine.Token) error {
					_, err := s.Token(context.Background(), token.Digest)
					return err
				})
			})
		}
	}
}
