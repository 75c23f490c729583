package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/countersign-dev/countersign/engine"
	_ "github.com/countersign-dev/countersign/engine/anchor/cloud" // object stores
	"github.com/countersign-dev/countersign/engine/keys"
	_ "github.com/countersign-dev/countersign/engine/keys/kms" // cloud keepers
	"github.com/countersign-dev/countersign/engine/notify"
	"github.com/countersign-dev/countersign/engine/passwords"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
	"github.com/countersign-dev/countersign/engine/tracing"
	"github.com/countersign-dev/countersign/plugins/host"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/policies"
	"github.com/countersign-dev/countersign/workflows"
)

// system is a whole server, wired.
type system struct {
	config        Config
	log           *slog.Logger
	store         engine.Store
	keys          *keys.Sealer
	auditKey      []byte
	verifier      *engine.Verifier
	anchors       *engine.Anchors
	nodes         *engine.Nodes
	forwardings   forwardings
	host          *host.Host
	policy        *policies.Evaluator
	metrics       *prometheus.Registry
	traces        *tracing.Traces // nil for none
	secure        *servedTLS      // nil for HTTP
	temporal      client.Client
	workflows     *workflows.Client
	downloads     *engine.Downloads
	notifications *engine.Notifications
	admin         *engine.Admin
	signIns       *engine.Authentication
	closers       []func(context.Context) error // in the order of opening
}

// openSystem opens every part but the listener, and starts the worker of the
// workflows. On an error it closes what it opened. It starts on what an operator must
// accept only if that is accepted.
func openSystem(ctx context.Context, c Config, accept accepted, log *slog.Logger) (*system, error) {
	s := &system{config: c, log: log, metrics: newRegistry()}
	err := s.openTraces() // first, so that they close last
	if err == nil {
		err = s.lockData()
	}
	if err == nil {
		err = s.openPolicy(ctx)
	}
	if err == nil {
		err = s.openAdapters(ctx, accept)
	}
	if err == nil {
		err = s.startUseCases(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// newRegistry has the metrics of the process and of the Go runtime, and the version.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "countersign_build_info", Help: "1, labelled with the version of the program.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}

// accepted is what an operator accepts at one start: a database that is behind its
// anchor, or another Temporal than before.
type accepted struct{ restore, temporal bool }

func (s *system) onClose(f func(context.Context) error) { s.closers = append(s.closers, f) }

// close closes every part in reverse order. Parts that have work to finish take
// until ctx ends at most.
func (s *system) close(ctx context.Context) error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i](ctx))
	}
	s.closers = nil
	return errors.Join(errs...)
}

// lockData makes the data folder, and prevents that two processes use it.
func (s *system) lockData() error {
	if err := os.MkdirAll(s.config.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return s.lock("lock", "the folder is in use by another process")
}

// lock locks a file of the data folder until the system closes; refusal says what it means
// that somebody else has locked it.
func (s *system) lock(name, refusal string) error {
	lock, err := os.OpenFile(filepath.Join(s.config.Data, name), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the name is one of ours
	if err != nil {
		return fmt.Errorf("lock the data folder: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("lock the data folder %s: %s: %w", s.config.Data, refusal, err), lock.Close())
	}
	s.onClose(func(context.Context) error { return lock.Close() })
	return nil
}

func (s *system) openPolicy(ctx context.Context) (err error) {
	s.policy, err = policies.Open(ctx, policies.Options{
		Dir: s.config.Policies.Dir, Log: s.log, Clock: engine.SystemClock, Metrics: s.metrics,
	})
	if err == nil {
		s.onClose(func(context.Context) error { s.policy.Close(); return nil })
	}
	return err
}

// openAdapters opens the plugins, and the store and Temporal, side by side: both
// wait for the disk and for other processes, and the start is faster so.
func (s *system) openAdapters(ctx context.Context, accept accepted) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.openPlugins(ctx) })
	group.Go(func() error {
		if err := s.openServedStore(groupCtx); err != nil {
			return err
		}
		if err := s.openKeys(groupCtx); err != nil {
			return err
		}
		if err := s.checkAnchor(groupCtx, accept.restore); err != nil {
			return err
		}
		return s.openTemporal(ctx, engine.FirstStart, accept.temporal)
	})
	err := group.Wait()
	if s.host != nil { // only now: closers belong to one goroutine
		s.onClose(s.closePlugins)
	}
	return err
}

var errPasswordWithoutURI = errors.New("mongodb.password_file is set and mongodb.uri is not; set it, or leave out the file to use SQLite")

func (s *system) openStore(ctx context.Context) error {
	var err error
	settings := s.config.MongoDB
	switch {
	case settings.URI != "":
		err = s.awaitEngine(ctx, "MongoDB", func(ctx context.Context) (err error) {
			s.store, err = mongo.OpenAs(ctx, settings.URI, mongo.Credential{UsernameFile: settings.UsernameFile, PasswordFile: settings.PasswordFile})
			return err
		}, mongo.NotYet)
	case settings.PasswordFile != "":
		err = errPasswordWithoutURI
	default:
		s.store, err = sqlite.Open(ctx, databaseIn(s.config.Data))
	}
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.store.Close() })
	return nil
}

// auditKeyID names the key of the audit chains, which is the first one that an
// installation makes.
const auditKeyID = "audit-chain"

