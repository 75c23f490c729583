package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

// lookEvery is how often a waiting download looks whether it was decided on.
const lookEvery = 2 * time.Second

// await waits until a request is approved. Meanwhile it says, on a terminal, who
// is awaited and how long is left.
func (s *session) await(ctx context.Context, requestID string) error {
	line, done := s.status()
	defer done()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		r, err := s.Request(ctx, s.project, requestID)
		if err != nil {
			return err
		}
		switch r.Status {
		case "approved", "issued":
			return nil
		case "pending_approval":
			text, err := s.awaited(ctx, r)
			if err != nil {
				return err
			}
			line(text)
		default:
			return fmt.Errorf("the request %s is %s: %s", r.ID, r.Status, firstOf(strings.Join(r.Explanation, "; "), "nobody decided in time"))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.warn("the request waits on; to go on: countersign download --request %s --wait", requestID)
			return ctx.Err()
		}
	}
}

// awaited words what a pending request waits for.
func (s *session) awaited(ctx context.Context, r wire.Request) (string, error) {
	a, err := s.Approval(ctx, s.project, r.ApprovalID)
	if err != nil {
		return "", err
	}
	members, err := client.All(0, func(at client.Paging) (wire.Page[wire.Member], error) { return s.Members(ctx, s.project, at) })
	if err != nil {
		return "", err
	}
	people := []string{}
	for _, m := range members {
		decided := slices.ContainsFunc(a.Decisions, func(d wire.Decision) bool { return d.Actor.Person == m.UserID })
		if (m.Role == "approver" || m.Role == "admin") && m.UserID != a.Requester.Person && !decided {
			people = append(people, m.Username)
		}
	}
	return fmt.Sprintf("%s approvals given; awaited: %s; %s left", given(a), strings.Join(people, ", "),
		a.ExpiresAt.Sub(s.clock()).Round(time.Second)), nil
}
