package keys

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"
	"gocloud.dev/secrets/driver"
)

// service is a key management service that answers as it is told, because no real one
// refuses or hangs when a test needs it.
type service struct {
	driver.Keeper
	answer func(context.Context) error
	code   gcerrors.ErrorCode
}

func (s service) Encrypt(ctx context.Context, key []byte) ([]byte, error) {
	return slices.Clone(key), s.answer(ctx)
}
func (s service) Decrypt(ctx context.Context, key []byte) ([]byte, error) { return key, s.answer(ctx) }
func (s service) ErrorCode(error) gcerrors.ErrorCode                      { return s.code }
func (s service) ErrorAs(error, any) bool                                 { return false }
func (s service) Close() error                                            { return nil }

func succeeds(context.Context) error { return nil }
func refuses(context.Context) error  { return errors.New("refused") }
func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Every call that fails is counted, and says that its keeper is down, unless the caller went
// away, or the wrapped key was damaged. Two keepers of one scheme are told apart.
func TestMetricsOfCalls(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, end := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer end()
	for name, c := range map[string]struct {
		ctx          context.Context
		call         func(keeper, context.Context, []byte) ([]byte, error)
		of           service
		up           string
		wrap, unwrap string // how many failed
	}{
		"wrapped":        {t.Context(), keeper.wrap, service{answer: succeeds}, "1", "0", "0"},
		"unwrapped":      {t.Context(), keeper.unwrap, service{answer: succeeds}, "1", "0", "0"},
		"not wrapped":    {t.Context(), keeper.wrap, service{answer: refuses, code: gcerrors.InvalidArgument}, "0", "1", "0"},
		"refused":        {t.Context(), keeper.unwrap, service{answer: refuses, code: gcerrors.PermissionDenied}, "0", "0", "1"},
		"damaged":        {t.Context(), keeper.unwrap, service{answer: refuses, code: gcerrors.InvalidArgument}, "1", "0", "1"},
		"deadline":       {late, keeper.unwrap, service{answer: hangs}, "0", "0", "1"},
		"caller is gone": {canceled, keeper.unwrap, service{answer: hangs}, "1", "0", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			s := &Sealer{keepers: []keeper{
				newKeeper(secrets.NewKeeper(service{answer: succeeds}), "awskms://alias/new"),
				newKeeper(secrets.NewKeeper(c.of), "awskms://alias/old"),
			}}
			if err := s.measure(registry); err != nil {
				t.Fatal(err)
			}
			for _, k := range s.keepers {
				k.calls.up.WithLabelValues("awskms", k.position).Set(1) // it was called before
			}
			_, _ = c.call(s.keepers[1], c.ctx, []byte("key")) // the metrics say whether it failed
			want := `# HELP countersign_keeper_failures_total Calls of keepers that failed, without those whose caller went away.
# TYPE countersign_keeper_failures_total counter
countersign_keeper_failures_total{keeper="awskms",operation="unwrap",position="1"} 0
countersign_keeper_failures_total{keeper="awskms",operation="unwrap",position="2"} ` + c.unwrap + `
countersign_keeper_failures_total{keeper="awskms",operation="wrap",position="1"} 0
countersign_keeper_failures_total{keeper="awskms",operation="wrap",position="2"} ` + c.wrap + `
# HELP countersign_keeper_up 1 if the last call of the keeper succeeded, else 0. A call that failed because of what it was to unwrap does not count. A keeper that was not called yet is not listed.
# TYPE countersign_keeper_up gauge
countersign_keeper_up{keeper="awskms",position="1"} 1
countersign_keeper_up{keeper="awskms",position="2"} ` + c.up + "\n"
			if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "countersign_keeper_up", "countersign_keeper_failures_total"); err != nil {
				t.Error(err)
			}
		})
	}
}
