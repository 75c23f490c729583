package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/keys"
	"github.com/countersign-dev/countersign/workflows"
	"github.com/countersign-dev/countersign/workflows/embedded"
)

// openTemporal connects to Temporal, and binds the installation to it for a reason.
// Payloads are encrypted under a key that all processes of the installation share.
func (s *system) openTemporal(ctx context.Context, reason string, accept bool) error {
	key, err := keys.DataKey(ctx, s.keys, s.store, "temporal-payloads")
	if err != nil {
		return err
	}
	codec, err := workflows.NewCodec(key)
	if err != nil {
		return err
	}
	options, err := s.temporalOptions(ctx)
	if err != nil {
		return err
	}
	options = workflows.Options(options, codec)
	if s.traces != nil {
		if options, err = workflows.Traced(options, s.traces.Provider()); err != nil {
			return err
		}
	}
	if s.config.Temporal.Address == "" {
		s.temporal, err = client.DialContext(ctx, options)
	} else {
		err = s.awaitEngine(ctx, "Temporal", func(ctx context.Context) error { return s.dialTemporal(ctx, options) }, temporalNotYet)
	}
	if err != nil {
		return fmt.Errorf("connect to Temporal at %s: %w", options.HostPort, err)
	}
	s.onClose(func(context.Context) error { s.temporal.Close(); return nil })
	s.workflows = workflows.NewClient(s.temporal, s.store, s.log)
	if s.config.Temporal.Address != "" {
		s.workflows.ReportWithin(20 * time.Second)
	}
	s.onClose(func(ctx context.Context) error { s.workflows.Close(ctx); return nil })
	s.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "countersign_requests_resumed_total", Help: "Requests that Temporal had lost, and that got a new workflow.",
	}, func() float64 { return float64(s.workflows.Resumed()) }))
	bind := func(ctx context.Context) error {
		return s.workflows.Bind(ctx, options.Namespace, s.installation(), reason, accept)
	}
	if s.config.Temporal.Address == "" {
		return bind(ctx)
	}
	return s.awaitEngine(ctx, "Temporal", bind, temporalNotYet) // a new namespace is not known everywhere at once
}

func (s *system) installation() engine.Installation {
	return engine.Installation{Store: s.store, Key: s.auditKey, Clock: engine.SystemClock}
}

// temporalOptions are those of a client of the configured Temporal service, or of a
// Temporal server that it starts in this process.
func (s *system) temporalOptions(ctx context.Context) (client.Options, error) {
	options := client.Options{
		HostPort: s.config.Temporal.Address, Namespace: s.config.Temporal.Namespace,
		Logger: sdklog.NewStructuredLogger(s.log.With("component", "temporal")),
	}
	if options.HostPort != "" {
		return options, s.config.Temporal.secure(&options)
	}
	workflows.DisableCache()
	server, err := embedded.Start(ctx, embedded.Options{
		Dir: filepath.Join(s.config.Data, "db"), Namespace: options.Namespace, Logger: s.log,
	})
	if err != nil {
		return options, err
	}
	s.onClose(func(context.Context) error { server.Stop(); return nil })
	return server.ClientOptions(options), nil
}

// checkTemporal returns an error unless the service and the namespace are there, and the
// namespace is free for this installation.
func (s *system) checkTemporal(ctx context.Context) error {
	options, err := s.temporalOptions(ctx)
	if err != nil {
		return err
	}
	err = s.awaitEngine(ctx, "Temporal", func(ctx context.Context) error {
		if err := s.dialTemporal(ctx, options); err != nil {
			return err
		}
		defer s.temporal.Close()
		reader := workflows.NewClient(s.temporal, s.store, s.log)
		defer reader.Close(ctx)
		return reader.RefuseOwned(ctx, options.Namespace, s.installation())
	}, temporalNotYet)
	if err != nil {
		return fmt.Errorf("connect to Temporal at %s: %w", options.HostPort, err)
	}
	return nil
}

// dialTemporal connects to a Temporal service and looks for the namespace, which it makes
// if the settings ask for that.
func (s *system) dialTemporal(ctx context.Context, options client.Options) error {
	dialed, err := client.DialContext(ctx, options)
	if err != nil {
		return err
	}
	if err = s.findNamespace(ctx, dialed.WorkflowService(), options); err != nil {
		dialed.Close()
		return err
	}
	s.temporal = dialed
	return nil
}

// namespaceRetention is how long Temporal keeps a workflow that has ended, in a namespace
// that this program makes: as long as the embedded server. The store has all that is
// promised of a request that has ended; its history serves the search for a fault only.
const namespaceRetention = 72 * time.Hour

// findNamespaceWithin limits one call to the service.
const findNamespaceWithin = 5 * time.Second

func (s *system) findNamespace(ctx context.Context, service workflowservice.WorkflowServiceClient, options client.Options) error {
	ctx, cancel := context.WithTimeout(ctx, findNamespaceWithin)
	defer cancel()
	_, err := service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: options.Namespace})
	if _, missing := errors.AsType[*serviceerror.NamespaceNotFound](err); !missing {
		return err
	}
	if !s.config.Temporal.CreateNamespace {
		return fmt.Errorf("the namespace is missing; make it with: temporal operator namespace create --address %s --namespace %s --retention 72h"+
			" (or start once with --temporal-create-namespace): %w", options.HostPort, options.Namespace, err)
	}
	_, failed := service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: options.Namespace, Description: "Countersign", WorkflowExecutionRetentionPeriod: durationpb.New(namespaceRetention),
	})
	if _, exists := errors.AsType[*serviceerror.NamespaceAlreadyExists](failed); failed != nil && !exists {
		return fmt.Errorf("make the namespace %s: %w", options.Namespace, failed)
	}
	s.log.InfoContext(ctx, "made the Temporal namespace", "namespace", options.Namespace, "retention", namespaceRetention)
	return err // the service takes a moment to find it everywhere
}

// temporalNotYet reports whether a service may be there in a moment: it does not answer,
// or the namespace was made a moment ago. A refused certificate or credential is final.
func temporalNotYet(err error) bool {
	for _, text := range []string{"authentication handshake failed", "tls: "} { // the library has no type for them
		if strings.Contains(err.Error(), text) {
			return false
		}
	}
	_, unavailable := errors.AsType[*serviceerror.Unavailable](err)
	_, late := errors.AsType[*serviceerror.DeadlineExceeded](err)
	_, missing := errors.AsType[*serviceerror.NamespaceNotFound](err)
	return unavailable || late || missing || errors.Is(err, context.DeadlineExceeded)
}
