package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
)

const queue = "embedded-test"

// childDir is the environment variable that makes the test binary the process to
// kill.
const childDir = "EMBEDDED_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

func greet(_ context.Context, name string) (string, error) { return "hello " + name, nil }

func greeting(ctx workflow.Context, name string) (out string, err error) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
	err = workflow.ExecuteLocalActivity(ctx, greet, name).Get(ctx, &out)
	return out, err
}

// held waits for a signal or an hour, whichever comes first.
func held(ctx workflow.Context) (out string, err error) {
	workflow.NewSelector(ctx).
		AddFuture(workflow.NewTimer(ctx, time.Hour), func(workflow.Future) { out = "timer" }).
		AddReceive(workflow.GetSignalChannel(ctx, "go"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, &out) }).
		Select(ctx)
	return out, nil
}

var discard = slog.New(slog.DiscardHandler)

func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// work runs a worker against s until stop.
func work(s *Server, dial ...grpc.DialOption) (c client.Client, stop func(), err error) {
	c, err = client.Dial(s.ClientOptions(client.Options{
		Namespace: "countersign", Logger: discard,
		ConnectionOptions: client.ConnectionOptions{DialOptions: dial},
	}))
	if err != nil {
		return nil, nil, err
	}
	w := worker.New(c, queue, worker.Options{LocalActivityWorkerOnly: true})
	w.RegisterWorkflow(greeting)
	w.RegisterWorkflow(held)
	return c, func() { w.Stop(); c.Close() }, w.Start()
}

func mustWork(t testing.TB, s *Server, dial ...grpc.DialOption) (client.Client, func()) {
	t.Helper()
	c, stop, err := work(s, dial...)
	if err != nil {
		t.Fatal(err)
	}
	return c, stop
}

func TestWorkflowOutlivesServer(t *testing.T) {
	// The folder's name has characters with a meaning in SQLite's URIs.
	dir := filepath.Join(t.TempDir(), "a folder?mode=ro#100%25")
	s := start(t, Options{Dir: dir})
	var eager atomic.Bool
	c, stop := mustWork(t, s, grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := next(ctx, method, req, reply, cc, opts...)
		if r, ok := reply.(*workflowservice.StartWorkflowExecutionResponse); ok && r.GetEagerWorkflowTask() != nil {
			eager.Store(true)
		}
		return err
	}))
	r, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "once", TaskQueue: queue, EnableEagerStart: true}, greeting, "you")
	if err != nil {
		t.Fatal(err)
	}
	var out string
	if err := r.Get(t.Context(), &out); err != nil || out != "hello you" {
		t.Fatalf("result %q, %v", out, err)
	}
	if !eager.Load() {
		t.Error("the first task did not come with the answer to the start")
	}
	stop()
	s.Stop()

	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	for _, name := range []string{"temporal.db", "visibility.db"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, name+"-wal")); err == nil {
			t.Errorf("%s: the log was not merged", name)
		}
	}

	s = start(t, Options{Dir: dir, Retention: 2 * time.Hour})
	defer s.Stop()
	c, stop = mustWork(t, s)
	defer stop()
	d, err := c.DescribeWorkflowExecution(t.Context(), "once", r.GetRunID())
	if err != nil {
		t.Fatal(err)
	}
	if got := d.GetWorkflowExecutionInfo().GetStatus(); got != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		t.Errorf("status %v", got)
	}
	ns, err := c.WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "countersign"})
	if err != nil {
		t.Fatal(err)
	}
	if got := ns.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(); got != 2*time.Hour {
		t.Errorf("retention %v", got)
	}
}

func TestScheduleRunsAndWorkflowsAreListed(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	defer s.Stop()
	c, stop := mustWork(t, s)
	defer stop()
	_, err := c.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
		ID:                 "daily",
		Spec:               client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 24 * time.Hour}}},
		Action:             &client.ScheduleWorkflowAction{ID: "daily", Workflow: greeting, Args: []any{"all"}, TaskQueue: queue},
		TriggerImmediately: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the scheduled workflow is listed as completed", func() bool {
		l, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
			Query: "WorkflowType = 'greeting' AND ExecutionStatus = 'Completed'",
		})
		return err == nil && len(l.GetExecutions()) == 1
	})
}

// until polls a condition that cannot be waited for otherwise.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !holds(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("not within a minute: " + what)
		}
	}
}

// child starts a workflow, prints that it did, and waits to be killed.
func child(dir string) {
	s, err := Start(context.Background(), Options{Dir: dir})
	if err == nil {
		var c client.Client
		if c, _, err = work(s); err == nil {
			_, err = c.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{
				ID: "held", TaskQueue: queue, EnableEagerStart: true,
				// The kill may hit the first task: another worker gets it only when this has passed.
				WorkflowTaskTimeout: time.Second,
			}, held)
		}
	}
	fmt.Println("child:", err)
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
	os.Exit(1)
}

// startChild runs child in a process of its own.
func startChild(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "child: <nil>\n" {
		t.Fatalf("child said %q", line)
	}
	return cmd
}

// kill ends a child without notice.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var died *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &died) {
		t.Fatal(err)
	}
}

func stillRuns(t *testing.T, c client.Client, workflowID string) {
	t.Helper()
	d, err := c.DescribeWorkflowExecution(t.Context(), workflowID, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := d.GetWorkflowExecutionInfo().GetStatus(); got != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("the workflow is %v", got)
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	cmd := startChild(t, dir)
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "database is locked") {
		t.Errorf("a second server on the folder: %v", err)
	}
	kill(t, cmd)

	s := start(t, Options{Dir: dir})
	defer s.Stop()
	c, stop := mustWork(t, s)
	defer stop()
	stillRuns(t, c, "held")
	if err := c.SignalWorkflow(t.Context(), "held", "", "go", "signalled"); err != nil {
		t.Fatal(err)
	}
	var out string
	if err := c.GetWorkflow(t.Context(), "held", "").Get(t.Context(), &out); err != nil || out != "signalled" {
		t.Errorf("result %q, %v", out, err)
	}
}

func TestOneFolderOneServer(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	defer s.Stop()
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil {
		t.Error("a second server got the folder")
	}
	c, stop := mustWork(t, s)
	defer stop()
	_, err := c.DescribeWorkflowExecution(t.Context(), "none", "")
	if missing := new(serviceerror.NotFound); !errors.As(err, &missing) {
		t.Errorf("the first server does not work any more: %v", err)
	}
}
