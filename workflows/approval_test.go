package workflows

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign/engine"
)

// The policy of these tests: two approvers within 100 hours, a claim window of the
// same length, and tokens that live 30 hours. environment explains why not seconds.
const (
	approvalLife = 100 * time.Hour
	claimWindow  = 100 * time.Hour
	tokenLife    = 30 * time.Hour
)

// askPeople makes every download of the project wait for people.
func askPeople(d *testbed, _ *engine.WorkflowInput) {
	p := engine.DefaultPolicy(project)
	p.Version, p.Approval = 1, engine.ApprovalRule{
		Mode: engine.ApprovalAll, RequiredApprovals: 2,
		TTLSeconds: int(approvalLife.Seconds()), ClaimWindowSeconds: int(claimWindow.Seconds()),
	}
	noError(d.t, d.store.AddPolicy(d.t.Context(), p, record("policy")))
}

// person returns the user with this id; the requester is u.
func person(name string) engine.Actor {
	return engine.Actor{Type: engine.ActorUser, ID: name, Name: name, Person: name}
}

// ask sends an Update and hands its answer, or the code it was refused with, to
// got.
func ask1(env *testsuite.TestWorkflowEnvironment, name string, in any, got func(engine.Code)) {
	answer := func(err error) {
		refused, _ := errors.AsType[*temporal.ApplicationError](err)
		switch {
		case err == nil:
			got("")
		case refused != nil && refused.Type() != "":
			got(engine.Code(refused.Type()))
		default:
			got(engine.Code(err.Error()))
		}
	}
	env.UpdateWorkflow(name, engine.NewID("upd"), &testsuite.TestUpdateCallback{
		OnReject: answer, OnAccept: func() {}, OnComplete: func(_ any, err error) { answer(err) },
	}, in)
}

