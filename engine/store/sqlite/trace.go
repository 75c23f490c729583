package sqlite

import (
	"context"
	"strings"

	"github.com/countersign-dev/countersign/engine/tracing"
)

// observe traces a query. The caller calls ended with its error. Inside a transaction, the
// span of the write stands for all its queries.
func observe(ctx context.Context, q querier, query string) (inside context.Context, ended func(error)) {
	if _, writes := q.(tx); writes || !tracing.Recorded(ctx) {
		return ctx, func(error) {}
	}
	inside, span := tracing.Start(ctx, "store read "+tableOf(query))
	return inside, func(err error) { tracing.End(span, err) }
}

// tableOf is the first table that a query reads: of the query's text, only this is in a
// trace.
func tableOf(query string) string {
	for {
		_, after, found := strings.Cut(query, "FROM ")
		if !found {
			return "pragma"
		}
		if !strings.HasPrefix(after, "(") {
			return after[:strings.IndexAny(after+" ", " \n)")]
		}
		query = after
	}
}
