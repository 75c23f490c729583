package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// hostCheck is how often a plugin checks that its host is alive.
const hostCheck = 500 * time.Millisecond

// Serve serves the renderer to the host that started this process, until the host
// ends the plugin or ends itself. If a user starts the program directly, Serve
// prints a message and exits.
func Serve(r Renderer) {
	go exitWithHost(hostPID(), hostCheck)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  Handshake,
		VersionedPlugins: versions(&server{renderer: r}),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(MaxMessage))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

// hostPID returns the process id of the host. The host passes it in an environment
// variable, because the host may end before this process asks for its parent.
func hostPID() int {
	if pid, err := strconv.Atoi(os.Getenv(HostPIDVariable)); err == nil {
		return pid
	}
	return os.Getppid()
}

// exitWithHost ends the process when host is no longer its parent. The kernel gives
// an orphan another parent: init or a subreaper.
func exitWithHost(host int, every time.Duration) {
	for tick := time.NewTicker(every); os.Getppid() == host; <-tick.C {
	}
	os.Exit(1)
}

// server is the gRPC side of a Renderer.
type server struct {
	pluginv1.UnimplementedRendererServer
	renderer Renderer
}

var _ pluginv1.RendererServer = (*server)(nil)

// Describe implements pluginv1.RendererServer.
func (s *server) Describe(context.Context, *pluginv1.DescribeRequest) (answer *pluginv1.DescribeResponse, err error) {
	defer hidePanic(&err)
	answer = &pluginv1.DescribeResponse{Version: version()}
	for _, f := range s.renderer.Formats() {
		targets, err := describeTargets(f.Targets)
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		answer.Formats = append(answer.Formats, &pluginv1.Format{
			Id: f.ID, Filename: f.Filename, Aliases: f.Aliases, MediaType: f.MediaType,
			NeedsKey: f.NeedsKey, NeedsPassphrase: f.NeedsPassphrase, NeedsChain: f.NeedsChain,
			Description: f.Description, TypicalUse: f.TypicalUse,
			OptionsSchema: string(f.OptionsSchema), Includes: f.Includes,
			Targets: targets,
		})
	}
	return answer, nil
}

func describeTargets(targets []Target) (described []*pluginv1.Target, err error) {
	for _, t := range targets {
		var options []byte
		if len(t.Options) > 0 {
			if options, err = json.Marshal(t.Options); err != nil {
				return nil, fmt.Errorf("target %s: encode options: %w", t.ID, err)
			}
		}
		described = append(described, &pluginv1.Target{Id: t.ID, Title: t.Title, Options: string(options), ImportCommand: t.ImportCommand})
	}
	return described, nil
}

// Render implements pluginv1.RendererServer.
func (s *server) Render(ctx context.Context, r *pluginv1.RenderRequest) (answer *pluginv1.RenderResponse, err error) {
	defer hidePanic(&err)
	job := Job{
		Format: r.GetFormat(), Name: r.GetName(), Leaf: r.GetLeaf(), Chain: r.GetChain(),
		PrivateKey: r.GetPrivateKey(), Passphrase: r.GetPassphrase(),
		Options: json.RawMessage(r.GetOptions()), Files: map[string][]byte{},
	}
	for _, file := range r.GetFiles() {
		job.Files[file.GetFilename()] = file.GetContent()
	}
	content, err := s.renderer.Render(ctx, job)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil, status.FromContextError(err).Err()
	case err != nil:
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	return &pluginv1.RenderResponse{Content: content}, nil
}

// hidePanic turns a panic into an error without the panic's value and stack, because
// both may contain bytes of the private key.
func hidePanic(err *error) {
	if recover() != nil {
		*err = status.Error(codes.Internal, "the renderer panicked; run its tests to find the cause")
	}
}

// version returns the version of the plugin's main module, as the go command
// recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
