package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// promised is what an installation owes its users when it is carried to another store.
type promised struct {
	boot           bootstrapFile
	live           []minted // tokens that nobody has used
	late           minted   // one of a claim
	pending        []waiting
	later, claimed waiting
	used           minted
}

// promises makes requests of every state: so many that wait, as many unused tokens, and so
// many that have ended. Those named later are for the way back.
func (s *server) promises(many, ended int) promised {
	s.t.Helper()
	s.must(http.StatusOK, nil, "admin", http.MethodPut, s.project()+"/certificate-policy",
		`{"allow_key_export":true,"approval":{"mode":"key_export","required_approvals":1,"ttl_seconds":3600,"claim_window_seconds":3600},
		"token_ttl_seconds":3600,"min_passphrase_length":8,"allow_legacy_encryption":true}`)
	p := promised{used: s.mint(0, "fullchain")}
	if status, _ := s.fetch(p.used.Token); status != http.StatusOK {
		s.t.Fatalf("download: %d", status)
	}
	for range many {
		p.live = append(p.live, s.mint(0, "fullchain", `,"ttl_seconds":3600`))
		p.pending = append(p.pending, s.waits("operator", "key"))
	}
	p.later, p.claimed = s.waits("operator", "key"), s.waits("operator", "key")
	s.refused("approve", http.StatusOK, "")(s.decide("approver", p.claimed, "approve"))
	twice := s.waits("operator", "key")
	s.refused("approve", http.StatusOK, "")(s.decide("approver", twice, "approve"))
	for range 2 { // the second claim revokes the first token
		s.must(http.StatusCreated, &p.late, "operator", http.MethodPost, s.project()+"/requests/"+twice.RequestID+"/token", "{}")
	}
	for i := range ended {
		s.ends(i)
	}
	eventually(s.t, "the used token's request to be consumed", func() bool { return s.status(p.used.RequestID) == "consumed" })
	p.boot = s.boot
	return p
}

// ends makes a request and takes it to one of the ends that a call brings about.
func (s *server) ends(which int) {
	s.t.Helper()
	switch which % 4 {
	case 0:
		if status, _ := s.fetch(s.mint(0, "cert").Token); status != http.StatusOK {
			s.t.Fatalf("download: %d", status)
		}
	case 1:
		s.refused("deny", http.StatusOK, "")(s.decide("approver", s.waits("operator", "key"), "deny"))
	case 2:
		s.must(http.StatusOK, nil, "operator", http.MethodPost, s.project()+"/requests/"+s.waits("operator", "key").RequestID+"/cancel", "{}")
	case 3:
		s.must(http.StatusNoContent, nil, "operator", http.MethodDelete, s.project()+"/requests/"+s.mint(0, "cert").RequestID+"/token", "")
	}
}

// once redeems a token by several callers.
func (s *server) once(what, token string) {
	s.t.Helper()
	if got := fetchers(s, 4, token); got["200 "] != 1 {
		s.t.Errorf("%s: %v", what, got)
	}
}

// claimsAndFetches claims an approved request and redeems the token.
func (s *server) claimsAndFetches(w waiting) {
	s.t.Helper()
	var m minted
	s.must(http.StatusCreated, &m, "operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/token", "{}")
	s.once("a claimed token", m.Token)
}

// serveTarget starts a production server on a store that was carried over.
func serveTarget(t *testing.T, p promised, data, key, uri string) *server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bootstrap.json")
	text, err := os.ReadFile(filepath.Join(filepath.Dir(key), "..", "..", "bootstrap.json"))
	noError(t, err)
	noError(t, os.WriteFile(file, text, 0o600))
	cmd := exec.Command(binary(t), "serve", "--data", data, "--keeper-file", key, "--listen", "127.0.0.1:0", "--listen-admin=", "--public-url", "")
	cmd.Env = append(os.Environ(), "COUNTERSIGN_MONGODB_URI="+uri)
	s := serveOn(t, cmd, file)
	s.dir, s.mongoURI, s.keyFile = data, uri, key
	s.boot.APIKeys, s.boot.Certificates, s.boot.ProjectID = p.boot.APIKeys, p.boot.Certificates, p.boot.ProjectID
	return s
}

