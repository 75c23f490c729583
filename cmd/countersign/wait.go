package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

// lookEvery is how often a waiting download looks whether it was decided on.
// Tests look more often.
var lookEvery = 2 * time.Second

// errDecided is the end of a request whose file nobody can fetch any more.
type errDecided struct{ error }

// hint says how to go on with a request, after an error.
func (p printer) hint(request string, err error) {
	_, decided := errors.AsType[errDecided](err)
	_, waits := errors.AsType[errWaits](err) // says so itself
	if request != "" && !decided && !waits {
		p.warn("the file was not fetched; to try again: countersign download --request %s --wait", request)
	}
}

// wait is a download's wait for people.
type wait struct {
	*session
	request string
	lapses  time.Time
	members []wire.Member // none where they cannot be read
	read    bool          // whether that was tried
}

// await waits until a request is approved. Meanwhile it says, on a terminal, who
// is awaited and how long is left. While the server does not answer it goes on
// until the approval's time is up.
func (s *session) await(ctx context.Context, request string, lapses time.Time) error {
	w := wait{session: s, request: request, lapses: lapses}
	line, done := s.status()
	defer done()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		approved, text, err := w.look(ctx)
		switch {
		case approved:
			return nil
		case err != nil && (!passing(err) || !s.clock().Before(w.lapses)):
			return err
		case err != nil:
			text = "the server does not answer and is asked again; " + w.left()
		}
		line(text)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passing tells whether asking again may help: Countersign was not reached,
// failed itself or was too busy.
func passing(err error) bool {
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		return problem.Code == "" || problem.Status >= http.StatusInternalServerError || problem.Status == http.StatusTooManyRequests
	}
	_, decided := errors.AsType[errDecided](err)
	return !decided
}

// look tells whether the request is approved, or else what it waits for.
func (w *wait) look(ctx context.Context) (approved bool, text string, err error) {
	r, err := w.Request(ctx, w.project, w.request)
	if err != nil {
		return false, "", err
	}
	switch r.Status {
	case "approved", "issued":
		return true, "", nil
	case "pending_approval":
		a, err := w.Approval(ctx, w.project, r.ApprovalID)
		if err != nil {
			return false, "", err
		}
		w.lapses = a.ExpiresAt
		return false, w.awaited(ctx, a), nil
	}
	return false, "", errDecided{fmt.Errorf("the request %s is %s: %s", r.ID, r.Status, firstOf(strings.Join(r.Explanation, "; "), "nobody decided in time"))}
}

// awaited words what a pending approval waits for. The members are read once,
// for their names alone.
func (w *wait) awaited(ctx context.Context, a wire.Approval) string {
	if !w.read {
		w.read = true
		members, err := client.All(0, func(at client.Paging) (wire.Page[wire.Member], error) { return w.Members(ctx, w.project, at) })
		if err == nil {
			w.members = members
		}
	}
	people := []string{}
	for _, m := range w.members {
		decided := slices.ContainsFunc(a.Decisions, func(d wire.Decision) bool { return d.Actor.Person == m.UserID })
		if (m.Role == "approver" || m.Role == "admin") && m.UserID != a.Requester.Person && !decided {
			people = append(people, m.Username)
		}
	}
	text := given(a) + " approvals given; "
	if len(people) > 0 {
		text += "awaited: " + strings.Join(people, ", ") + "; "
	}
	return text + w.left()
}

func (w *wait) left() string {
	return w.lapses.Sub(w.clock()).Round(time.Second).String() + " left"
}
