package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/forward"
)

// AuditConfig says where audit entries are sent. Each receiver whose first setting is not
// empty gets all of them.
type AuditConfig struct {
	RequiredWithin time.Duration     `koanf:"required_within" default:"0s" usage:"no file is delivered while a receiver has not had every audit entry for so long, at least 30s; with 0, receivers hold nothing up"`
	Syslog         AuditSyslogConfig `koanf:"syslog"`
	HTTPS          AuditHTTPSConfig  `koanf:"https"`
	File           AuditFileConfig   `koanf:"file"`
}

// AuditSyslogConfig is a receiver of syslog messages (RFC 5424) over TLS (RFC 5425).
type AuditSyslogConfig struct {
	Address     string `koanf:"address" usage:"host:port of a syslog receiver over TLS that gets the audit entries"`
	Encoding    string `koanf:"encoding" default:"json" usage:"what the messages have: json or cef"`
	AcceptClose bool   `koanf:"accept_close" default:"false" usage:"take the end of a connection for an acknowledgement, for receivers that do not answer close_notify, such as rsyslog; whoever stands between can then drop entries unnoticed"`
	CAFile      string `koanf:"ca_file" usage:"certificates of the authorities that the receiver's certificate may come from, as PEM (default: the system's)"`
	CertFile    string `koanf:"cert_file" usage:"certificate of this client, as PEM"`
	KeyFile     string `koanf:"key_file" usage:"private key of that certificate, as PEM; nobody else may read the file"`
	ServerName  string `koanf:"server_name" usage:"name that the receiver's certificate must have (default: the host of audit.syslog.address)"`
}

// AuditHTTPSConfig is an endpoint that acknowledges with a status from 200 to 299.
type AuditHTTPSConfig struct {
	URL               string `koanf:"url" usage:"https URL to which audit entries are posted, one on each line"`
	Encoding          string `koanf:"encoding" default:"json" usage:"what the lines have: json or cef"`
	AuthorizationFile string `koanf:"authorization_file" usage:"file with the value of the header Authorization, read again for each call; nobody else may read it"`
	CAFile            string `koanf:"ca_file" usage:"certificates of the authorities that the endpoint's certificate may come from, as PEM (default: the system's)"`
	CertFile          string `koanf:"cert_file" usage:"certificate of this client, as PEM"`
	KeyFile           string `koanf:"key_file" usage:"private key of that certificate, as PEM; nobody else may read the file"`
}

// AuditFileConfig is a file on each node.
type AuditFileConfig struct {
	Path     string `koanf:"path" usage:"file to which each node writes all audit entries, one on each line"`
	Encoding string `koanf:"encoding" default:"json" usage:"what the lines have: json or cef"`
	MaxSize  int    `koanf:"max_size" default:"100" usage:"size in MiB at which the file is renamed, with the time added to its name"`
	Keep     int    `koanf:"keep" default:"10" usage:"how many renamed files are kept"`
}

// leastRequired is how late audit entries may be at least: a receiver that works has them
// within seconds, and when another node takes over from one that was killed, within 20 s.
const leastRequired = 30 * time.Second

// check finds settings that do not belong together. It reads no files: other commands than
// the server's may not be allowed to.
func (c AuditConfig) check() error {
	var errs []error
	if c.RequiredWithin != 0 && (c.RequiredWithin < leastRequired || c.Syslog.Address == "" && c.HTTPS.URL == "" && c.File.Path == "") {
		errs = append(errs, errors.New("audit.required_within must be 0, or at least 30s and with a receiver: audit.syslog.address, audit.https.url or audit.file.path"))
	}
	for _, s := range []struct {
		used    bool
		setting string
		others  []string
	}{
		{c.Syslog.Address != "", "audit.syslog.address", []string{c.Syslog.CAFile, c.Syslog.CertFile, c.Syslog.KeyFile, c.Syslog.ServerName}},
		{c.HTTPS.URL != "", "audit.https.url", []string{c.HTTPS.AuthorizationFile, c.HTTPS.CAFile, c.HTTPS.CertFile, c.HTTPS.KeyFile}},
	} {
		if !s.used && strings.Join(s.others, "") != "" {
			errs = append(errs, fmt.Errorf("%s is empty, and other settings of that receiver are not; set it, or leave them out", s.setting))
		}
	}
	if c.File.MaxSize < 1 || c.File.Keep < 1 {
		errs = append(errs, errors.New("audit.file.max_size and audit.file.keep must be at least 1"))
	}
	for _, pair := range []struct{ group, cert, key string }{{"syslog", c.Syslog.CertFile, c.Syslog.KeyFile}, {"https", c.HTTPS.CertFile, c.HTTPS.KeyFile}} {
		if (pair.cert == "") != (pair.key == "") {
			errs = append(errs, fmt.Errorf("audit.%s.cert_file and audit.%[1]s.key_file belong together; give both or neither", pair.group))
		}
	}
	return errors.Join(errs...)
}