// filesOf are the digests of the files of a database folder that hold data.
func filesOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	noError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "-shm") {
			return err
		}
		text, err := os.ReadFile(path)
		if sum := sha256.Sum256(text); len(text) > 0 {
			sums[path] = hex.EncodeToString(sum[:])
		}
		return err
	}))
	return sums
}

// migration runs the command, and kills it at a place unless that is "".
func migration(t *testing.T, killedAt string, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), append([]string{"migrate"}, args...)...)
	cmd.Env = append(append(os.Environ(), "COUNTERSIGN_FAILPOINT="+killedAt), env...)
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); killedAt != "" && (!ok || !status.Signaled()) {
		t.Fatalf("it was not killed at %s: %v\n%s", killedAt, err, out)
	}
	return string(out), err
}

// An installation is carried from SQLite to MongoDB and back. Each way is killed in the
// middle, and one when the target is whole: the source is not served any more then. Nothing that was promised is lost, nothing can be used twice, and the
// source stays as it was.
func TestMigrateToMongoDBAndBack(t *testing.T) {
	t.Parallel()
	base, uri := t.TempDir(), mongoURI(t)
	data := filepath.Join(base, "data")
	s := startSmall(t, binary(t), data, "COUNTERSIGN_LIMITS_WAITING_REQUESTS=1000")
	p := s.promises(times(1, 100), times(12, 10_000))
	s.stop()
	key := filepath.Join(data, "keys", "local.key")

	before := filesOf(t, filepath.Join(data, "db"))
	to := []string{"COUNTERSIGN_MIGRATE_TO_MONGODB=" + uri}
	for _, at := range []string{"migrated-download_requests", "migrated-audit_logs"} {
		_, _ = migration(t, at, to, "--data", data)
		refusesStart(t, "repeat that first", []string{"COUNTERSIGN_MONGODB_URI=" + uri}, "--data", filepath.Join(base, "node"), "--keeper-file", key)
	}
	_, _ = migration(t, "migrated-data_keys", to, "--data", data) // the target is whole, and the command has not ended
	refusesStart(t, "was migrated to MongoDB at ", nil, "--data", data)
	out, err := migration(t, "", to, "--data", data)
	if err != nil || !strings.Contains(out, "keeper.file set to "+key) {
		t.Fatalf("%v\n%s", err, out)
	}
	for range 2 { // once it is whole, repeating changes nothing
		if again, err := migration(t, "", to, "--data", data); err != nil || counted(again) != counted(out) {
			t.Errorf("repeated: %v\n%s\nbefore:\n%s", err, again, out)
		}
	}
	if after := filesOf(t, filepath.Join(data, "db")); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the source was changed: %v, was %v", after, before)
	}

	refusesStart(t, "was migrated to MongoDB at ", nil, "--data", data)
	s = serveTarget(t, p, filepath.Join(base, "node"), key, uri)
	s.agreed()
	if got := fetchers(s, 4, p.used.Token); got["410 token_consumed"] != 4 {
		t.Errorf("a token of before that was used: %v", got)
	}
	ending := []string{p.claimed.RequestID}
	s.claimsAndFetches(p.claimed)
	for i, live := range p.live {
		s.once("a live token of before", live.Token)
		s.refused("approve", http.StatusOK, "")(s.decide("approver", p.pending[i], "approve"))
		s.claimsAndFetches(p.pending[i])
		ending = append(ending, live.RequestID, p.pending[i].RequestID)
	}
	for _, id := range ending {
		eventually(t, "the request to end", func() bool { return s.status(id) == "consumed" })
	}
	s.agreed()
	if out, err := migration(t, "", to, "--data", data); err == nil || !strings.Contains(out, "runs on the target") {
		t.Errorf("a target that is served: %v\n%s", err, out)
	}

	s = migratedBack(s, p, base, to)
	s.refused("approve", http.StatusOK, "")(s.decide("approver", p.later, "approve"))
	s.claimsAndFetches(p.later)
	s.once("a token of the first store", p.late.Token)
	if got := fetchers(s, 4, p.live[0].Token); got["410 token_consumed"] != 4 {
		t.Errorf("a token that was used in the second store: %v", got)
	}
	eventually(t, "the requests to end", func() bool {
		return s.status(p.later.RequestID) == "consumed" && s.status(p.late.RequestID) == "consumed"
	})
	s.agreed()
}

