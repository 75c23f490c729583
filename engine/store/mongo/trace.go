package mongo

import (
	"context"
	"errors"
	"sync"

	"go.mongodb.org/mongo-driver/event"
	"go.opentelemetry.io/otel/trace"

	"github.com/countersign-dev/countersign/engine/tracing"
)

// errCommand stands for the error of a command, whose text may quote documents.
var errCommand = errors.New("the command failed")

// command identifies a command between its start and its end.
type command struct {
	connection string
	request    int64
}

// traceCommands traces each command by its name and its collection. The rest of a command
// is documents and values, which must not be in a trace.
func traceCommands() *event.CommandMonitor {
	var running sync.Map // of command to trace.Span, for commands that are traced
	end := func(e event.CommandFinishedEvent, err error) {
		if span, ok := running.LoadAndDelete(command{e.ConnectionID, e.RequestID}); ok {
			tracing.End(span.(trace.Span), err)
		}
	}
	return &event.CommandMonitor{
		Started: func(ctx context.Context, e *event.CommandStartedEvent) {
			if !tracing.Recorded(ctx) {
				return
			}
			_, span := tracing.Start(ctx, "store "+e.CommandName+" "+collectionOf(e))
			running.Store(command{e.ConnectionID, e.RequestID}, span)
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { end(e.CommandFinishedEvent, nil) },
		Failed:    func(_ context.Context, e *event.CommandFailedEvent) { end(e.CommandFinishedEvent, errCommand) },
	}
}

// collectionOf is the collection that a command is for, if it begins with it.
func collectionOf(e *event.CommandStartedEvent) string {
	first, err := e.Command.IndexErr(0)
	if err != nil || first.Key() != e.CommandName {
		return ""
	}
	name, _ := first.Value().StringValueOK()
	return name
}