func expect(t *testing.T, what string, want engine.Code) func(engine.Code) {
	return func(got engine.Code) {
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
}

func voteOf(o engine.WorkflowInput, who string, decision engine.Decision) engine.VoteCommand {
	return engine.VoteCommand{ProjectID: project, RequestID: o.Request.ID, Vote: engine.Vote{
		ID: engine.NewID("vote"), Actor: person(who), Decision: decision, Comment: "because",
	}}
}

func cancelOf(o engine.WorkflowInput) engine.CancelCommand {
	return engine.CancelCommand{ProjectID: project, RequestID: o.Request.ID, Actor: o.Request.Requester}
}

// vote sends a user's vote after a while, and checks the code of its answer.
func vote(after time.Duration, who string, decision engine.Decision, want engine.Code) during {
	return during{after, func(env *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		ask1(env, voteUpdate, voteOf(o, who, decision), expect(d.t, who+" says "+string(decision), want))
	}}
}

// claimOf is a claim of the order's request, with the n-th token.
func claimOf(o engine.WorkflowInput, n string) engine.ClaimCommand {
	token := o.Token
	token.Digest = engine.SecretDigest(engine.Secret(o.Request.ID + n))
	return engine.ClaimCommand{Token: token, TTLSeconds: int(tokenLife.Seconds()), Actor: o.Request.Requester}
}

func claim(after time.Duration, n string, want engine.Code) during {
	return during{after, func(env *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		ask1(env, claimUpdate, claimOf(o, n), expect(d.t, "claim "+n, want))
	}}
}

func cancel(after time.Duration, want engine.Code) during {
	return during{after, func(env *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		ask1(env, cancelUpdate, cancelOf(o), expect(d.t, "cancel", want))
	}}
}

// use settles the n-th claimed token and reports it.
func use(after time.Duration, n string, kind engine.SettleKind) during {
	return during{after, func(env *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		o.Token = claimOf(o, n).Token
		d.settle(o, kind)
		report(env, o, false)
	}}
}

// yes are the two approvals, 10 and 20 hours from the start.
var yes = []during{vote(10*time.Hour, "a", engine.DecisionApprove, ""), vote(20*time.Hour, "b", engine.DecisionApprove, "")}

func and(first []during, more ...during) []during {
	return append(first[:len(first):len(first)], more...)
}

var approvalEndings = map[string]struct {
	ending
	approval engine.ApprovalStatus
}{
	"approved, claimed and used": {ending{steps: and(yes, claim(30*time.Hour, "1", ""), use(40*time.Hour, "1", engine.Consumed)),
		status: engine.StatusConsumed, lasts: 40 * time.Hour,
		entries: map[string]int{engine.ActionDownloadRequested: 1, engine.ActionApprovalApproved: 2, engine.ActionTokenIssued: 1}}, engine.ApprovalApproved},
	"one denial settles": {ending{steps: []during{
		vote(10*time.Hour, "a", engine.DecisionApprove, ""), vote(11*time.Hour, "b", engine.DecisionDeny, ""),
		vote(11*time.Hour, "c", engine.DecisionApprove, engine.CodeNotPending),
	}, status: engine.StatusDenied, lasts: 11 * time.Hour, entries: map[string]int{engine.ActionApprovalApproved: 1, engine.ActionApprovalDenied: 1}}, engine.ApprovalDenied},
	"too few votes": {ending{steps: []during{
		vote(10*time.Hour, "a", engine.DecisionApprove, ""), vote(11*time.Hour, "a", engine.DecisionDeny, engine.CodeAlreadyDecided),
		vote(12*time.Hour, "u", engine.DecisionApprove, engine.CodeSelfApproval), claim(13*time.Hour, "1", engine.CodeNotApproved),
	}, status: engine.StatusExpired, lasts: approvalLife, entries: map[string]int{engine.ActionApprovalApproved: 1, engine.ActionApprovalExpired: 1}}, engine.ApprovalExpired},
	"cancelled while it waits for people": {ending{steps: []during{
		vote(10*time.Hour, "a", engine.DecisionApprove, ""), cancel(20*time.Hour, ""),
	}, status: engine.StatusCancelled, lasts: 20 * time.Hour, entries: map[string]int{engine.ActionDownloadCancelled: 1}}, engine.ApprovalCancelled},
	"cancelled while it waits to be claimed": {ending{steps: and(yes, cancel(30*time.Hour, "")),
		status: engine.StatusCancelled, lasts: 30 * time.Hour, entries: map[string]int{engine.ActionDownloadCancelled: 1}}, engine.ApprovalApproved},
	"never claimed": {ending{steps: yes, status: engine.StatusExpired, lasts: 20*time.Hour + claimWindow,
		entries: map[string]int{engine.ActionDownloadExpired: 1, engine.ActionApprovalExpired: 0}}, engine.ApprovalApproved},
	"claimed again, the token before it revoked": {ending{steps: and(yes,
		claim(30*time.Hour, "1", ""), claim(40*time.Hour, "2", ""), cancel(41*time.Hour, engine.CodeNotPending),
		use(50*time.Hour, "2", engine.Consumed), claim(50*time.Hour, "3", engine.CodeNotPending),
	), status: engine.StatusConsumed, lasts: 50 * time.Hour,
		entries: map[string]int{engine.ActionTokenIssued: 2, engine.ActionTokenRevoked: 1}}, engine.ApprovalApproved},
	"claimed again, after the first token expired": {ending{steps: and(yes,
		claim(30*time.Hour, "1", ""), claim(90*time.Hour, "2", ""), use(95*time.Hour, "2", engine.Consumed),
	), status: engine.StatusConsumed, lasts: 95 * time.Hour,
		entries: map[string]int{engine.ActionTokenIssued: 2, engine.ActionTokenExpired: 1}}, engine.ApprovalApproved},
	"claimed, the token left to expire, and so the window": {ending{steps: and(yes, claim(30*time.Hour, "1", "")),
		status: engine.StatusExpired, lasts: 20*time.Hour + claimWindow,
		entries: map[string]int{engine.ActionTokenExpired: 1, engine.ActionDownloadExpired: 1}}, engine.ApprovalApproved},
	"a token may expire after the window": {ending{steps: and(yes, claim(110*time.Hour, "1", ""), claim(121*time.Hour, "2", engine.CodeNotPending),
		use(130*time.Hour, "1", engine.Consumed)), status: engine.StatusConsumed, lasts: 130 * time.Hour}, engine.ApprovalApproved},
	"revoked": {ending{steps: and(yes, claim(30*time.Hour, "1", ""), use(40*time.Hour, "1", engine.Revoked)),
		status: engine.StatusRevoked, lasts: 40 * time.Hour}, engine.ApprovalApproved},
}

func TestApprovalEndings(t *testing.T) {
	for name, c := range approvalEndings {
		t.Run(name, func(t *testing.T) {
			c.role, c.prepare = engine.RoleOperator, askPeople
			d, o := c.check(t)
			d.approval(o.Request.ID, c.approval)
		})
	}
}

// A crash that hides a claim from the workflow does not hide the report of the
// claimed token: the workflow ends when it comes, not at its next deadline.
func TestReportOfATokenThatTheWorkflowDoesNotKnow(t *testing.T) {
	hidden := during{30 * time.Hour, func(env *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		if _, err := d.transitions.Claim(context.Background(), claimOf(o, "1")); err != nil {
			d.t.Error(err)
		}
	}}
	for name, c := range map[string]ending{
		"the first claim":  {steps: and(yes, hidden, use(40*time.Hour, "1", engine.Revoked)), status: engine.StatusRevoked, lasts: 40 * time.Hour},
		"a repeated claim": {steps: and(yes, claim(25*time.Hour, "0", ""), hidden, use(40*time.Hour, "1", engine.Consumed)), status: engine.StatusConsumed, lasts: 40 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			c.role, c.prepare = engine.RoleOperator, askPeople
			c.entries = map[string]int{engine.ActionDownloadInterrupted: 0}
			c.check(t)
		})
	}
}

// A transition whose answer is lost runs again and changes nothing.
func TestLostApprovalAnswersChangeNothing(t *testing.T) {
	c := approvalEndings["claimed again, the token before it revoked"]
	c.role, c.prepare = engine.RoleOperator, func(d *testbed, o *engine.WorkflowInput) {
		askPeople(d, o)
		d.store.loses(map[string]int{"open": 2, "settle": 2, "advance": 5})
	}
	d, o := c.check(t)
	d.approval(o.Request.ID, engine.ApprovalApproved)
	if left := d.store.mend(); len(left) > 0 {
		t.Errorf("lost answers that were not met: %v", left)
	}
}

// approval checks the status of a request's approval.
func (d *testbed) approval(requestID string, want engine.ApprovalStatus) {
	d.t.Helper()
	r, err := d.store.Request(d.t.Context(), project, requestID)
	noError(d.t, err)
	a, err := d.store.Approval(d.t.Context(), project, r.ApprovalID)
	noError(d.t, err)
	if a.Status != want {
		d.t.Errorf("the approval is %s, want %s", a.Status, want)
	}
}