// refusesStart starts a server, which refuses for a reason.
func refusesStart(t *testing.T, want string, env []string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), append([]string{"serve", "--listen", "127.0.0.1:0", "--listen-admin="}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
		t.Errorf("a start with %v: %v\n%s\nwant %q", args, err, out, want)
	}
}

// A server that has read that its database has no mark, and waits for something then, does
// not serve the database that a migration marks meanwhile.
func TestAMarkIsReadAgainBeforeServing(t *testing.T) {
	t.Parallel()
	uri := mongoURI(t)
	db, err := driver.Connect(t.Context(), options.Client().ApplyURI(uri))
	noError(t, err)
	defer func() { noError(t, db.Disconnect(context.Background())) }()
	schema := db.Database("countersign").Collection("schema")
	var once sync.Once
	anchor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		once.Do(func() { // the server has opened its store, and waits for this answer
			if n, err := schema.CountDocuments(context.Background(), bson.D{{Key: "_id", Value: "schema"}}); err != nil || n != 1 {
				t.Errorf("the store is not open: %d, %v", n, err)
			}
			if _, err := schema.InsertOne(context.Background(), bson.D{{Key: "_id", Value: "migrated"}, {Key: "to", Value: "elsewhere"}, {Key: "at", Value: time.Now()}}); err != nil {
				t.Error(err)
			}
		})
		w.WriteHeader(http.StatusNotFound)
	}))
	defer anchor.Close()
	refusesStart(t, "was migrated to elsewhere at ", []string{"COUNTERSIGN_MONGODB_URI=" + uri},
		"--data", filepath.Join(t.TempDir(), "node"), "--anchor-url", anchor.URL+"/anchor.json", "--public-url", "")
	if n, err := schema.Database().Collection("nodes").CountDocuments(t.Context(), bson.D{}); err != nil || n != 0 {
		t.Errorf("%d nodes are registered, %v", n, err)
	}
}

// migratedBack carries the installation of a server on MongoDB, which it stops, to a fresh
// data folder, and serves it there. to are the variables of the way to MongoDB.
func migratedBack(s *server, p promised, base string, to []string) *server {
	t, key, data := s.t, s.keyFile, filepath.Join(base, "data")
	t.Helper()
	back := filepath.Join(base, "back")
	from := []string{"COUNTERSIGN_MONGODB_URI=" + s.mongoURI}
	args := []string{"--data", filepath.Join(base, "node"), "--keeper-file", key, "--to-data", back}
	if out, err := migration(t, "", from, args...); err == nil || !strings.Contains(out, "in use by another process") {
		t.Errorf("a source that is served: %v\n%s", err, out)
	}
	elsewhere := append([]string{"--data", filepath.Join(base, "elsewhere")}, args[2:]...)
	if out, err := migration(t, "", from, elsewhere...); err == nil || !strings.Contains(out, "runs on the source") {
		t.Errorf("a source that another machine serves: %v\n%s", err, out)
	}
	s.stop()
	if out, err := migration(t, "", to, "--data", data); err == nil || !strings.Contains(out, "that the source does not have, or has otherwise: ") {
		t.Errorf("a target that was served: %v\n%s", err, out)
	}
	mark := filepath.Join(back, "migrated.json") // as if the installation had been there before
	noError(t, os.MkdirAll(back, 0o700))
	noError(t, os.WriteFile(mark, []byte(`{"to":"MongoDB at earlier"}`), 0o600))
	for _, at := range []string{"migrated-certificates", "migrated-audit_logs"} {
		_, _ = migration(t, at, from, args...)
	}
	if out, err := migration(t, "", from, args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the target still has the mark of an earlier migration")
	}
	refusesStart(t, "was migrated to SQLite in "+back, from, args[:4]...)
	s = serveTarget(t, p, back, key, "")
	s.agreed()
	return s
}

// counted are the lines of the command's output that count documents.
func counted(out string) (lines string) {
	for line := range strings.Lines(out) {
		if strings.Contains(line, " in the source, ") {
			lines += line
		}
	}
	return lines
}
