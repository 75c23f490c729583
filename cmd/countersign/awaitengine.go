package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// engineRetry is the pause between two tries to open an engine.
	engineRetry = 500 * time.Millisecond
	// engineReminder is how often the log says again that an engine is waited for.
	engineReminder = 15 * time.Second
)

// awaitEngine opens an engine, and tries again for as long as the setting wait says while
// the engine is not there yet. Any other failure, such as a wrong password, is final.
func (s *system) awaitEngine(ctx context.Context, name string, open func(context.Context) error, notYet func(error) bool) error {
	end := time.NewTimer(s.config.Wait)
	defer end.Stop()
	reminder := time.NewTicker(engineReminder)
	defer reminder.Stop()
	said := false
	for {
		err := open(ctx)
		if err == nil || !notYet(err) {
			return err
		}
		select {
		case <-reminder.C:
			said = false
		default:
		}
		if !said {
			s.log.WarnContext(ctx, name+" is not there yet; waiting for it", "at most", s.config.Wait, "error", err)
			said = true
		}
		pause := time.NewTimer(engineRetry)
		select {
		case <-pause.C:
		case <-end.C:
			pause.Stop()
			return fmt.Errorf("%s was not there within %s (setting wait): %w", name, s.config.Wait, err)
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("wait for %s: %w", name, err)
		}
	}
}
