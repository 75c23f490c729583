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

// pollInterval is how often a waiting download reads the state of its request.
// Tests shorten it.
var pollInterval = 2 * time.Second

// pendingError ends a download that waits for approval.
type pendingError struct{ request string }

// Error implements error.
func (e pendingError) Error() string {
	return "the download waits for approval; to fetch the file once it is approved: countersign download --request " + e.request + " --wait"
}

// endedError ends a download whose request was denied, cancelled or expired, or
// whose token was consumed or revoked.
type endedError struct{ error }

// hint says how to continue with a request after an error, unless the error says so
// itself or the request has ended.
func (p printer) hint(request string, err error) {
	_, ended := errors.AsType[endedError](err)
	_, pending := errors.AsType[pendingError](err)
	if request != "" && !ended && !pending {
		p.warn("the file was not fetched; to try again: countersign download --request %s --wait", request)
	}
}

// approvalWait waits for the approval of a request.
type approvalWait struct {
	*session
	request     string
	expiresAt   time.Time
	members     []wire.Member // empty if they could not be read
	membersRead bool
}

// waitForApproval waits until a request is approved. On a terminal it shows whose
// approval is missing and how much time is left. If the server does not answer, it
// tries again until the approval has expired.
func (s *session) waitForApproval(ctx context.Context, request string, expiresAt time.Time) error {
	w := approvalWait{session: s, request: request, expiresAt: expiresAt}
	line, done := s.status()
	defer done()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		approved, text, err := w.poll(ctx)
		switch {
		case approved:
			return nil
		case err != nil && (!temporary(err) || !s.clock().Before(w.expiresAt)):
			return err
		case err != nil:
			text = "the server does not answer; trying again; " + w.timeLeft()
		}
		line(text)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// temporary reports whether trying again may help: Countersign was not reached,
// failed, or was too busy.
func temporary(err error) bool {
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		return problem.Code == "" || problem.Status >= http.StatusInternalServerError || problem.Status == http.StatusTooManyRequests
	}
	_, ended := errors.AsType[endedError](err)
	return !ended
}

// poll reports whether the request is approved; text says what it still waits for.
func (w *approvalWait) poll(ctx context.Context) (approved bool, text string, err error) {
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
		w.expiresAt = a.ExpiresAt
		return false, w.missing(ctx, a), nil
	}
	return false, "", endedError{fmt.Errorf("the request %s is %s: %s", r.ID, r.Status, firstOf(strings.Join(r.Explanation, "; "), "it was not approved in time"))}
}

// missing describes what a pending approval waits for. The project's members are
// read once, and only for their names, so a failure to read them is ignored.
func (w *approvalWait) missing(ctx context.Context, a wire.Approval) string {
	if !w.membersRead {
		w.membersRead = true
		members, err := client.All(0, func(at client.Paging) (wire.Page[wire.Member], error) { return w.Members(ctx, w.project, at) })
		if err == nil {
			w.members = members
		}
	}
	var approvers []string
	for _, m := range w.members {
		voted := slices.ContainsFunc(a.Decisions, func(d wire.Decision) bool { return d.Actor.Person == m.UserID })
		if (m.Role == "approver" || m.Role == "admin") && m.UserID != a.Requester.Person && !voted {
			approvers = append(approvers, m.Username)
		}
	}
	text := quorum(a) + " approvals given; "
	if len(approvers) > 0 {
		text += "waiting for: " + strings.Join(approvers, ", ") + "; "
	}
	return text + w.timeLeft()
}

func (w *approvalWait) timeLeft() string {
	return w.expiresAt.Sub(w.clock()).Round(time.Second).String() + " left"
}
