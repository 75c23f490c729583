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

// No workflow stays in memory between its steps. A history is some twenty events
// that the server has at hand, so replaying it costs nothing that could be
// measured. With a cache, an Update to a workflow that the cache has dropped fails
// its first try: the server's history lacks the two events of a task that it has
// not stored yet (temporal issue 7741), and whoever decides waits several times as
// long. What a dead node had cached would also be waited for.
//
// The setting is the process's, and the first worker to start takes it for all: an
// embedded Temporal server starts workers of its own before there is one of ours.
func init() { worker.SetStickyWorkflowCacheSize(0) }

// workerOptions: eager starts run on the client's own worker, so its slots bound
// the mints under way.
func workerOptions() worker.Options {
	return worker.Options{
		MaxConcurrentWorkflowTaskPollers:        16,
		MaxConcurrentWorkflowTaskExecutionSize:  256,
		MaxConcurrentLocalActivityExecutionSize: 256,
		WorkerStopTimeout:                       10 * time.Second,
	}
}

var _ engine.Workflows = (*Client)(nil)
