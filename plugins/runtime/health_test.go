package runtime

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// silent is a renderer that never answers.
type silent struct{ pluginv1.RendererClient }

func (silent) Describe(ctx context.Context, _ *pluginv1.DescribeRequest, _ ...grpc.CallOption) (*pluginv1.DescribeResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A render that was answered resets the count of missed checks.
func TestRendersCountAsHealth(t *testing.T) {
	in := &instance{process: &process{exited: make(chan struct{})}, renderer: silent{}}
	var checks healthChecks
	for i, step := range []struct{ answered, failed bool }{
		{true, false}, {false, false}, {true, false}, {false, false}, {false, true},
	} {
		if step.answered {
			in.answered.Add(1)
		}
		if failed := checks.failed(t.Context(), in, time.Millisecond); failed != step.failed {
			t.Errorf("check %d: failed: %v", i, failed)
		}
	}
}
