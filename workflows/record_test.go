//go:build record

package workflows

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/countersign-dev/countersign/deploy/embedded"
	"github.com/countersign-dev/countersign/engine"
)

// TestRecord runs each ending on a real server and writes its history. Run it
// when a workflow's steps change, and keep the histories of before:
//
//	go test -tags record -run TestRecord ./workflows
func TestRecord(t *testing.T) {
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Namespace: "record", Logger: slog.New(slog.DiscardHandler)})
	noError(t, err)
	defer server.Stop()
	temporal, err := client.DialContext(t.Context(), Options(client.Options{HostPort: server.Address(), Namespace: "record", Identity: "recorder", Logger: quiet{}}, testCodec(t)))
	noError(t, err)
	defer temporal.Close()
	d := newDesk(t, engine.SystemClock)
	c := NewClient(temporal, d.store, slog.New(slog.DiscardHandler))
	noError(t, c.Work(d.downloads))
	defer c.Close(t.Context())
	d.downloads.Workflows = c

	begin := func(name string, role engine.Role, change func(*engine.Order)) engine.Order {
		o := d.order(name, role)
		o.Request.TTLSeconds = 2
		if change != nil {
			change(&o)
		}
		_, err := c.Start(t.Context(), o)
		noError(t, err)
		return o
	}
	d.settle(begin("consumed", engine.RoleOperator, nil), engine.Consumed)
	c.Settled("consumed", false)
	d.settle(begin("interrupted", engine.RoleOperator, nil), engine.Consumed)
	c.Settled("interrupted", true)
	d.settle(begin("unreported", engine.RoleOperator, nil), engine.Consumed)
	d.settle(begin("revoked", engine.RoleOperator, nil), engine.Revoked)
	c.Settled("revoked", false)
	begin("expired", engine.RoleOperator, nil)
	begin("denied", engine.RoleViewer, nil)
	begin("cancelled", engine.RoleOperator, func(o *engine.Order) { o.AnswerBy = time.Unix(0, 0) })
	_, err = temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "retention", TaskQueue: TaskQueue}, retentionName, Ages{Tokens: time.Hour})
	noError(t, err)
	for _, name := range recordings {
		noError(t, temporal.GetWorkflow(t.Context(), name, "").Get(t.Context(), nil))
		write(t, temporal, name)
	}
}

func write(t *testing.T, temporal client.Client, id string) {
	events := temporal.GetWorkflowHistory(context.Background(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	var h history.History
	for events.HasNext() {
		e, err := events.Next()
		noError(t, err)
		h.Events = append(h.Events, e)
	}
	text, err := protojson.MarshalOptions{Multiline: true}.Marshal(&h)
	noError(t, err)
	noError(t, os.WriteFile(filepath.Join("testdata", "history", id+".json"), text, 0o644))
}
