package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/countersign-dev/countersign/engine"
)

// How a receiver of audit entries behaves.
const (
	working = "working"
	garbage = "garbage" // it answers something else
	dying   = "dying"   // it ends before it has read or kept everything
	hanging = "hanging" // it reads nothing until it behaves otherwise
)

// auditReceiver is a syslog receiver and an HTTPS endpoint in one. It counts the attempts
// since it began to behave as it does.
type auditReceiver struct {
	t      *testing.T
	secure *tls.Config
	host   string // of the syslog receiver

	mu       sync.Mutex
	mode     string
	changed  chan struct{}
	attempts map[string]int
	got      map[string][]engine.AuditEntry // by protocol
}

// behave changes the behaviour and ends all calls that hang.
func (r *auditReceiver) behave(mode string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed != nil {
		close(r.changed)
	}
	r.mode, r.changed, r.attempts = mode, make(chan struct{}), map[string]int{}
}

// attempted waits for an attempt by each protocol.
func (r *auditReceiver) attempted() {
	r.t.Helper()
	eventually(r.t, "an attempt by each protocol, while the receiver is "+r.mode, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.attempts["syslog"] > 0 && r.attempts["https"] > 0
	})
}

// attempt notes an attempt and says how to behave.
func (r *auditReceiver) attempt(protocol string) (mode string, changed chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts[protocol]++
	return r.mode, r.changed
}

func (r *auditReceiver) keep(protocol string, line []byte) {
	var e engine.AuditEntry
	if err := json.Unmarshal(line, &e); err != nil {
		r.t.Errorf("received %q: %v", line, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[protocol] = append(r.got[protocol], e)
}

// ServeHTTP is the endpoint.
func (r *auditReceiver) ServeHTTP(w http.ResponseWriter, call *http.Request) {
	mode, changed := r.attempt("https")
	if call.Header.Get("Authorization") != "Bearer receiver-secret" {
		r.t.Errorf("the credential is %q", call.Header.Get("Authorization"))
	}
	switch mode {
	case working, dying:
		text, err := io.ReadAll(call.Body)
		if err != nil {
			r.t.Error(err)
		}
		for line := range bytes.Lines(text) {
			r.keep("https", line)
		}
		if mode == dying { // it has kept everything, and says so to nobody
			panic(http.ErrAbortHandler)
		}
	case garbage:
		w.WriteHeader(http.StatusTeapot)
	case hanging:
		<-changed
		panic(http.ErrAbortHandler)
	}
}

// listen serves syslog until the listener is closed.
func (r *auditReceiver) listen(l net.Listener) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = raw.Close() }()
			mode, changed := r.attempt("syslog")
			conn := tls.Server(raw, r.secure)
			switch mode {
			case working:
				octetcounting.NewParser(syslog.WithListener(func(found *syslog.Result) {
					if found.Error != nil {
						r.t.Errorf("received a syslog message: %v", found.Error)
						return
					}
					r.keep("syslog", []byte(*found.Message.(*rfc5424.SyslogMessage).Message))
				}), syslog.WithMaxMessageLength(1<<20)).Parse(conn)
				_ = conn.Close()
			case garbage:
				_, _ = io.WriteString(raw, "220 mail.test ESMTP\r\n")
			case dying:
				_, _ = io.CopyN(io.Discard, raw, 100)
			case hanging:
				<-changed
			}
		}()
	}
}

// received are the entries that came by a protocol, or are in a file, each once.
func received(t *testing.T, entries []engine.AuditEntry) map[string][]engine.AuditEntry {
	t.Helper()
	chains := map[string][]engine.AuditEntry{}
	for _, e := range entries {
		chain := chains[e.ProjectID]
		if e.Seq <= int64(len(chain)) {
			if !reflect.DeepEqual(chain[e.Seq-1], e) {
				t.Errorf("entry %d of %s came twice, and differs", e.Seq, e.ProjectID)
			}
			continue
		}
		if e.Seq != int64(len(chain))+1 {
			t.Errorf("entry %d of %s came after entry %d", e.Seq, e.ProjectID, len(chain))
		}
		chains[e.ProjectID] = append(chain, e)
	}
	return chains
}

