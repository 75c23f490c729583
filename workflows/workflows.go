// Package workflows runs each download request as one durable Temporal workflow,
// the only writer of its request's document.
//
// Start with [Download], which reads as the life of a request; [Notify] brings
// people word of it, on its own. [Client] is the
// [engine.Workflows] port: it starts workflows and reports settled tokens to
// them. [Client.Work] runs the worker. [Codec] encrypts every payload before
// Temporal sees it; no token, passphrase or key is ever among them, even so.
package workflows

import (
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// TaskQueue is where workers of every node wait for work.
const TaskQueue = "countersign"

// The names under which workflows, activities, signals and updates stand in histories.
// They must never change: histories outlive releases.
const (
	downloadName   = "Download"
	retentionName  = "Retention"
	decideName     = "Decide"
	voteName       = "Vote"
	cancelName     = "Cancel"
	issueName      = "Issue"
	concludeName   = "Conclude"
	purgeName      = "Purge"
	notifyName     = "Notify"
	notifyPartName = "NotifyPart"
	announceName   = "Announce"
	remindName     = "Remind"
	targetsName    = "ListTargets"
	deliverName    = "Deliver"
	settledSignal  = "settled"
	voteUpdate     = "vote"
	cancelUpdate   = "cancel"
	claimUpdate    = "claim"
)

// Options completes the options of a Temporal client with the encrypting codec,
// for payloads and for the text of failures alike.
func Options(o client.Options, codec converter.PayloadCodec) client.Options {
	o.DataConverter = converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), codec)
	o.FailureConverter = temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		DataConverter: o.DataConverter, EncodeCommonAttributes: true,
	})
	return o
}

// registry is what workers and the replayer of histories register alike.
type registry interface {
	RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions)
}

func registerWorkflows(r registry) {
	r.RegisterWorkflowWithOptions(Download, workflow.RegisterOptions{Name: downloadName})
	r.RegisterWorkflowWithOptions(Retention, workflow.RegisterOptions{Name: retentionName})
	r.RegisterWorkflowWithOptions(Notify, workflow.RegisterOptions{Name: notifyName})
	r.RegisterWorkflowWithOptions(NotifyPart, workflow.RegisterOptions{Name: notifyPartName})
}

// cached is how many waiting workflows a process keeps ready to wake, some 70 KiB
// each; one that is not costs whoever decides on it several times the wait.
const cached = 20_000

// workerOptions: eager starts run on the client's own worker, so its slots bound
// the mints under way.
func workerOptions() worker.Options {
	worker.SetStickyWorkflowCacheSize(cached) // of the process; only the first worker's start heeds it
	return worker.Options{
		MaxConcurrentWorkflowTaskPollers:        16,
		MaxConcurrentWorkflowTaskExecutionSize:  256,
		MaxConcurrentLocalActivityExecutionSize: 256,
		WorkerStopTimeout:                       10 * time.Second,
	}
}

var _ engine.Workflows = (*Client)(nil)
