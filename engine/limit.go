package engine

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// RetryAfterSeconds is the member of an Error with CodeRateLimited that says after
// how many seconds to try again.
const RetryAfterSeconds = "retry_after_seconds"

// MintLimits bound what one person may have in a project at a time. One key may mint
// as fast as it can, as long as its tokens are redeemed. Callers who mint at the same
// moment can exceed a limit by their number.
type MintLimits struct {
	LiveTokens      int // tokens that are neither consumed nor expired
	WaitingRequests int // requests that wait for approval
}

// A person's requests that the policy denies: a hundred at once, then one every three
// seconds. Each leaves a request and a workflow.
const (
	deniedMints         = 100
	deniedMintsInterval = 3 * time.Second
)

// denials counts the denied requests of each person.
type denials struct {
	mu      sync.Mutex
	persons map[string]*bucket
}

// of returns a person's bucket, with what was given back until now.
func (d *denials) of(person string, now time.Time) *bucket {
	if d.persons == nil || len(d.persons) >= maxSubjects {
		d.persons = map[string]*bucket{}
	}
	b := d.persons[person]
	if b == nil {
		b = &bucket{size: deniedMints, interval: deniedMintsInterval, at: now}
		d.persons[person] = b
	}
	return b
}

// count takes an event from a person's bucket even if none is left: all requests that
// were made before it was empty count, or many at once would get each one that comes
// back.
func (d *denials) count(person string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.of(person, now)
	b.empty(now)
	b.spent++
}

func (d *denials) exhausted(person string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of(person, now).empty(now)
}

// checkMintLimits returns CodeRateLimited if the caller has too much in the project
// to ask for more.
func (d *Downloads) checkMintLimits(ctx context.Context, caller Caller) error {
	if d.denials.exhausted(caller.User.ID, d.Clock()) {
		return Errorf(CodeRateLimited, "the policy denied too many of your requests; look at their reasons, and try again later").
			With(RetryAfterSeconds, int(deniedMintsInterval.Seconds()))
	}
	for _, l := range []struct {
		status Status
		limit  int
		what   string
	}{
		{StatusIssued, d.Limits.LiveTokens, "have download links that nobody has used yet: use or revoke some, or wait until they expire"},
		{StatusPendingApproval, d.Limits.WaitingRequests, "wait for approval: cancel some, or wait until they are decided"},
	} {
		n, err := d.Store.CountRequests(ctx, RequestQuery{ProjectID: caller.Project.ID, Person: caller.User.ID, Status: l.status, Page: Page{Limit: l.limit}})
		if err != nil {
			return fmt.Errorf("count requests: %w", err)
		}
		if n >= l.limit {
			return Errorf(CodeRateLimited, "%d of your requests %s", n, l.what).With(RetryAfterSeconds, 60)
		}
	}
	return nil
}