// newAuditReceiver makes a receiver, and the settings of a server that sends to it and to
// a file.
func newAuditReceiver(t *testing.T, file string) (r *auditReceiver, env []string) {
	t.Helper()
	dir := t.TempDir()
	authority := newTestAuthority(t)
	authority.write(filepath.Join(dir, "ca.pem"))
	authority.issue(dir, "server")
	noError(t, os.WriteFile(filepath.Join(dir, "authorization"), []byte("Bearer receiver-secret\n"), 0o600))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	noError(t, err)
	r = &auditReceiver{t: t, secure: &tls.Config{Certificates: []tls.Certificate{pair}}, got: map[string][]engine.AuditEntry{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	r.host = l.Addr().String()
	go r.listen(l)
	t.Cleanup(func() { _ = l.Close() })
	endpoint := httptest.NewUnstartedServer(r)
	endpoint.TLS, endpoint.Config.ErrorLog = r.secure.Clone(), log.New(io.Discard, "", 0)
	endpoint.StartTLS()
	t.Cleanup(endpoint.Close)
	t.Cleanup(func() { r.behave(garbage) }) // so that no call hangs
	return r, []string{
		"COUNTERSIGN_AUDIT_SYSLOG_ADDRESS=" + r.host, "COUNTERSIGN_AUDIT_SYSLOG_CA_FILE=" + filepath.Join(dir, "ca.pem"), "COUNTERSIGN_AUDIT_SYSLOG_SERVER_NAME=server.test",
		"COUNTERSIGN_AUDIT_HTTPS_URL=" + endpoint.URL, "COUNTERSIGN_AUDIT_HTTPS_CA_FILE=" + filepath.Join(dir, "ca.pem"),
		"COUNTERSIGN_AUDIT_HTTPS_AUTHORIZATION_FILE=" + filepath.Join(dir, "authorization"),
		"COUNTERSIGN_AUDIT_FILE_PATH=" + file, "COUNTERSIGN_AUDIT_REQUIRED_WITHIN=30s",
	}
}

// Whatever happens to receivers and to the server, each receiver gets exactly the entries
// that were written, in order. Downloads wait for no receiver, until one has been late for
// as long as the settings say; that uses up no token.
func TestReceiversGetEveryAuditEntry(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	file := filepath.Join(base, "audit.log")
	r, env := newAuditReceiver(t, file)
	r.behave(hanging)
	dir := filepath.Join(base, "data")
	s := start(t, binary(t), dir, env...)
	restart := func() {
		s.kill()
		boot := s.boot
		s = start(t, binary(t), dir, env...)
		s.boot.APIKeys = boot.APIKeys
	}
	s.allow(true)
	delivered := func() {
		t.Helper()
		if status, body := s.fetch(s.mint(0, "cert").Token); status != http.StatusOK {
			t.Fatalf("a download is answered %d %s", status, body)
		}
	}
	delivered()
	r.attempted()
	for end := time.Now().Add(time.Duration(times(0, 10)) * time.Minute); time.Now().Before(end); <-time.After(time.Second) {
		s.mint(0, "cert") // what is written meanwhile waits
	}
	held := s.mint(0, "key").Token
	eventually(t, "a refused download", func() bool {
		status, body := s.fetch(s.mint(0, "cert").Token)
		return status == http.StatusServiceUnavailable && problem(body).Code == "unavailable"
	})
	s.refused("a late receiver", http.StatusServiceUnavailable, "unavailable")(s.fetch(held))
	for _, mode := range []string{garbage, dying} {
		r.behave(mode)
		r.attempted()
		restart() // which also begins with short pauses again
	}
	r.behave(working)
	eventually(t, "a delivered file", func() bool { status, _ := s.fetch(held); return status == http.StatusOK })
	for range 2 {
		for range 20 {
			delivered()
		}
		restart()
	}
	eventually(t, "every entry at each receiver", func() bool { return s.wasSent(r, file) })
	s.stop()
	for _, text := range []string{read(t, file), read(t, s.log.Name())} {
		if strings.Contains(text, "receiver-secret") {
			t.Error("a credential was written")
		}
	}
}

// wasSent reports whether every receiver has what the store has, at this moment.
func (s *server) wasSent(r *auditReceiver, file string) bool {
	t := s.t
	t.Helper()
	all := map[string][]engine.AuditEntry{}
	s.inStore(func(store engine.Store, _ *engine.Admin) {
		for _, chain := range []string{s.boot.ProjectID, engine.SystemChain} {
			entries, err := store.AuditAfter(t.Context(), chain, 0, 10_000)
			noError(t, err)
			all[chain] = entries
		}
	})
	var inFile []engine.AuditEntry
	for line := range strings.Lines(read(t, file)) {
		var e engine.AuditEntry
		noError(t, json.Unmarshal([]byte(line), &e))
		inFile = append(inFile, e)
	}
	r.mu.Lock()
	bySyslog, byHTTPS := slices.Clone(r.got["syslog"]), slices.Clone(r.got["https"])
	r.mu.Unlock()
	if once := received(t, inFile); len(inFile) != len(once[s.boot.ProjectID])+len(once[engine.SystemChain]) {
		t.Error("the file has an entry twice")
	}
	for _, got := range [][]engine.AuditEntry{inFile, bySyslog, byHTTPS} {
		if !sameEntries(received(t, got), all) {
			return false
		}
	}
	t.Logf("%d entries were written; the file has %d, %d came by syslog and %d by HTTPS", len(all[s.boot.ProjectID])+len(all[engine.SystemChain]), len(inFile), len(bySyslog), len(byHTTPS))
	return true
}

func sameEntries(a, b map[string][]engine.AuditEntry) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	noError(t, err)
	return string(text)
}
