package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
)

// compareNodes finds out whether the other nodes of the installation have the same
// settings, until the system closes. From then on a migration finds this node; one that
// began before has marked the store, so the mark is read again.
func (s *system) compareNodes(ctx context.Context) error {
	host, _ := os.Hostname() // it is only shown
	s.nodes = &engine.Nodes{Store: s.store, ID: engine.NewID("node"), Host: host, Settings: s.sharedSettings, Clock: engine.SystemClock, Log: s.log}
	s.metrics.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_other_nodes", Help: "How many other nodes of this installation run.",
		}, func() float64 { return float64(len(s.nodes.Others())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_other_nodes_differing", Help: "How many of the other nodes have settings that should be the same as this node's and are not.",
		}, func() float64 {
			differing := 0
			for _, other := range s.nodes.Others() {
				differing += min(len(other.Differs), 1)
			}
			return float64(differing)
		}))
	shared := s.config.MongoDB.URI != "" // the lock of the data folder keeps a migration from SQLite
	if shared {
		if err := s.nodes.Compare(ctx); err != nil {
			return fmt.Errorf("register this node: %w", err)
		}
		if err := s.refuseMigrated(ctx); err != nil {
			return errors.Join(err, s.store.RemoveNode(ctx, s.nodes.ID))
		}
	}
	s.runUntilClose(s.nodes.Run)
	return nil
}

// keepersSetting names the setting that says which keepers a node knows; the first wraps
// new secrets.
const keepersSetting = "keepers"

// sharedSettings are the settings that must be the same on all nodes. A text that may
// be long, or that others need not see, is shown by its digest.
func (s *system) sharedSettings() map[string]string {
	var plugins []string
	for _, p := range s.host.Plugins() {
		plugins = append(plugins, p.Name, p.Version, p.SHA256)
		plugins = append(plugins, p.Formats...)
	}
	return map[string]string{
		"version":         version,
		"policy rules":    s.policy.Revision(),
		"plugins":         digest(strings.Join(plugins, "\n")),
		"anchor":          digest(s.config.Anchor.URL),
		"audit":           digest(fmt.Sprintf("%+v", s.config.Audit.shared())),
		keepersSetting:    strings.Join(s.keys.IDs(), ", "),
		"limits":          fmt.Sprintf("%+v", s.config.Limits),
		"notifications":   digest(fmt.Sprintf("%q", s.config.Notifications.AllowHosts)),
		"public_url":      s.config.PublicURL,
		"retention":       fmt.Sprintf("%+v", s.config.Retention.ages()),
		"archive":         digest(s.config.Retention.Archive),
		"sandbox":         s.config.Sandbox.Mode,
		"sessions":        fmt.Sprintf("%+v", s.config.Sessions),
		"tls":             fmt.Sprintf("HTTPS %t, client certificates %t, %s", s.config.TLS.CertFile != "", s.config.TLS.ClientCAFile != "", s.config.TLS.ClientCerts),
		"trusted_proxies": digest(fmt.Sprintf("%q", s.config.TrustedProxies)),
	}
}

// digest names a text in 16 characters.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
