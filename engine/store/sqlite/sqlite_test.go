package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/storetest"
)

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// issue stores a token that expires in an hour.
func issue(t testing.TB, s *Store, project string) engine.Token {
	t.Helper()
	token := newToken(project)
	if _, err := s.OpenRequest(t.Context(), opening(project, &token)); err != nil {
		t.Fatal(err)
	}
	return token
}

func newToken(project string) engine.Token {
	now := engine.SystemClock()
	return engine.Token{
		Digest: engine.SecretDigest(engine.NewToken()), RequestID: engine.NewID("req"), ProjectID: project, CertificateID: "cert_a",
		Format: "fullchain", Options: "{}", IssuedAt: now, ExpiresAt: now.Add(time.Hour),
	}
}

// opening is the first transition of a token's request.
func opening(project string, token *engine.Token) engine.Transition {
	rec := newRecord(project)
	r := engine.Request{
		ID: token.RequestID, ProjectID: project, CertificateID: "cert_a", Status: engine.StatusIssued, CreatedAt: token.IssuedAt,
	}
	return engine.Transition{Request: r, Token: token, Record: &rec}
}

func newRecord(project string) engine.Record {
	return engine.Record{Audit: engine.AuditEntry{
		Ref: engine.NewID("ref"), ProjectID: project, Time: engine.SystemClock(), Action: engine.ActionCertificateDownloaded, Outcome: engine.AuditSuccess,
		Actor: engine.Actor{Type: engine.ActorAPIKey, ID: "key_ci", Name: "CI", Person: "user_alice"}, IP: "192.0.2.7", UserAgent: "curl/8.5.0",
		CertificateID: "cert_a", RequestID: engine.NewID("req"), Format: "fullchain",
	}}
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) engine.Store {
		return open(t, filepath.Join(t.TempDir(), "countersign.db"))
	})
}

func TestFilesArePrivate(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "b ?%#&;")
	path := filepath.Join(folder, "countersign?.db")
	modes := func(want ...string) {
		t.Helper()
		var got []string
		files, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			info, err := file.Info()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Mode().String()+" "+file.Name())
		}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Fatalf("files are %q, want %q", got, want)
		}
	}
	s := open(t, path)
	issue(t, s, "prj")
	for _, dir := range []string{folder, filepath.Dir(folder)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Fatalf("%s: %v, %v", dir, info, err)
		}
	}
	modes("-rw------- countersign?.db", "-rw------- countersign?.db-shm", "-rw------- countersign?.db-wal")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	modes("-rw------- countersign?.db")

	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	modes("-rw------- countersign?.db", "-rw------- countersign?.db-shm", "-rw------- countersign?.db-wal")
}

// Every write that was acknowledged before or during Close is stored.
func TestCloseAndReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	s := open(t, path)
	var (
		mu           sync.Mutex
		callers      sync.WaitGroup
		acknowledged = map[string]bool{}
		begun        = make(chan struct{}, 8)
	)
	for range cap(begun) {
		callers.Go(func() {
			for {
				rec := newRecord("prj")
				err := s.Append(t.Context(), rec.Audit)
				if errors.Is(err, errClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[rec.Audit.Ref] = true
				mu.Unlock()
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	callers.Wait()
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a closed store answers")
	}

	s = open(t, path)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	checkRefs(t, s, acknowledged)
}

// checkRefs checks that a chain is complete and contains all acknowledged entries.
func checkRefs(t *testing.T, s *Store, acknowledged map[string]bool) {
	t.Helper()
	verdict, err := engine.VerifyAudit(t.Context(), s, nil, "prj", engine.AuditHead{})
	if err != nil || !verdict.OK {
		t.Fatalf("verdict %+v, %v", verdict, err)
	}
	entries, err := s.AuditAfter(t.Context(), "prj", 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		delete(acknowledged, e.Ref)
	}
	if len(entries) == 0 || len(acknowledged) > 0 {
		t.Fatalf("%d acknowledged writes are missing; %d are stored", len(acknowledged), len(entries))
	}
}
