package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// check finds settings that do not belong together.
func (c TLSConfig) check(publicURL string) error {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return errors.New("tls.cert_file and tls.key_file belong together; give both or neither")
	}
	if c.CertFile == "" && (c.ClientCAFile != "" || c.RedirectListen != "") {
		return errors.New("tls.client_ca_file and tls.redirect_listen need tls.cert_file and tls.key_file")
	}
	if c.ClientCerts != "require" && c.ClientCerts != clientCertsOptional {
		return errors.New("tls.client_certificates is require or optional")
	}
	if c.ClientCerts == clientCertsOptional && c.ClientCAFile == "" {
		return errors.New("tls.client_certificates: optional needs tls.client_ca_file, which names the authorities of client certificates")
	}
	if c.RedirectListen != "" && publicURL == "" {
		return errors.New("tls.redirect_listen needs public_url, to which it redirects")
	}
	return nil
}

const clientCertsOptional = "optional"

// servedTLS is the certificate that the server shows, and the authorities from which it
// takes client certificates. It reads the files again when they have changed, which each
// handshake looks for, and at SIGHUP. Files that are not valid change nothing.
type servedTLS struct {
	settings TLSConfig
	log      *slog.Logger

	mu      sync.Mutex
	active  *tls.Config
	leaf    *x509.Certificate
	files   []fs.FileInfo // as they were when active was made
	problem string        // why newer files are not used
}

// open reads the files, and again at each SIGHUP. It returns nil if the server is to
// speak HTTP.
func (c TLSConfig) open(log *slog.Logger) (*servedTLS, error) {
	if c.CertFile == "" {
		return nil, nil
	}
	s := &servedTLS{settings: c, log: log}
	if err := s.load(); err != nil {
		return nil, err
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	go func() {
		for range again {
			s.current(true)
		}
	}()
	return s, nil
}

// config asks for the newest configuration at each handshake.
func (s *servedTLS) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current(false), nil },
	}
}

// current returns the configuration from the files of now or, if they are not valid, from
// those before. The mutex makes handshakes wait while one of them reads new files.
func (s *servedTLS) current(changed bool) *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !changed && s.problem == "" && !s.changed() {
		return s.active
	}
	err := s.load()
	switch {
	case err == nil:
		s.problem = ""
		s.log.Info("read the certificate of this server again", "serial", s.leaf.SerialNumber.Text(16), "not_after", s.leaf.NotAfter)
	case err.Error() != s.problem:
		s.problem = err.Error()
		s.log.Error("the certificate of this server cannot be read again; the one before is still used", "error", err)
	}
	return s.active
}

// paths are the files that settings name.
func (s *servedTLS) paths() []string {
	return slices.DeleteFunc([]string{s.settings.CertFile, s.settings.KeyFile, s.settings.ClientCAFile}, func(path string) bool { return path == "" })
}

func (s *servedTLS) changed() bool {
	for i, path := range s.paths() {
		now, err := os.Stat(path)
		before := s.files[i]
		if err != nil || !os.SameFile(now, before) || !now.ModTime().Equal(before.ModTime()) || now.Size() != before.Size() {
			return true
		}
	}
	return false
}

// load makes the files the active configuration, or changes nothing.
func (s *servedTLS) load() error {
	var files []fs.FileInfo
	for _, path := range s.paths() { // before they are read, so that a later change is noticed
		info, _ := os.Stat(path) // what is wrong with a file is known when it is read
		files = append(files, info)
	}
	pair, err := readPair("tls.cert_file", s.settings.CertFile, "tls.key_file", s.settings.KeyFile)
	if err != nil {
		return err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		SessionTicketsDisabled: true, // a session that is resumed would not meet new authorities
	}
	if s.settings.ClientCAFile != "" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		if s.settings.ClientCerts == clientCertsOptional {
			config.ClientAuth = tls.VerifyClientCertIfGiven
		}
		if config.ClientCAs, err = readAuthorities("tls.client_ca_file", s.settings.ClientCAFile); err != nil {
			return err
		}
	}
	if engine.SystemClock().After(pair.Leaf.NotAfter) {
		s.log.Warn("the certificate of this server has expired; callers refuse it", "not_after", pair.Leaf.NotAfter)
	}
	s.active, s.leaf, s.files = config, pair.Leaf, files
	return nil
}

func (s *servedTLS) status() wire.TLSStatus {
	s.current(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.TLSStatus{Serial: s.leaf.SerialNumber.Text(16), NotAfter: s.leaf.NotAfter, Problem: s.problem}
}

var (
	certificateNotAfter = prometheus.NewDesc("countersign_tls_certificate_not_after_timestamp_seconds",
		"When the certificate that the server shows expires.", nil, nil)
	certificateFailing = prometheus.NewDesc("countersign_tls_reload_failing",
		"1 while the files of the certificate cannot be used and the one before is still shown, else 0.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *servedTLS) Describe(to chan<- *prometheus.Desc) {
	to <- certificateNotAfter
	to <- certificateFailing
}

// Collect implements prometheus.Collector.
func (s *servedTLS) Collect(to chan<- prometheus.Metric) {
	status, failing := s.status(), 0.0
	if status.Problem != "" {
		failing = 1
	}
	to <- prometheus.MustNewConstMetric(certificateNotAfter, prometheus.GaugeValue, float64(status.NotAfter.Unix()))
	to <- prometheus.MustNewConstMetric(certificateFailing, prometheus.GaugeValue, failing)
}

// readPair reads a certificate and its key. Its errors name both files as the user does.
func readPair(certName, certFile, keyName, keyFile string) (tls.Certificate, error) {
	key, err := engine.ReadSecretFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read %s: %w", keyName, err)
	}
	defer clear(key)
	certificate, err := os.ReadFile(certFile) //nolint:gosec // the operator names the file
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read %s: %w", certName, err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read %s and %s: %w", certName, keyName, err)
	}
	return pair, nil
}

// readAuthorities reads the certificates of authorities from the file of a setting.
func readAuthorities(setting, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", setting, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read %s: %s has no certificate in PEM", setting, file)
	}
	return pool, nil
}
