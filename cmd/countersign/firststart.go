package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// Servers that share a store may make their first start at the same moment. One of them
// makes the first administrator: the one whose document is stored first under the number
// of the attempt. It has bootstrapWithin for that. The others wait longer, because it may
// die meanwhile, and then try the next number. Of the attempts that are stored when a
// start begins, only the last one can be under way, so the start waits for no other.
const (
	bootstrapWithin = 10 * time.Second
	bootstrapWait   = 15 * time.Second
	bootstrapPoll   = 100 * time.Millisecond
)

// bootstrapAttempt says which server makes the first administrator.
type bootstrapAttempt struct {
	Host string `json:"host"`
	File string `json:"file"`
	ID   string `json:"id"` // two servers may have the same host and file
}

// winBootstrap reports whether this process must make the first administrator. If
// another one does, it returns when that has happened.
func (s *system) winBootstrap(ctx context.Context) (bool, error) {
	if filled, err := s.hasUsers(ctx); err != nil || filled {
		return false, err
	}
	if err := canWriteBeside(s.config.Bootstrap); err != nil {
		return false, fmt.Errorf("write bootstrap file: %w", err) // before others wait for it
	}
	if s.config.MongoDB.URI == "" {
		return true, nil // no other process can open the store
	}
	number, err := s.lastAttempt(ctx)
	if err != nil {
		return false, err
	}
	for ; ; number++ {
		winner, mine, err := s.beginBootstrap(ctx, attemptID(number))
		if err != nil {
			return false, err
		}
		filled, err := s.hasUsers(ctx) // the winner of an earlier number may have ended meanwhile
		if err != nil {
			return false, err
		}
		if mine || filled {
			return mine && !filled, nil
		}
		s.log.InfoContext(ctx, "a start of a server began to make the first administrator; waiting for it, in case it is still under way", "host", winner.Host, "file", winner.File, "at most", bootstrapWait)
		if filled, err = s.awaitUsers(ctx); err != nil {
			return false, err
		}
		if filled {
			s.log.InfoContext(ctx, "another server made the first administrator; the bootstrap file is there, and none is written here", "host", winner.Host, "file", winner.File)
			return false, nil
		}
	}
}

// lastAttempt is the number of the last attempt that is stored, or 1.
func (s *system) lastAttempt(ctx context.Context) (int, error) {
	for number := 1; ; number++ {
		_, err := s.store.StoredDataKey(ctx, attemptID(number))
		switch {
		case errors.Is(err, engine.CodeNotFound):
			return max(1, number-1), nil
		case err != nil:
			return 0, err
		}
	}
}

func attemptID(number int) string { return fmt.Sprintf("bootstrap/%d", number) }

// canWriteBeside returns an error unless a file can be made where a path leads.
func canWriteBeside(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".countersign-")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// beginBootstrap stores this process's attempt, unless another process was first. The
// attempt is sealed, so that only a server of the installation can make one.
func (s *system) beginBootstrap(ctx context.Context, id string) (winner bootstrapAttempt, mine bool, err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	text, err := json.Marshal(bootstrapAttempt{Host: host, File: s.config.Bootstrap, ID: engine.NewID("boot")})
	if err != nil {
		return winner, false, err
	}
	sealed, err := s.keys.Seal(ctx, id, text)
	if err != nil {
		return winner, false, err
	}
	stored, err := s.store.DataKey(ctx, id, sealed)
	if err != nil {
		return winner, false, err
	}
	opened, err := s.keys.Open(ctx, id, stored)
	if err != nil {
		return winner, false, err
	}
	return winner, bytes.Equal(opened, text), json.Unmarshal(opened, &winner)
}

// awaitUsers reports whether the installation got a user before the other server's time
// was over.
func (s *system) awaitUsers(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, bootstrapWait)
	defer cancel()
	tick := time.NewTicker(bootstrapPoll)
	defer tick.Stop()
	for {
		filled, err := s.hasUsers(ctx)
		if filled || err != nil && !errors.Is(err, context.DeadlineExceeded) { // the call may end before ctx says so
			return filled, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return false, fmt.Errorf("wait for the first administrator: %w", ctx.Err())
			}
			return false, nil
		}
	}
}

func (s *system) hasUsers(ctx context.Context) (bool, error) {
	users, _, err := s.store.Users(ctx, engine.Page{Limit: 1})
	return len(users) > 0, err
}
