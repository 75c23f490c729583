package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/web"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/certimport"
)

// shutdownTimeout limits how long calls and reports in progress may take to finish.
const shutdownTimeout = 15 * time.Second

// serve answers calls on the listeners until ctx ends and the drain after it, then closes
// everything.
func (s *system) serve(ctx context.Context, l listeners) error {
	server, err := s.apiServer()
	if err != nil {
		return errors.Join(err, l.close(), s.close(context.WithoutCancel(ctx)))
	}
	operators := server.OperatorServer()
	served := make(chan error, 3)
	go func() { served <- server.Serve(l.public) }()
	if l.admin != nil {
		go func() {
			if err := operators.Serve(l.admin); !errors.Is(err, http.ErrServerClosed) {
				served <- fmt.Errorf("serve operators: %w", err)
			}
		}()
	}
	if l.redirect != nil {
		defer func() { _ = l.redirect.Close() }() // it may have been closed by its server
		go func() {
			if err := server.ServeRedirects(l.redirect); err != nil {
				served <- err
			}
		}()
	}
	select {
	case err = <-served:
	case <-ctx.Done():
		err = s.drain(server, served)
		s.log.Info("shutting down")
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return errors.Join(err, operators.Close(), server.Shutdown(closing), s.close(closing))
}

// drain goes on serving while load balancers notice that this server is not ready, until
// the time for that is over, a second signal comes or the server fails.
func (s *system) drain(server *api.Server, served <-chan error) error {
	if s.config.Drain == 0 {
		return nil
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	server.Drain()
	s.log.Info("draining: calls are still served, and readiness is answered 503; a second signal ends this", "for", s.config.Drain)
	timer := time.NewTimer(s.config.Drain)
	defer timer.Stop()
	select {
	case err := <-served:
		return err
	case <-again:
	case <-timer.C:
	}
	return nil
}

func (s *system) apiServer() (*api.Server, error) {
	ready := []api.Check{{Name: "store", Ask: s.store.Ping}, {Name: "temporal", NotToRedeem: true, Ask: s.workflows.Ready}}
	if s.config.MongoDB.URI == "" || s.config.Temporal.Address == "" { // else nothing grows in the data folder
		ready = append(ready, api.Check{Name: "disk", Ask: func(context.Context) error { return checkFree(s.config.Data) }})
	}
	options := api.Options{
		Downloads: s.downloads, Admin: s.admin, Authentication: s.signIns, Notifications: s.notifications, Store: s.store, Verifier: s.verifier, AnchoredHead: s.anchors.Head,
		Clock: engine.SystemClock, UI: web.Files(),
		PublicURL: s.config.PublicURL, TrustedProxies: s.config.TrustedProxies, UnknownTokensPerMinute: s.config.Limits.UnknownTokens,
		Connections: connectionLimit(s.config.Limits.Connections), ConnectionsPerAddress: s.config.Limits.ConnectionsPerAddress,
		Mints: s.config.Limits.Mints, Redemptions: s.config.Limits.Redemptions, Calls: s.config.Limits.Calls,
		ImportPEM: certimport.PEM, ImportPKCS12: certimport.PKCS12,
		Ready:        ready,
		PolicyStatus: s.policy.Status, OtherNodes: s.nodes.Others, Registry: s.metrics, Traces: s.traces.Provider(),
		Log: s.log, Version: version,
	}
	if s.secure != nil {
		options.TLS, options.TLSStatus = s.secure.config(), s.secure.status
		options.ClientCertificates = s.config.TLS.ClientCAFile != ""
	}
	return api.New(options)
}

// connectionLimit leaves half of the files that this process may open to databases,
// plugins and Temporal.
func connectionLimit(configured int) int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return configured
	}
	return int(min(uint64(configured), files.Cur/2)) //nolint:gosec // at most what is configured, which is positive
}

// leastFree is how much room the disk of the data folder must have, in bytes: some
// thousand downloads' worth, so that the server is not ready before writing fails.
const leastFree = 16 << 20

func checkFree(folder string) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); err != nil {
		return fmt.Errorf("look for free space in %s: %w", folder, err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < leastFree { //nolint:gosec // a block's size is positive
		return fmt.Errorf("%s has %d KiB free; make room for at least %d KiB", folder, free>>10, leastFree>>10)
	}
	return nil
}
