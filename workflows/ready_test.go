package workflows

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign/engine"
)

// look has a request's workflow look at the store.
func look(t *testing.T, temporal client.Client, requestID string) {
	t.Helper()
	report := engine.SettlementReport{ProjectID: project, RequestID: requestID}
	noError(t, temporal.SignalWorkflow(addressed(t.Context(), requestID), requestID, "", settledSignal, report))
}

// A report that arrives while a command ends the request has Temporal refuse the task
// that carried the command out. The caller is answered all the same, and the command is
// carried out once.
func TestCommandMeetsAReport(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	temporal, c, stop := temporalOn(t, d, t.TempDir())
	defer stop()
	askPeople(d, nil)
	for id, command := range map[string]func(o engine.WorkflowInput) (engine.Request, error){
		"req_cancelled": func(o engine.WorkflowInput) (engine.Request, error) { return c.Cancel(t.Context(), cancelOf(o)) },
		"req_denied": func(o engine.WorkflowInput) (engine.Request, error) {
			return c.Vote(t.Context(), voteOf(o, "a", engine.DecisionDeny))
		},
	} {
		o := d.order(id, engine.RoleOperator)
		_, err := c.Start(t.Context(), o)
		noError(t, err)
		arrived := false
		d.store.advancing = func() { // in the only transition that runs
			if !arrived {
				look(t, temporal, id)
			}
			arrived = true
		}
		r, err := command(o)
		noError(t, err)
		if !r.Status.Ended() || !arrived {
			t.Errorf("%s is %s, a report arrived: %v", id, r.Status, arrived)
		}
		noError(t, temporal.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil))
		if n := d.count(id, engine.ActionDownloadCancelled) + d.count(id, engine.ActionApprovalDenied); n != 1 {
			t.Errorf("%d entries say that %s has ended", n, id)
		}
	}
	d.verify()
}

// A workflow whose tasks went to nodes that did not complete them refuses Updates until
// a node completes one. A command waits for that.
func TestCommandWaitsForANodeThatWorks(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	temporal, c, stop := temporalOn(t, d, t.TempDir())
	defer stop()
	askPeople(d, nil)
	o := d.order("req_1", engine.RoleOperator)
	_, err := c.Start(t.Context(), o)
	noError(t, err)
	c.worker.Stop()
	look(t, temporal, o.Request.ID)
	ctx, cancel := context.WithTimeout(t.Context(), engine.AnswerWithin)
	defer cancel()
	for range 3 {
		task, err := temporal.WorkflowService().PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{
			Namespace: "countersign", TaskQueue: &taskqueue.TaskQueue{Name: TaskQueue},
		})
		noError(t, err)
		_, err = temporal.WorkflowService().RespondWorkflowTaskFailed(ctx, &workflowservice.RespondWorkflowTaskFailedRequest{TaskToken: task.TaskToken})
		noError(t, err)
	}
	vote := voteOf(o, "a", engine.DecisionApprove)
	_, err = c.send(ctx, o.Request.ID, voteUpdate, vote)
	if _, unready := errors.AsType[*serviceerror.WorkflowNotReady](err); !unready {
		t.Fatalf("Temporal says %v, and not that the workflow is not ready", err)
	}
	works := time.AfterFunc(2*readyPause, func() {
		noError(t, c.Work(d.transitions, &engine.Retention{Store: d.store, Clock: engine.SystemClock}, d.notifications))
	})
	defer works.Stop()
	_, err = c.Vote(t.Context(), vote)
	noError(t, err)
	if _, err = c.Vote(t.Context(), voteOf(o, "a", engine.DecisionApprove)); !errors.Is(err, engine.CodeAlreadyDecided) {
		t.Errorf("a second vote: %v", err)
	}
}
