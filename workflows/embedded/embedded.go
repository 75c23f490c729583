// Package embedded runs a Temporal server inside this process, on SQLite, for
// the installation that has one machine and no settings. Start is where to
// begin reading; config.go holds what the server is told, store.go the files.
//
// It promises three things. What the front end acknowledged survives kill -9
// and a power cut: the write-ahead log is synced before every answer. Nothing
// listens or dials beyond 127.0.0.1. One folder has one server: a second one,
// in this process or another, is refused. The front end has no authentication,
// so any user of the machine can reach it.
//
// An operator who sets OTEL_TRACES_EXPORTER gets Temporal's traces too; that
// is the only way to make it open a connection to elsewhere.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/testing/freeport"
	"go.temporal.io/server/temporal"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Options says where the server keeps its state. Only Dir is required.
type Options struct {
	// Dir is the folder of temporal.db and visibility.db; it is made with mode
	// 0700 where it does not exist. Several servers need several folders.
	Dir string
	// Namespace is created on the first start in a folder. Default "countersign".
	Namespace string
	// Retention is how long a closed workflow stays, at least one hour; a changed
	// value holds for workflows that close from then on. Default 72 hours.
	Retention time.Duration
	// Logger gets Temporal's warnings and errors. Default slog.Default().
	Logger *slog.Logger
}

// Server is a running Temporal server. Stop it once.
type Server struct {
	temporal temporal.Server
	store    *store
	address  string
	log      *slog.Logger
	stopping atomic.Bool
}

// Start runs front end, history, matching and the internal worker (schedules
// need it) in this process and returns once the namespace can be used, in less
// than a second on an idle machine. The context bounds the last step only, as
// Temporal's own start takes none. It fails if another server has the folder.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Namespace == "" {
		o.Namespace = "countersign"
	}
	if o.Retention == 0 {
		o.Retention = 72 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make Temporal's folder: %w", err)
	}
	store, err := openStore(o)
	if err != nil {
		return nil, fmt.Errorf("open Temporal's store in %s: %w", o.Dir, err)
	}
	s := &Server{store: store, log: o.Logger}
	if err = s.run(freeport.MustGetFreePort); err == nil {
		err = s.ready(ctx, o)
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// run builds and starts the server. Temporal binds its ports itself, so that a
// port found free can be lost to another process: then it tries others.
func (s *Server) run(freePort func() int) (err error) {
	var lost fatal
	for range 5 {
		if err = s.build(freePort); !errors.As(err, &lost) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("configure Temporal: %w", err)
	}
	if err = s.temporal.Start(); err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	return nil
}

// build constructs the server, which binds its ports. Temporal reports a port
// that is taken as fatal to its logger, which panics; that comes back as an error.
func (s *Server) build(freePort func() int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			lost, ok := r.(fatal)
			if !ok {
				panic(r)
			}
			err = lost
		}
	}()
	cfg, hosts := serverConfig(s.store, freePort)
	s.address = cfg.PublicClient.HostPort
	noClaims := func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }
	s.temporal, err = temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.WithDynamicConfigClient(dynamicConfig()),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger{s.log, &s.stopping}),
		temporal.WithCustomMetricsHandler(metrics.NoopMetricsHandler),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(noClaims),
	)
	return err
}

// ready waits for the front end and brings the namespace's retention up to date.
func (s *Server) ready(ctx context.Context, o Options) error {
	c, err := client.NewNamespaceClient(client.Options{HostPort: s.address, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("reach Temporal: %w", err)
	}
	defer c.Close()
	ns, err := c.Describe(ctx, o.Namespace)
	if err != nil {
		return fmt.Errorf("read Temporal's namespace: %w", err)
	}
	if ns.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration() == o.Retention {
		return nil
	}
	err = c.Update(ctx, &workflowservice.UpdateNamespaceRequest{
		Namespace: o.Namespace,
		Config:    &namespace.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(o.Retention)},
	})
	if err != nil {
		return fmt.Errorf("set the retention of Temporal's namespace to %v: %w", o.Retention, err)
	}
	return nil
}

// Address returns the front end's host:port, on 127.0.0.1; it differs from
// start to start.
func (s *Server) Address() string { return s.address }

// Stop ends the server and closes its files; it takes one to two seconds, most
// of which Temporal spends draining. Stop workers and close clients first.
// Temporal's idle client connections to itself are left behind: it cannot be
// told to close them.
func (s *Server) Stop() {
	s.stopping.Store(true)
	if s.temporal != nil {
		if err := s.temporal.Stop(); err != nil {
			s.log.Error("stop Temporal", "error", err)
		}
	}
	if err := s.store.close(); err != nil {
		s.log.Error("close Temporal's store", "error", err)
	}
}
