package main

import (
	"context"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/anchor"
)

// anchorWait is how long a start waits for the place of the anchor to answer.
const anchorWait = 10 * time.Second

// compareAnchor compares the database with its anchor, and writes none.
func (s *system) compareAnchor(ctx context.Context) error {
	if err := s.openAnchor(ctx); err != nil {
		return err
	}
	return s.anchors.Check(ctx, false)
}

func (s *system) openAnchor(ctx context.Context) error {
	// The token is no setting: every setting is also a flag, and arguments are public.
	target, err := anchor.Open(ctx, s.config.Anchor.URL, os.Getenv("COUNTERSIGN_ANCHOR_TOKEN"))
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return target.Close() })
	s.anchors = &engine.Anchors{
		Store: s.store, Target: target, Key: s.auditKey, Every: s.config.Anchor.Interval, Wait: anchorWait, Clock: engine.SystemClock, Log: s.log,
	}
	return nil
}

// checkAnchor compares the database with its anchor, and keeps the anchor up to date
// from then on. The last anchor is written when all that writes to the store has ended.
func (s *system) checkAnchor(ctx context.Context, acceptRestore bool) error {
	if err := s.openAnchor(ctx); err != nil {
		return err
	}
	if err := s.anchors.Check(ctx, acceptRestore); err != nil {
		return err
	}
	s.metrics.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_anchor_last_success_timestamp_seconds", Help: "When the audit log was last anchored, in Unix time; 0 if never.",
		}, func() float64 {
			if last, _ := s.anchors.Status(); !last.IsZero() {
				return float64(last.Unix())
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "countersign_anchor_failures_total", Help: "How often the audit log could not be anchored, or lacked what was anchored.",
		}, func() float64 {
			_, failures := s.anchors.Status()
			return float64(failures)
		}))
	s.runUntilClose(s.anchors.Run)
	return nil
}
