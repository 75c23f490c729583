package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// rightsReader reads what a person may do at this moment.
type rightsReader interface {
	keyReader
	User(ctx context.Context, id string) (User, error)
	Member(ctx context.Context, projectID, userID string) (Member, error)
}

// worksAgain ends the detail of a refusal that takes nothing away.
const worksAgain = "; it works again if this changes in time"

// noLongerPermitted refuses a token whose file was permitted when it was issued.
func noLongerPermitted(remedy, format string, args ...any) error {
	return Errorf(CodeNoLongerPermitted, format+worksAgain, args...).
		With("remedies", []string{remedy})
}

// subject is what a token is for. None of it changes while the token lives, so one call
// reads it once.
type subject struct {
	request     Request
	certificate Certificate
	project     Project
}

// of reads the subject of a token, unless it was read before.
func (s *subject) of(ctx context.Context, store DownloadStore, t Token) (err error) {
	if s.request.ID != "" {
		return nil
	}
	if s.certificate, err = store.Certificate(ctx, t.ProjectID, t.CertificateID); err != nil {
		return renderError("certificate", err)
	}
	if s.project, err = store.Project(ctx, t.ProjectID); err != nil {
		return renderError("project", err)
	}
	if s.request, err = store.Request(ctx, t.ProjectID, t.RequestID); err != nil {
		return renderError("request", err)
	}
	return nil
}

// checkPermitted refuses a token whose file would not be given to its requester
// now: their account, role or API key has ended, the policy decides otherwise, or
// too few of the people who approved may still approve. It returns
// CodeNoLongerPermitted or the code of the policy's denial. The refusal does not
// end the token.
func (d *Downloads) checkPermitted(ctx context.Context, t Token, f Format, s *subject) error {
	role, err := presentRole(ctx, d.Store, t.ProjectID, t.Requester, d.Clock())
	if err == nil && t.IssuedTo != t.Requester {
		_, err = presentRole(ctx, d.Store, t.ProjectID, t.IssuedTo, d.Clock())
	}
	if err != nil {
		return err
	}
	if err := s.of(ctx, d.Store, t); err != nil {
		return err
	}
	question := WorkflowInput{
		Request: s.request, Role: role, NeedsPassphrase: f.NeedsPassphrase,
		Certificate: s.certificate.forPolicy(), ProjectName: s.project.Name,
	}
	policy, err := d.Store.CertificatePolicy(ctx, t.ProjectID)
	if err != nil {
		return fmt.Errorf("load certificate policy: %w", err)
	}
	var votes voteCount
	if t.ApprovalID != "" {
		approval, err := d.Store.Approval(ctx, t.ProjectID, t.ApprovalID)
		if err != nil {
			return renderError("approval", err)
		}
		if votes, err = countVotes(ctx, d.Store, t.ProjectID, approval.Requester, approval.Decisions); err != nil {
			return err
		}
	}
	input := question.policyInput(PolicyRedeem, policy, votes.present, d.Clock())
	input.Passphrase = nil // it was checked when the token was issued
	votes.gone = nil       // whoever has the token learns no names
	return evaluate(ctx, d.Policy, d.Log, input).checkRedeem(votes)
}

// checkRedeem is the refusal of a token that was issued earlier, or nil.
func (v Verdict) checkRedeem(votes voteCount) error {
	switch v.Outcome {
	case OutcomeAllow:
		return nil
	case OutcomeApproval:
		return noLongerPermitted("Make a new request.", "%s", votes.shortOf(v.RequiredApprovals))
	}
	return Errorf(v.Code, "%s", strings.Join(v.Explanation, "; ")+worksAgain).
		With("remedies", v.Remedies)
}

// errKeyEnded refuses the token of an API key that has ended, which is final.
var errKeyEnded = Errorf(CodeNoLongerPermitted, "the API key that requested this file has ended; make a new request").
	With("remedies", []string{"Make a new request with an API key that is valid."})