// checkAudit does not call the receivers.
func (c *Config) checkAudit(context.Context) error {
	_, err := c.Audit.receivers("")
	return err
}

// shared are the settings that must be the same on all nodes.
func (c AuditConfig) shared() AuditConfig {
	c.File = AuditFileConfig{} // nodes on one machine must have different ones
	return c
}

// receiver is one of the settings' receivers. The place tells it from others of its kind.
// Positions is nil for one to which the nodes of an installation send in turn.
type receiver struct {
	name      string
	place     string
	to        engine.AuditReceiver
	positions engine.ForwardingPositions
}

// receivers makes the receivers of the settings. It reads their files once, so that a
// wrong one is an error at the start.
func (c AuditConfig) receivers(host string) (found []receiver, err error) {
	for _, make := range []func(string) (*receiver, error){c.Syslog.receiver, c.HTTPS.receiver, c.File.receiver} {
		r, failed := make(host)
		if r != nil {
			found = append(found, *r)
		}
		err = errors.Join(err, failed)
	}
	return found, err
}

func (c AuditSyslogConfig) receiver(host string) (*receiver, error) {
	if c.Address == "" {
		return nil, nil
	}
	encode, err := forward.NewEncoding(c.Encoding, version)
	if err != nil {
		return nil, fmt.Errorf("audit.syslog.encoding: %w", err)
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return nil, fmt.Errorf("audit.syslog.address must be a host and a port: %w", err)
	}
	secure := func() (*tls.Config, error) {
		return clientTLS("audit.syslog", c.CAFile, c.CertFile, c.KeyFile, c.ServerName)
	}
	_, err = secure()
	to := &forward.Syslog{Address: c.Address, Host: host, AcceptClose: c.AcceptClose, TLS: secure, Encode: encode}
	return &receiver{name: "syslog", place: c.Address, to: to}, err
}

func (c AuditHTTPSConfig) receiver(string) (*receiver, error) {
	if c.URL == "" {
		return nil, nil
	}
	url, err := forward.ParseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("audit.https.url: %w", err)
	}
	encode, err := forward.NewEncoding(c.Encoding, version)
	if err != nil {
		return nil, fmt.Errorf("audit.https.encoding: %w", err)
	}
	mediaType := map[string]string{"json": "application/x-ndjson", "cef": "text/plain; charset=utf-8"}[c.Encoding]
	secure := func() (*tls.Config, error) { return clientTLS("audit.https", c.CAFile, c.CertFile, c.KeyFile, "") }
	to := &forward.HTTPS{URL: url, TLS: secure, Encode: encode, MediaType: mediaType}
	if c.AuthorizationFile != "" {
		to.Authorization = c.authorization
		if _, err := c.authorization(); err != nil {
			return nil, err
		}
	}
	_, err = secure()
	return &receiver{name: "https", place: url.Host + url.Path, to: to}, err
}

func (c AuditHTTPSConfig) authorization() (string, error) {
	text, err := engine.ReadSecretFile(c.AuthorizationFile)
	if err != nil {
		return "", fmt.Errorf("read audit.https.authorization_file: %w", err)
	}
	value := strings.TrimSpace(string(text))
	if value == "" || strings.ContainsAny(value, "\r\n") {
		return "", errors.New("read audit.https.authorization_file: it must have one line, such as Bearer and a token")
	}
	return value, nil
}

