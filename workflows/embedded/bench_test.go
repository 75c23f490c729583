package embedded

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// BenchmarkStart measures a first start in an empty folder.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s := start(b, Options{Dir: b.TempDir(), Logger: discard})
		b.StopTimer()
		s.Stop()
		b.StartTimer()
	}
}

// BenchmarkFloor measures the least time that a request can take on one server:
//
//   - eager: a workflow of one no-op local activity, started eagerly, to its result;
//   - waiting: the same until the local activity has reported to the caller
//     in-process; the workflow then sets a timer and waits for a signal;
//   - close: signalling a waiting workflow, which then runs one more local
//     activity and ends.
//
// The number is that of concurrent callers. Run it with -benchtime 2000x.
func BenchmarkFloor(b *testing.B) {
	s := start(b, Options{Dir: b.TempDir(), Logger: discard})
	b.Cleanup(s.Stop)
	c, err := client.Dial(s.ClientOptions(client.Options{Namespace: "countersign", Logger: discard}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	w := worker.New(c, queue, worker.Options{LocalActivityWorkerOnly: true, MaxConcurrentWorkflowTaskPollers: 16})
	f := &floor{client: c}
	w.RegisterWorkflow(f.short)
	w.RegisterWorkflow(f.long)
	if err := w.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Stop)

	for _, callers := range []int{1, 32} {
		b.Run("eager/"+strconv.Itoa(callers), func(b *testing.B) {
			measure(b, callers, func(int) { f.eager(b) })
		})
		b.Run("waiting/"+strconv.Itoa(callers), func(b *testing.B) {
			measure(b, callers, func(int) { f.wait(b) })
		})
	}
	for _, callers := range []int{1, 4, 16} {
		b.Run("close/"+strconv.Itoa(callers), func(b *testing.B) { f.close(b, callers) })
	}
}

// floor starts the workflows, which report in-process to those that wait.
type floor struct {
	client  client.Client
	ids     atomic.Int64
	waiting sync.Map // workflow id → chan struct{}, one send for each report
}

func localActivities(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
}

func (f *floor) noop(context.Context) error { return nil }

func (f *floor) report(_ context.Context, id string) error {
	if c, ok := f.waiting.Load(id); ok {
		c.(chan struct{}) <- struct{}{}
	}
	return nil
}

func (f *floor) short(ctx workflow.Context) error {
	ctx = localActivities(ctx)
	return workflow.ExecuteLocalActivity(ctx, f.noop).Get(ctx, nil)
}

func (f *floor) long(ctx workflow.Context) error {
	ctx = localActivities(ctx)
	id := workflow.GetInfo(ctx).WorkflowExecution.ID
	if err := workflow.ExecuteLocalActivity(ctx, f.report, id).Get(ctx, nil); err != nil {
		return err
	}
	workflow.NewSelector(ctx).
		AddFuture(workflow.NewTimer(ctx, 5*time.Minute), func(workflow.Future) {}).
		AddReceive(workflow.GetSignalChannel(ctx, "end"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) }).
		Select(ctx)
	return workflow.ExecuteLocalActivity(ctx, f.report, id).Get(ctx, nil)
}

func (f *floor) start(b *testing.B, fn any) client.WorkflowRun {
	id := "floor-" + strconv.FormatInt(f.ids.Add(1), 10)
	f.waiting.Store(id, make(chan struct{}, 2)) // an activity that runs twice must not block
	r, err := f.client.ExecuteWorkflow(b.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue, EnableEagerStart: true}, fn)
	if err != nil {
		panic(err) // not in the benchmark's goroutine
	}
	return r
}

func (f *floor) reported(id string) {
	c, _ := f.waiting.Load(id)
	<-c.(chan struct{})
}

func (f *floor) eager(b *testing.B) {
	if err := f.start(b, f.short).Get(b.Context(), nil); err != nil {
		b.Error(err)
	}
}

func (f *floor) wait(b *testing.B) string {
	id := f.start(b, f.long).GetID()
	f.reported(id)
	return id
}

func (f *floor) close(b *testing.B, callers int) {
	ids := make([]string, b.N)
	each(b.N, 16, func(i int) { ids[i] = f.wait(b) })
	b.ResetTimer()
	measure(b, callers, func(i int) {
		if err := f.client.SignalWorkflow(b.Context(), ids[i], "", "end", nil); err != nil {
			b.Error(err)
		}
	})
	for _, id := range ids {
		f.reported(id)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "closed/s")
}

// each calls f for 0 to n-1 from several goroutines.
func each(n, callers int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// measure calls f b.N times and reports the median and the rate.
func measure(b *testing.B, callers int, f func(i int)) {
	took := make([]time.Duration, b.N)
	each(b.N, callers, func(i int) {
		begin := time.Now()
		f(i)
		took[i] = time.Since(begin)
	})
	slices.Sort(took)
	b.ReportMetric(0, "ns/op") // says nothing beside the two below
	b.ReportMetric(float64(took[b.N/2])/float64(time.Millisecond), "p50-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
