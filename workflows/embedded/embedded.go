// Package embedded runs a Temporal server inside this process, on SQLite, for an
// installation on one machine. Start with [Start]; config.go has the server's
// configuration, store.go its databases.
//
// The package promises:
//   - What the front end acknowledged survives kill -9 and a power failure: the
//     write-ahead log is on disk before every answer.
//   - The server listens and dials on 127.0.0.1 only. If OTEL_TRACES_EXPORTER is
//     set, Temporal also exports its traces.
//   - Only this process reaches the server. Each of its three ports (front end,
//     history, matching) is TLS 1.3 and requires a certificate whose key is made at
//     the start and never leaves this process's memory.
//   - A folder has one server. A second one, in this or another process, is refused.
package embedded

import (
	"context"
	"crypto/tls"
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
	// Dir is the folder of temporal.db and visibility.db. It is made with mode 0700
	// if it does not exist. Each server needs a folder of its own.
	Dir string
	// Namespace is made on the first start in a folder. The default is "countersign".
	Namespace string
	// Retention is how long a closed workflow is kept, at least one hour. A changed
	// value applies to workflows that close later. The default is 72 hours.
	Retention time.Duration
	// Logger gets Temporal's warnings and errors. The default is slog.Default().
	Logger *slog.Logger
}

// Server is a running Temporal server. Stop it once.
type Server struct {
	temporal   temporal.Server
	store      *store
	address    string // of the front end
	credential *tls.Config
	log        *slog.Logger
	stopping   atomic.Bool
}

// Start runs front end, history, matching and the internal worker (for schedules) in
// this process. It returns when the namespace can be used, in less than a second on
// an idle machine. The context limits only the last step, because Temporal's own
// start takes no context. Start fails if another server uses the folder.
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
	if s.credential, err = newCredential(); err == nil {
		err = s.run(freeport.MustGetFreePort)
	}
	if err == nil {
		err = s.ready(ctx, o)
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// run builds and starts the server. Temporal binds its ports itself, so another
// process may take a port that was found free; run then tries other ports.
func (s *Server) run(freePort func() int) (err error) {
	var lost fatalError
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

// build constructs the server, which binds its ports. Temporal logs a taken port as
// fatal, and the logger panics; build returns that panic as an error.
func (s *Server) build(freePort func() int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			lost, ok := r.(fatalError)
			if !ok {
				panic(r)
			}
			err = lost
		}
	}()
	cfg, hosts := serverConfig(s.store, freePort)
	s.address = cfg.PublicClient.HostPort
	noClaims := func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }
	built, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.WithDynamicConfigClient(dynamicConfig()),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithTLSConfigFactory(everywhere(s.credential)),
		temporal.WithLogger(logger{s.log, &s.stopping}),
		temporal.WithCustomMetricsHandler(metrics.NoopMetricsHandler),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(noClaims),
	)
	if err == nil { // else built is a nil pointer, which the interface would hide
		s.temporal = built
	}
	return err
}

// ready waits for the front end and brings the namespace's retention up to date.
func (s *Server) ready(ctx context.Context, o Options) error {
	c, err := client.NewNamespaceClient(s.ClientOptions(client.Options{Logger: slog.New(slog.DiscardHandler)}))
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

// ClientOptions completes the options of a Temporal client with the front end's
// address and with the credential that it requires. Both change with each start.
func (s *Server) ClientOptions(o client.Options) client.Options {
	o.HostPort, o.ConnectionOptions.TLS = s.address, s.credential
	return o
}

// Stop ends the server and closes its files. It takes one to two seconds, because
// Temporal drains its services. Stop workers and close clients first. Temporal keeps
// its idle connections to itself; it has no way to close them.
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
