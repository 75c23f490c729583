// Package workflows runs each download request as one durable Temporal workflow,
// which is the only writer of the request's document.
//
// Start with [Download], which reads as the life of a request. Underneath it,
// state.go makes each transition safe to repeat, and command.go receives votes,
// cancellations and claims. [Resume] continues a request whose workflow Temporal has
// lost, and [Reconcile] finds these. A namespace belongs to one installation (binding.go). [Notify] delivers notifications, and [Retention]
// deletes what has been kept long enough. [Client] is the [engine.Workflows] port:
// it starts workflows, sends them commands and reports settled tokens to them.
// [Client.Work] runs the worker. [Codec] encrypts every payload before Temporal
// stores it, for one workflow and one type. No token, passphrase or private key is
// ever part of a payload.
package workflows

import (
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// TaskQueue is where workers of every node wait for work.
const TaskQueue = "countersign"

// The names of workflows, activities, signals and Updates in histories. They must
// never change: workflows that started before an upgrade end after it. Nor must the
// names of the Go types of what these take and return, by which [Codec] encrypts.
const (
	downloadName          = "Download"
	resumeWorkflowName    = "ResumeDownload"
	reconcileWorkflowName = "Reconciliation"
	retentionName         = "Retention"
	notifyName            = "Notify"
	notifyPartName        = "NotifyPart"
	resumeName            = "Resume"
	reconcileName         = "Reconcile"
	evaluatePolicyName    = "EvaluatePolicy"
	voteName              = "Vote"
	cancelName            = "Cancel"
	claimName             = "Claim"
	expireName            = "Expire"
	recordSettlementName  = "RecordSettlement"
	remindApproversName   = "RemindApprovers"
	announceApprovalName  = "AnnounceApproval"
	listDeliveriesName    = "ListDeliveries"
	deliverName           = "Deliver"
	purgeName             = "Purge"
	settledSignal         = "settled"
	voteUpdate            = "vote"
	cancelUpdate          = "cancel"
	claimUpdate           = "claim"
)

// Options completes the options of a Temporal client with the encrypting codec, for
// payloads and for the text of failures. The namespace must be that of the client.
func Options(o client.Options, codec *Codec) client.Options {
	o.DataConverter = codec.to(o.Namespace, "")
	o.FailureConverter = temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		DataConverter: o.DataConverter, EncodeCommonAttributes: true,
	})
	return o
}

// registry is what workers, the replayer of histories and tests have in common.
type registry interface {
	RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions)
}

func registerWorkflows(r registry) {
	r.RegisterWorkflowWithOptions(Download, workflow.RegisterOptions{Name: downloadName})
	r.RegisterWorkflowWithOptions(Resume, workflow.RegisterOptions{Name: resumeWorkflowName})
	r.RegisterWorkflowWithOptions(Reconcile, workflow.RegisterOptions{Name: reconcileWorkflowName})
	r.RegisterWorkflowWithOptions(Retention, workflow.RegisterOptions{Name: retentionName})
	r.RegisterWorkflowWithOptions(Notify, workflow.RegisterOptions{Name: notifyName})
	r.RegisterWorkflowWithOptions(NotifyPart, workflow.RegisterOptions{Name: notifyPartName})
}

// workerOptions: eager starts run on the client's own worker, so its slots bound
// the mints that run at the same time.
func workerOptions() worker.Options {
	return worker.Options{
		MaxConcurrentWorkflowTaskPollers:        16,
		MaxConcurrentWorkflowTaskExecutionSize:  256,
		MaxConcurrentLocalActivityExecutionSize: 256,
		WorkerStopTimeout:                       10 * time.Second,
	}
}
