package host

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

	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

const (
	// startTimeout is how long a plugin may take until it has described itself.
	startTimeout = 10 * time.Second
	// maxDescription is how large its description may be, in bytes.
	maxDescription = 1 << 20
	// maxOverhead is what a file's message may hold beside the file, in bytes.
	maxOverhead = 1 << 10
	// processPrefix stands before a plugin's name in the list of processes.
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

	// unwatch stops the end of the start's context from ending the process.
	unwatch  func() bool
	cleanup  sync.Once
	answered atomic.Int64 // renders that succeeded
}

// startInstance runs the image in the box and asks it to describe itself. ctx
// bounds the start alone.
func startInstance(ctx context.Context, i *image, box sandbox.Spec, s *settings) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	in, err := runInstance(ctx, i, box, s)
	if errors.Is(err, sandbox.ErrApart) && ctx.Err() == nil {
		box.Together = true // which is then in its report
		in, err = runInstance(ctx, i, box, s)
	}
	if err != nil && ctx.Err() != nil {
		err = &unfit{"it did not start in time", err}
	}
	return in, err
}

func runInstance(ctx context.Context, i *image, box sandbox.Spec, s *settings) (*instance, error) {
	in := &instance{output: newOutput(s.log.With("plugin", strings.TrimPrefix(box.Name, processPrefix)), s.listen)}
	in.client = plugin.NewClient(in.config(ctx, i, box, s))
	err := in.connect(ctx)
	if err == nil && !in.unwatch() {
		err = context.Cause(ctx)
	}
	if err != nil {
		in.end()
		if fate := in.fate(); fate != "" {
			err = fmt.Errorf("%w (%s)", err, fate)
		}
		return nil, err
	}
	return in, nil
}

func (in *instance) config(ctx context.Context, i *image, box sandbox.Spec, s *settings) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		VersionedPlugins: sdk.Versions(),
		// In place of SecureConfig, which hashes a path that is started later:
		// the runner starts the very bytes that were hashed.
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, socketDir string) (runner.Runner, error) {
			box.Folder = socketDir
			p, err := newProcess(i, box, spec)
			if err != nil {
				return nil, err
			}
			in.process = p
			in.unwatch = context.AfterFunc(ctx, p.end)
			return p, nil
		},
		SkipHostEnv:      true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		StartTimeout:     startTimeout,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: s.sockets.path},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(s.maxFile + maxOverhead)),
			grpc.WithStreamInterceptor(in.conns.intercept),
		},
		// The host tells of a plugin's life itself, without quoting the plugin.
		Logger:     hclog.NewNullLogger(),
		Stderr:     in.output,
		SyncStdout: in.output,
		SyncStderr: in.output,
	}
}

func (in *instance) connect(ctx context.Context) error {
	protocol, err := in.client.Client()
	if err != nil {
		return refused(err)
	}
	dispensed, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return refused(err)
	}
	var ok bool
	if in.renderer, ok = dispensed.(pluginv1.RendererClient); !ok {
		return errors.New("it is not a renderer")
	}
	in.description, err = in.renderer.Describe(ctx, &pluginv1.DescribeRequest{}, grpc.MaxCallRecvMsgSize(maxDescription))
	if err != nil {
		return &unfit{"it did not say what it renders", err}
	}
	return nil
}

// unfit is why a plugin did not start. Its text is the host's, for everybody; what
// is known beside may be the plugin's words or name paths, and is for the log and
// for who tries the plugin.
type unfit struct {
	text  string
	known error
}

func (u *unfit) Error() string { return u.text }

func (u *unfit) Unwrap() error { return u.known }

// known is all that is known of why a plugin did not start, tamed.
func known(err error) string {
	text := err.Error()
	if u, ok := errors.AsType[*unfit](err); ok {
		text += ": " + u.known.Error()
	}
	return printable(text, maxOutputLine)
}

// ownWords is an error that anybody may read, though it comes through go-plugin.
type ownWords struct{ error }

func (w ownWords) Unwrap() error { return w.error }

// refused words why go-plugin did not take the plugin. Most of its errors quote
// the plugin; it has no type for the one of a plugin with which this host shares
// no version of the protocol.
func refused(err error) error {
	if own, ok := errors.AsType[ownWords](err); ok {
		return own
	}
	spoken := 0
	if n, _ := fmt.Sscanf(err.Error(), "incompatible API version with plugin. Plugin version: %d", &spoken); n == 1 {
		return fmt.Errorf("it speaks protocol %d; this host speaks %v", spoken, slices.Sorted(maps.Keys(sdk.Versions())))
	}
	return &unfit{"it did not start as plugins do", err}
}

// gone tells whether the process has ended.
func (in *instance) gone() bool {
	select {
	case <-in.process.exited:
		return true
	default:
		return false
	}
}

// fate is why the process ended, in the host's words, once end has returned:
// by then everything is read that it wrote.
func (in *instance) fate() string {
	if in.process == nil {
		return ""
	}
	fate := in.process.fate()
	if fate != "" && in.output.starved() {
		return fmt.Sprintf("it ran out of its %d MiB of memory", in.process.box.Limits.MemoryMiB)
	}
	return fate
}

// end kills the process and frees everything that belongs to it. It comes first
// because go-plugin would ask the process to end itself, and wait for an answer.
func (in *instance) end() {
	in.cleanup.Do(func() {
		if in.process != nil {
			in.process.end()
		}
		in.client.Kill()
		in.conns.close()
	})
}

// connections are those that go-plugin opened: it forgets the one of a plugin
// that dies while it connects.
type connections struct {
	mu   sync.Mutex
	seen []*grpc.ClientConn
}

// brokerStream is how a plugin asks for further connections. Countersign needs
// none, and go-plugin keeps what such a request names for ever.
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
		_ = conn.Close() // closed already where go-plugin did remember
	}
}
