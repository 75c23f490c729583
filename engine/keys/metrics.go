package keys

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"gocloud.dev/gcerrors"

	"github.com/countersign-dev/countersign/engine/tracing"
)

// metrics are those of the keepers' calls. A keeper is named by the scheme of its URL, or
// "local", and by its position among the keepers: "1" wraps new keys, and the others follow
// as configured. The rest of the URL is nobody's business who reads metrics.
type metrics struct {
	durations *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	up        *prometheus.GaugeVec
}

// measure gives the keepers their metrics, and registers these, if there is a registry.
func (s *Sealer) measure(registry *prometheus.Registry) error {
	m := &metrics{
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_keeper_call_duration_seconds", Help: "How long keepers of the private keys took to wrap or unwrap a data key, or to fail.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"keeper", "position", "operation"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_keeper_failures_total", Help: "Calls of keepers that failed, without those whose caller went away.",
		}, []string{"keeper", "position", "operation"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "countersign_keeper_up", Help: "1 if the last call of the keeper succeeded, else 0. A call that failed because of what it was to unwrap does not count. A keeper that was not called yet is not listed.",
		}, []string{"keeper", "position"}),
	}
	for i := range s.keepers {
		s.keepers[i].calls, s.keepers[i].position = m, strconv.Itoa(i+1)
		for _, operation := range []string{wrapping, unwrapping} { // a counter that begins with 1 does not tell when
			m.failures.WithLabelValues(s.keepers[i].scheme(), s.keepers[i].position, operation)
		}
	}
	if registry == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.durations, m.failures, m.up} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// The operations of keepers.
const (
	wrapping   = "wrap"
	unwrapping = "unwrap"
)

func (k keeper) scheme() string {
	scheme, _, _ := strings.Cut(k.id, ":")
	return scheme
}

// observe measures and traces one call. The caller calls ended with its error.
func (k keeper) observe(ctx context.Context, operation string) (inside context.Context, ended func(*error)) {
	scheme := k.scheme()
	inside, span := tracing.Start(ctx, "keeper "+operation, tracing.Keeper.String(scheme))
	timer := prometheus.NewTimer(k.calls.durations.WithLabelValues(scheme, k.position, operation))
	return inside, func(err *error) {
		timer.ObserveDuration()
		tracing.End(span, *err)
		switch {
		case *err == nil:
			k.calls.up.WithLabelValues(scheme, k.position).Set(1)
		case !errors.Is(ctx.Err(), context.Canceled): // a keeper that hangs until the deadline has failed
			k.calls.failures.WithLabelValues(scheme, k.position, operation).Inc()
			if operation == wrapping || !k.damaged(*err) {
				k.calls.up.WithLabelValues(scheme, k.position).Set(0)
			}
		}
	}
}

// damaged reports whether a data key could not be unwrapped because it was changed. A local
// keeper has no other reason, and some services have a code for it.
func (k keeper) damaged(err error) bool {
	return k.local || gcerrors.Code(err) == gcerrors.InvalidArgument
}
