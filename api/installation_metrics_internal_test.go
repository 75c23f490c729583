package api

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

// Each certificate is counted once, by how soon it expires, and not more often than once a
// minute. While the store does not answer, the last figures stand for some minutes, and that
// they could not be counted is logged once.
func TestCertificatesByExpiry(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 14, 12, 0, 0, 678, time.UTC)
	add := func(until time.Duration) {
		rec := engine.Record{Audit: engine.AuditEntry{Ref: engine.NewID("ref"), ProjectID: "prj", Time: now, Action: engine.ActionCertificateImported}}
		c := engine.Certificate{ID: engine.NewID("cert"), ProjectID: "prj", NotAfter: now.Truncate(time.Second).Add(until), CreatedAt: now}
		if err := store.CreateCertificate(t.Context(), c, nil, rec); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	if err := store.UseAuditKey(t.Context(), []byte("key")); err != nil {
		t.Fatal(err)
	}
	for _, until := range []time.Duration{-9 * 365 * day, -time.Second, 0, day - time.Second, day, 7*day - time.Second, 30*day - time.Second, 31 * day, 89 * day, 90 * day, 200 * 365 * day} {
		add(until)
	}
	var log strings.Builder
	away := &away{installationReader: store}
	m := &installationMetrics{store: away, clock: func() time.Time { return now }, log: slog.New(slog.NewTextHandler(&log, nil))}
	check := func(want string) { t.Helper(); compareCertificates(t, m, want) }
	const first = `countersign_certificates{expires="expired"} 2
countersign_certificates{expires="1d"} 2
countersign_certificates{expires="7d"} 2
countersign_certificates{expires="30d"} 1
countersign_certificates{expires="90d"} 2
countersign_certificates{expires="later"} 2`
	check(first)
	add(time.Hour)
	now = now.Add(countEvery - time.Second)
	check(first)
	now = now.Add(time.Second)
	const second = `countersign_certificates{expires="expired"} 3
countersign_certificates{expires="1d"} 3
countersign_certificates{expires="7d"} 1
countersign_certificates{expires="30d"} 1
countersign_certificates{expires="90d"} 3
countersign_certificates{expires="later"} 1` // those at the ends of a day have moved on
	away.is = true
	check(first)
	now = now.Add(keptFor - countEvery - time.Second)
	check(first)
	away.is = false
	check(second) // at the next reading
	away.is = true
	now = now.Add(keptFor)
	check("")
	check("")
	if got := strings.Count(log.String(), "could not be counted"); got != 2 {
		t.Errorf("it is logged %d times: %s", got, log.String())
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// compareCertificates compares how many certificates are reported, or that none are.
func compareCertificates(t *testing.T, m *installationMetrics, want string) {
	t.Helper()
	const head = "# HELP countersign_certificates Certificates by how soon they expire: expired, 1d (within a day), 7d (within 7 days and not within 1), 30d, 90d or later." + ofInstallation + "\n# TYPE countersign_certificates gauge\n"
	if want != "" {
		want = head + want + "\n"
	}
	if err := testutil.CollectAndCompare(m, strings.NewReader(want), "countersign_certificates"); err != nil {
		t.Error(err)
	}
}

// away is a store that does not answer while it is away.
type away struct {
	installationReader
	is bool
}

func (a *away) ApprovalsPending(ctx context.Context, limit int) (int, time.Time, error) {
	if a.is {
		return 0, time.Time{}, engine.CodeUnavailable
	}
	return a.installationReader.ApprovalsPending(ctx, limit)
}
