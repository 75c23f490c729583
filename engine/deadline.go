package engine

import (
	"context"
	"time"
)

const (
	// AnswerWithin is how long a call may take, and a caller waits for a workflow.
	AnswerWithin = 10 * time.Second
	// FinishWithin is the part of AnswerWithin that is kept for what has begun to be
	// written. The context of a call ends that much earlier.
	FinishWithin = 2 * time.Second
)

// Finishing is a context for the end of a call: for what must not be left half done,
// such as the audit entry of a change that is stored. It ends FinishWithin after ctx.
func Finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, limited := ctx.Deadline()
	if !limited {
		return context.WithCancel(context.WithoutCancel(ctx))
	}
	return context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(FinishWithin))
}

// timeLeft is how long the caller still waits.
func timeLeft(ctx context.Context) time.Duration {
	deadline, limited := ctx.Deadline()
	if !limited {
		return AnswerWithin
	}
	return min(AnswerWithin, time.Until(deadline))
}
