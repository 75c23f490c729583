// Package forward sends the audit log to where it is watched: to a syslog receiver over
// TLS, to an HTTPS endpoint, or into a file that is rotated. Each is an
// [engine.AuditReceiver].
package forward

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// An Encoding makes one line of an entry, without a line break.
type Encoding func(e engine.AuditEntry) ([]byte, error)

// NewEncoding returns the encoding with a name: "json", or "cef" with the version of the
// program that CEF has in its header.
func NewEncoding(name, version string) (Encoding, error) {
	switch name {
	case "json":
		return func(e engine.AuditEntry) ([]byte, error) { return json.Marshal(e) }, nil
	case "cef":
		return func(e engine.AuditEntry) ([]byte, error) { return cef(e, version) }, nil
	}
	return nil, fmt.Errorf("the encoding is %q; it must be json or cef", name)
}

// lines puts each encoded entry on a line of its own.
func (encode Encoding) lines(entries []engine.AuditEntry) ([]byte, error) {
	var text bytes.Buffer
	for _, e := range entries {
		line, err := encode(e)
		if err != nil {
			return nil, err
		}
		text.Write(line)
		text.WriteByte('\n')
	}
	return text.Bytes(), nil
}

// TLS returns the configuration of the next connection, so that changed files are used.
type TLS func() (*tls.Config, error)

var (
	cefHeader    = strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\n", " ", "\r", " ")
	cefExtension = strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`, "\r", `\r`)
)

// cef encodes an entry in the Common Event Format, version 0. The members for which CEF
// has no key are custom strings; the message is the entry's detail as JSON.
func cef(e engine.AuditEntry, version string) ([]byte, error) {
	detail := ""
	if len(e.Detail) > 0 {
		text, err := json.Marshal(e.Detail)
		if err != nil {
			return nil, err
		}
		detail = string(text)
	}
	severity := 3
	if e.Outcome != engine.AuditSuccess {
		severity = 6
	}
	var line strings.Builder
	fmt.Fprintf(&line, "CEF:0|Countersign|Countersign|%s|%s|%[2]s|%d|", cefHeader.Replace(version), cefHeader.Replace(e.Action), severity)
	address := "src" // IPv4 only
	if ip, err := netip.ParseAddr(e.IP); err == nil && ip.Is6() {
		address = "c6a2"
	}
	for i, m := range []struct{ key, label, value string }{
		{"rt", "", strconv.FormatInt(e.Time.UnixMilli(), 10)},
		{"outcome", "", e.Outcome},
		{"externalId", "", e.Ref},
		{"suid", "", e.Actor.ID},
		{"suser", "", e.Actor.Name},
		{address, "", e.IP},
		{"requestClientApplication", "", e.UserAgent},
		{"cn1", "number", strconv.FormatInt(e.Seq, 10)},
		{"cs1", "chain", e.ProjectID},
		{"cs2", "hash", e.Hash},
		{"cs3", "previousHash", e.PrevHash},
		{"cs4", "certificate", e.CertificateID},
		{"cs5", "request", e.RequestID},
		{"cs6", "format", e.Format},
		{"msg", "", detail},
	} {
		if m.value == "" {
			continue
		}
		if i > 0 {
			line.WriteByte(' ')
		}
		if m.label != "" {
			line.WriteString(m.key + "Label=" + m.label + " ")
		}
		line.WriteString(m.key + "=" + cefExtension.Replace(m.value))
	}
	return []byte(line.String()), nil
}
