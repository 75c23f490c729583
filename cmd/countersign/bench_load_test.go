//go:build bench

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const passphrase = "a passphrase of the bench"

var loadClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second}

// timing is the median and the rate of calls.
type timing struct {
	p50  time.Duration
	rate float64
}

// measure makes n calls by concurrent callers; a call that fails ends the benchmark.
func (b *bench) measure(callers, n int, call func(i int) error) timing {
	took := make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, callers)
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				at := time.Now()
				if err := call(i); err != nil {
					failed <- err
					return
				}
				took[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	all := time.Since(began)
	select {
	case err := <-failed:
		b.t.Fatal(err)
	default:
	}
	t := median(took)
	t.rate = float64(n) / all.Seconds()
	return t
}

func median(took []time.Duration) timing {
	slices.Sort(took)
	return timing{p50: took[len(took)/2]}
}

func (b *bench) awaitReady() {
	for {
		answer, err := loadClient.Get(b.url + "/readyz")
		if err == nil {
			_, _ = discard(answer.Body)
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if b.t.Context().Err() != nil {
			b.t.Fatal(err)
		}
	}
}

// mint asks for a token of the RSA sample, as a script would.
func (b *bench) mint(format string) (string, error) {
	body := fmt.Sprintf(`{"format":%q,"passphrase":%q,"ttl_seconds":3600}`, format, passphrase)
	url := fmt.Sprintf("%s/api/v1/projects/%s/certificates/%s/downloads", b.url, b.boot.ProjectID, b.boot.Certificates[0].ID)
	call, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	call.Header.Set("Authorization", "Bearer "+b.boot.APIKeys["operator"])
	answer, err := loadClient.Do(call)
	if err != nil {
		return "", err
	}
	var minted struct{ Token, Code, Detail string }
	err = json.NewDecoder(answer.Body).Decode(&minted)
	if _, closing := discard(answer.Body); err == nil {
		err = closing
	}
	if err == nil && answer.StatusCode != http.StatusCreated {
		err = fmt.Errorf("mint: %s: %s", answer.Status, minted.Detail)
	}
	return minted.Token, err
}

// mints makes n tokens.
func (b *bench) mints(format string, callers, n int) ([]string, timing) {
	tokens := make([]string, n)
	t := b.measure(callers, n, func(i int) (err error) {
		tokens[i], err = b.mint(format)
		return err
	})
	return tokens, t
}

// redeem uses up the tokens.
func (b *bench) redeem(callers int, tokens []string) timing {
	return b.measure(callers, len(tokens), func(i int) error {
		answer, err := loadClient.Get(b.url + "/api/v1/downloads/" + tokens[i])
		if err != nil {
			return err
		}
		if n, err := discard(answer.Body); err != nil || n == 0 || answer.StatusCode != http.StatusOK {
			return fmt.Errorf("redeem: %s, %d bytes: %w", answer.Status, n, err)
		}
		return nil
	})
}

// startFloor serves the least that any durable mint can cost here: a workflow
// started eagerly on the same Temporal server, with one local activity that does
// nothing.
func (b *bench) startFloor() {
	w := worker.New(b.temporal, floorName, worker.Options{MaxConcurrentWorkflowTaskPollers: 16, MaxConcurrentLocalActivityExecutionSize: 256})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 10 * time.Second})
		return workflow.ExecuteLocalActivity(ctx, func(context.Context) error { return nil }).Get(ctx, nil)
	}, workflow.RegisterOptions{Name: floorName})
	must(b.t, w.Start())
	b.t.Cleanup(w.Stop)
}

const floorName = "bench-floor"

// floor measures it.
func (b *bench) floor(callers, n int) timing {
	return b.measure(callers, n, func(int) error {
		started, err := b.temporal.ExecuteWorkflow(b.t.Context(),
			client.StartWorkflowOptions{TaskQueue: floorName, EnableEagerStart: true}, floorName)
		if err != nil {
			return err
		}
		return started.Get(b.t.Context(), nil)
	})
}

func ms(t timing) float64 { return float64(t.p50.Microseconds()) / 1000 }

// running counts the open workflows.
func (b *bench) running() int64 {
	count, err := b.temporal.WorkflowService().CountWorkflowExecutions(b.t.Context(), countRunning(b.config.Temporal.Namespace))
	must(b.t, err)
	return count.Count
}