func (c AuditFileConfig) receiver(string) (*receiver, error) {
	if c.Path == "" {
		return nil, nil
	}
	if !filepath.IsAbs(c.Path) {
		return nil, errors.New("audit.file.path must be absolute")
	}
	folder := filepath.Dir(c.Path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("audit.file.path: %s is not a folder; make it", folder)
	}
	if err := engine.CheckTrustedFiles(folder); err != nil {
		return nil, fmt.Errorf("audit.file.path: %w", err)
	}
	encode, err := forward.NewEncoding(c.Encoding, version)
	if err != nil {
		return nil, fmt.Errorf("audit.file.encoding: %w", err)
	}
	to := forward.NewFile(c.Path, int64(c.MaxSize)<<20, c.Keep, encode, engine.SystemClock)
	return &receiver{name: "file", place: c.Path, to: to, positions: &to.Positions}, nil
}

// forwardings are all receivers to which audit entries are sent.
type forwardings []*engine.Forwarding

// forwardAudit sends audit entries to the receivers of the settings until the system
// closes. Positions are in the store if nodes share it, and otherwise in the data folder.
func (s *system) forwardAudit() error {
	host, _ := os.Hostname() // it is only shown
	found, err := s.config.Audit.receivers(host)
	if err != nil {
		return err
	}
	for _, r := range found {
		shared, _ := s.store.(engine.ForwardingPositions)
		f := &engine.Forwarding{
			Name: r.name, ID: r.name + "-" + digest(r.place), Receiver: r.to, Store: s.store, Node: s.nodes.ID, Clock: engine.SystemClock, Log: s.log,
			Positions: cmp.Or[engine.ForwardingPositions](r.positions, shared),
		}
		if f.Positions == nil {
			f.Positions = &forward.PositionFile{Path: filepath.Join(s.config.Data, "audit-"+f.ID+".position")}
		}
		s.forwardings = append(s.forwardings, f)
		s.runUntilClose(f.Run)
	}
	return s.metrics.Register(s.forwardings)
}

// sent returns what each receiver has of the audit log.
func (all forwardings) sent(ctx context.Context) (found []map[string]engine.AuditHead, err error) {
	for _, f := range all {
		heads, err := f.Positions.Forwarded(ctx, f.ID)
		if err != nil {
			return nil, fmt.Errorf("read how far audit entries were sent: %w", err)
		}
		found = append(found, heads)
	}
	return found, nil
}

// heldUp returns why no file may be delivered now, or nil.
func (s *system) heldUp() error {
	for _, f := range s.forwardings {
		if within := s.config.Audit.RequiredWithin; within > 0 && f.Delay() > within {
			return engine.Errorf(engine.CodeUnavailable, "no file is delivered while the receiver of audit entries (%s) is not up to date; the token can still be used: try again later", f.Name)
		}
	}
	return nil
}

var (
	forwardingDelay = prometheus.NewDesc("countersign_audit_forwarding_delay_seconds",
		"Greatest age of an audit entry that a receiver may not have yet, by receiver.", []string{"receiver"}, nil)
	forwardingSent = prometheus.NewDesc("countersign_audit_forwarding_sent_total",
		"Audit entries that a receiver acknowledged to this node, by receiver.", []string{"receiver"}, nil)
	forwardingFailures = prometheus.NewDesc("countersign_audit_forwarding_failures_total",
		"How often this node could not send audit entries, by receiver.", []string{"receiver"}, nil)
	forwardingLost = prometheus.NewDesc("countersign_audit_forwarding_lost_total",
		"Audit entries that were deleted by their age before they were sent, by receiver.", []string{"receiver"}, nil)
)

// Describe implements prometheus.Collector.
func (forwardings) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{forwardingDelay, forwardingSent, forwardingFailures, forwardingLost} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (all forwardings) Collect(to chan<- prometheus.Metric) {
	for _, f := range all {
		status := f.Status()
		to <- prometheus.MustNewConstMetric(forwardingDelay, prometheus.GaugeValue, f.Delay().Seconds(), f.Name)
		to <- prometheus.MustNewConstMetric(forwardingSent, prometheus.CounterValue, float64(status.Sent), f.Name)
		to <- prometheus.MustNewConstMetric(forwardingFailures, prometheus.CounterValue, float64(status.Failures), f.Name)
		to <- prometheus.MustNewConstMetric(forwardingLost, prometheus.CounterValue, float64(status.Lost), f.Name)
	}
}