func (s *system) openKeys(ctx context.Context) error {
	_, err := s.store.StoredDataKey(ctx, auditKeyID)
	inUse := err == nil
	if err != nil && !errors.Is(err, engine.CodeNotFound) {
		return err
	}
	if !inUse { // the first start makes the key before it makes a user
		filled, err := s.hasUsers(ctx)
		if err != nil {
			return err
		}
		if filled {
			return errors.New("the database has users and no audit key, so it is not whole: if a migration to it was interrupted, repeat that first; otherwise restore the database from a backup")
		}
	}
	if err := s.openKeepers(ctx, inUse); err != nil {
		return err
	}
	if s.auditKey, err = keys.DataKey(ctx, s.keys, s.store, auditKeyID); err != nil {
		return err
	}
	return s.store.UseAuditKey(ctx, s.auditKey)
}

// openKeepers opens the keepers, and makes a missing key file unless the installation is in
// use.
func (s *system) openKeepers(ctx context.Context, inUse bool) (err error) {
	s.keys, err = keys.Open(ctx, keys.Options{
		Keeper: s.config.Keeper.URL, Previous: s.config.Keeper.Previous, KeyFile: s.config.Keeper.File, InUse: inUse, Logger: s.log, Metrics: s.metrics,
	})
	if err == nil {
		s.onClose(func(context.Context) error { return s.keys.Close() })
	}
	return err
}

func (s *system) openPlugins(ctx context.Context) error {
	h, err := host.Open(ctx, host.Options{
		Catalogue: s.config.Plugins, SocketDir: s.socketDir(), Sandbox: s.config.Sandbox.Mode, Metrics: s.metrics, Logger: s.log,
	})
	if err == nil {
		s.host = h
	}
	return err
}

// closePlugins also removes the folder of the plugins' sockets, which is empty then.
func (s *system) closePlugins(context.Context) error {
	return errors.Join(s.host.Close(), os.Remove(s.socketDir()))
}

// socketDir is in the data folder, unless the paths of sockets would then be
// longer than the kernel allows. It is the same at every start, so that a start
// finds and removes what a killed process left there.
func (s *system) socketDir() string {
	dir := filepath.Join(s.config.Data, "run")
	if len(dir) <= runtime.MaxSocketDir {
		return dir
	}
	return filepath.Join(os.TempDir(), "countersign-"+digest(s.config.Data))
}

// runUntilClose runs a task beside everything else. Its context ends when the system
// closes, which waits for the task.
func (s *system) runUntilClose(task func(ctx context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		task(ctx)
	}()
	s.onClose(func(context.Context) error {
		stop()
		<-ended
		return nil
	})
}

// startUseCases wires the domain's use cases to the adapters, and starts the
// worker and the retention of the workflows.
func (s *system) startUseCases(ctx context.Context) error {
	if err := s.compareNodes(ctx); err != nil {
		return err
	}
	if err := s.forwardAudit(); err != nil {
		return err
	}
	refusals := &engine.Refusals{Store: s.store, Clock: engine.SystemClock, Log: s.log}
	s.runUntilClose(refusals.Run)
	s.downloads = &engine.Downloads{
		Store: s.store, Formats: s.host, Keys: s.keys, Policy: s.policy, Workflows: s.workflows,
		Refusals: refusals, Limits: engine.MintLimits{LiveTokens: s.config.Limits.LiveTokens, WaitingRequests: s.config.Limits.WaitingRequests},
		HeldUp: s.heldUp, Clock: engine.SystemClock, Log: s.log,
	}
	s.admin = &engine.Admin{Store: s.store, Keys: s.keys, Passwords: &passwords.Passwords{}, Plugins: s.host, Clock: engine.SystemClock}
	s.signIns = &engine.Authentication{
		Store: s.store, Passwords: s.admin.Passwords, Clock: engine.SystemClock,
		Idle: s.config.Sessions.Idle, Life: s.config.Sessions.Life, Key: s.auditKey,
	}
	s.notifications = &engine.Notifications{
		Store: s.store, Keys: s.keys, Clock: engine.SystemClock, Log: s.log, PublicURL: strings.TrimSuffix(s.config.PublicURL, "/"),
		Notifier: notify.New(notify.Options{AllowHosts: s.config.Notifications.AllowHosts, Clock: engine.SystemClock}),
	}
	ages := s.config.Retention.ages()
	s.verifier = &engine.Verifier{Store: s.store, Key: s.auditKey, Ages: ages, Clock: engine.SystemClock, Wait: 2 * time.Second}
	transitions := &engine.Transitions{Store: s.store, Policy: s.policy, Reports: s.workflows, Clock: engine.SystemClock, Log: s.log}
	retention, err := s.openRetention(ctx)
	if err != nil {
		return err
	}
	if err := s.workflows.Work(transitions, retention, s.notifications); err != nil {
		return err
	}
	if err := s.workflows.ScheduleRetention(ctx, ages); err != nil {
		return err
	}
	if err := s.workflows.Reconcile(ctx); err != nil {
		return err
	}
	s.runUntilClose(func(ctx context.Context) { s.workflows.KeepSchedules(ctx, s.installation(), ages) })
	return nil
}

// url is the public URL or, without one, a URL that works on this machine.
func (s *system) url(listener net.Listener) string {
	if s.config.PublicURL != "" {
		return strings.TrimSuffix(s.config.PublicURL, "/")
	}
	scheme := "http://"
	if s.secure != nil {
		scheme = "https://"
	}
	at, err := netip.ParseAddrPort(listener.Addr().String())
	if err == nil && at.Addr().IsUnspecified() {
		return fmt.Sprintf("%s127.0.0.1:%d", scheme, at.Port())
	}
	return scheme + listener.Addr().String()
}
