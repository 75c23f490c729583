package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/countersign-dev/countersign/plugins/declaration"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

const (
	// startTimeout is how long a plugin may take to start and describe itself.
	startTimeout = 10 * time.Second
	// maxDescription is the largest description, in bytes.
	maxDescription = 1 << 20
	// maxOverhead is the size of a render's answer without its file, in bytes.
	maxOverhead = 1 << 10
	// processPrefix precedes a plugin's name in the system's list of processes.
	processPrefix = "countersign-plugin-"
)

// instance is one running process of a plugin and the connection to it.
type instance struct {
	client      *plugin.Client
	process     *process
	output      *output
	conns       connections
	renderer    pluginv1.RendererClient
	description *pluginv1.DescribeResponse

	// detach keeps the process running when the context of its start ends. It
	// returns false if that has killed the process already.
	detach   func() bool
	cleanup  sync.Once
	answered atomic.Int64 // renders that succeeded
}

// startInstance runs the image in a sandbox and asks it to describe itself. ctx
// bounds the start alone.
func startInstance(ctx context.Context, i *image, spec sandbox.Spec, c *Config) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	in, err := runInstance(ctx, i, spec, c)
	if errors.Is(err, sandbox.ErrNoOwnNetwork) && ctx.Err() == nil {
		spec.HostNetwork = true // the report will say so
		in, err = runInstance(ctx, i, spec, c)
	}
	if err != nil && ctx.Err() != nil {
		err = &startError{"it did not start in time", err}
	}
	return in, err
}

func runInstance(ctx context.Context, i *image, spec sandbox.Spec, c *Config) (*instance, error) {
	in := &instance{output: newOutput(c.Log.With("plugin", strings.TrimPrefix(spec.Name, processPrefix)), c.output)}
	in.client = plugin.NewClient(in.clientConfig(ctx, i, spec, c))
	err := in.connect(ctx)
	if err == nil && !in.detach() {
		err = context.Cause(ctx)
	}
	if err != nil {
		in.end()
		if reason := in.exitReason(); reason != "" {
			err = fmt.Errorf("%w (%s)", err, reason)
		}
		return nil, err
	}
	return in, nil
}

func (in *instance) clientConfig(ctx context.Context, i *image, spec sandbox.Spec, c *Config) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		VersionedPlugins: sdk.Versions(),
		// This replaces SecureConfig, which hashes a path that is started later: the
		// runner starts exactly the bytes that were hashed.
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			spec.Folder = socketDir
			p, err := newProcess(i, spec, cmd.Env)
			if err != nil {
				return nil, err
			}
			in.process = p
			in.detach = context.AfterFunc(ctx, p.end)
			return p, nil
		},
		SkipHostEnv:      true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		StartTimeout:     startTimeout,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: c.Sockets.path},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.MaxFile + maxOverhead)),
			grpc.WithStreamInterceptor(in.conns.intercept),
		},
		// go-plugin's logger would quote the plugin; the supervisor logs its life instead.
		Logger:     hclog.NewNullLogger(),
		Stderr:     in.output,
		SyncStdout: in.output,
		SyncStderr: in.output,
	}
}

func (in *instance) connect(ctx context.Context) error {
	protocol, err := in.client.Client()
	if err != nil {
		return explainStart(err)
	}
	dispensed, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return explainStart(err)
	}
	var ok bool
	if in.renderer, ok = dispensed.(pluginv1.RendererClient); !ok {
		return errors.New("it is not a renderer")
	}
	in.description, err = in.renderer.Describe(ctx, &pluginv1.DescribeRequest{}, grpc.MaxCallRecvMsgSize(maxDescription))
	if err != nil {
		return &startError{"it did not say what it renders", err}
	}
	return nil
}

// startError is the reason why a plugin did not start. The text is the host's own
// and may be shown to every user. The detail may quote the plugin or name paths,
// and is only for the log and for the operator who tries the plugin.
type startError struct {
	text   string
	detail error
}

func (e *startError) Error() string { return e.text }

func (e *startError) Unwrap() error { return e.detail }

// withDetail returns all that is known about a failed start, made printable.
func withDetail(err error) string {
	text := err.Error()
	if s, ok := errors.AsType[*startError](err); ok {
		text += ": " + s.detail.Error()
	}
	return declaration.Printable(text, maxOutputLine)
}

// hostError marks an error of this package that go-plugin passes on. Its text may
// be shown to every user.
type hostError struct{ error }

func (e hostError) Unwrap() error { return e.error }

// explainStart explains why go-plugin did not accept the plugin. Most of its errors
// quote the plugin. It has no error type for a plugin with which this host shares
// no version of the protocol.
func explainStart(err error) error {
	if own, ok := errors.AsType[hostError](err); ok {
		return own
	}
	spoken := 0
	if n, _ := fmt.Sscanf(err.Error(), "incompatible API version with plugin. Plugin version: %d", &spoken); n == 1 {
		return fmt.Errorf("it speaks protocol %d; this host speaks %v", spoken, slices.Sorted(maps.Keys(sdk.Versions())))
	}
	return &startError{"it did not start as plugins do", err}
}

// ended reports whether the process has ended.
func (in *instance) ended() bool {
	select {
	case <-in.process.exited:
		return true
	default:
		return false
	}
}

// exitReason returns why the process ended. It must be called after end, which
// returns once all output is read.
func (in *instance) exitReason() string {
	if in.process == nil {
		return ""
	}
	reason := in.process.exitReason()
	if reason != "" && in.output.outOfMemory() {
		return fmt.Sprintf("it ran out of its %d MiB of memory", in.process.spec.Limits.MemoryMiB)
	}
	return reason
}

// end kills the process and frees everything that belongs to it. It kills the
// process first, because go-plugin would ask it to end and wait for an answer.
func (in *instance) end() {
	in.cleanup.Do(func() {
		if in.process != nil {
			in.process.end()
		}
		in.client.Kill()
		in.conns.close()
	})
}

// connections keeps the connections that go-plugin opens, because go-plugin does not
// close that of a plugin which ends while it connects.
type connections struct {
	mu   sync.Mutex
	seen []*grpc.ClientConn
}

// brokerStream is the call with which a plugin asks for further connections.
// Countersign needs none, and go-plugin never frees what such a request names.
const brokerStream = "/plugin.GRPCBroker/StartStream"

// intercept is a grpc.StreamClientInterceptor.
func (c *connections) intercept(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	c.mu.Lock()
	c.seen = append(c.seen, conn)
	c.mu.Unlock()
	if method == brokerStream {
		return nil, status.Error(codes.Unimplemented, "the host opens no further connections")
	}
	return streamer(ctx, desc, conn, method, options...)
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.seen {
		_ = conn.Close() // go-plugin may have closed it
	}
}