// presentRole is the role that the requester of a token has in the project now,
// through the API key that they used, if any. It returns CodeNoLongerPermitted
// unless that is operator or more.
func presentRole(ctx context.Context, store rightsReader, projectID string, by Actor, now time.Time) (Role, error) {
	u, m, err := readPerson(ctx, store, projectID, by.Person)
	if err != nil {
		return "", err
	}
	who := Principal{User: u}
	if by.Type == ActorAPIKey {
		if who.Key, err = presentKey(ctx, store, by.ID, u, m, now); err != nil {
			return "", err
		}
	}
	switch role := who.RoleIn(projectID, m); {
	case u.Disabled:
		return "", noLongerPermitted("Ask a system administrator to enable the account.", "the account of the person who requested this file is disabled")
	case !role.Includes(RoleOperator):
		return "", noLongerPermitted("Ask an administrator of the project for the role operator.", "the person who requested this file no longer has the role operator in the project")
	default:
		return role, nil
	}
}

// readPerson reads an account and its membership (zero for none). An account that
// does not exist counts as disabled.
func readPerson(ctx context.Context, store rightsReader, projectID, person string) (User, Member, error) {
	u, err := store.User(ctx, person)
	if errors.Is(err, CodeNotFound) {
		return User{Disabled: true}, Member{}, nil
	}
	if err != nil {
		return u, Member{}, fmt.Errorf("load person: %w", err)
	}
	m, err := store.Member(ctx, projectID, person)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return u, m, fmt.Errorf("load membership: %w", err)
	}
	return u, m, nil
}

// presentKey is the API key by which a token was requested, or errKeyEnded.
func presentKey(ctx context.Context, store rightsReader, id string, owner User, m Member, now time.Time) (*APIKey, error) {
	key, err := store.APIKey(ctx, id)
	if err == nil {
		err = checkKey(ctx, store, key, owner, now)
	}
	former := err == nil && !owner.since(key.OwnerLosses).SystemAdmin && !key.MemberSince.Equal(m.CreatedAt)
	if former || errors.Is(err, CodeNotFound) || errors.Is(err, CodeUnauthenticated) {
		return nil, errKeyEnded
	}
	if err != nil {
		return nil, fmt.Errorf("load requester's API key: %w", err)
	}
	return &key, nil
}

// voteCount says how many approvals count now, and whose do not.
type voteCount struct {
	present int
	gone    []string // the usernames of people who approved and may no longer approve
}

// shortOf says why a quorum is not reached.
func (c voteCount) shortOf(required int) string {
	text := fmt.Sprintf("approvals that count: %d of %d", c.present, required)
	if len(c.gone) > 0 {
		text += "; people who approved and may no longer approve: " + strings.Join(c.gone, ", ")
	}
	return text
}

// standing reports whether a person who voted may still approve. A vote from before
// a disabling or from an earlier membership is void for good, and so is one by an
// API key that was revoked; that the key has expired since does not matter. No vote
// stands while the voter has a password that another person set.
func standing(ctx context.Context, store rightsReader, projectID string, v Vote) (voter User, stands bool, err error) {
	u, m, err := readPerson(ctx, store, projectID, v.Actor.Person)
	if err != nil {
		return u, false, err
	}
	u = u.since(v.Losses)
	role := roleOf(u, m, !m.CreatedAt.After(v.Time))
	if u.Disabled || u.PasswordSetByOther || !role.Includes(RoleApprover) {
		return u, false, nil
	}
	if v.Actor.Type != ActorAPIKey {
		return u, true, nil
	}
	key, err := store.APIKey(ctx, v.Actor.ID)
	if errors.Is(err, CodeNotFound) {
		return u, false, nil
	}
	if err != nil {
		return u, false, fmt.Errorf("count approvals: %w", err)
	}
	revoked, err := keyRevoked(ctx, store, key)
	return u, !revoked, err
}

// countVotes counts the people who approved and may still approve. The requester
// does not count.
func countVotes(ctx context.Context, store rightsReader, projectID string, requester Actor, decisions []Vote) (voteCount, error) {
	var c voteCount
	counted := map[string]bool{requester.Person: true}
	for _, v := range decisions {
		if v.Decision != DecisionApprove || counted[v.Actor.Person] {
			continue
		}
		counted[v.Actor.Person] = true
		_, stands, err := standing(ctx, store, projectID, v)
		if err != nil {
			return c, err
		}
		if stands {
			c.present++
		} else {
			c.gone = append(c.gone, v.Actor.Username)
		}
	}
	return c, nil
}
