package main

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/keys"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

// soak is set for the long versions of tests, in which they repeat what they do
// hundreds of times instead of tens.
var soak = os.Getenv("COUNTERSIGN_SOAK") == "1"

// times is how often a test repeats something: a few times in the gate, many
// times in a soak.
func times(few, many int) int {
	if soak {
		return many
	}
	return few
}

// common is the server that all tests share which do not stop their server and
// change only settings of their own project.
var common struct {
	sync.Mutex
	*server
	dir string
}

// project gives a test a project of its own on the common server, with the
// sample certificates, and with API keys of the same users as in the sample
// project.
func project(t *testing.T) *server {
	t.Helper()
	s := commonServer(t)
	s.boot.ProjectID, s.boot.APIKeys = s.newProject(t.Name())
	s.importSamples()
	return s
}

// importSamples imports the sample certificates into the project.
func (s *server) importSamples() {
	t := s.t
	t.Helper()
	s.boot.Certificates = nil
	made, err := sampleCertificates()
	noError(t, err)
	for _, sample := range made {
		chain := &bytes.Buffer{}
		for _, c := range sample.chain {
			noError(t, pem.Encode(chain, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}
		members := []any{"name", sample.name, "certificate_pem", pemOf("CERTIFICATE", sample.leaf.Raw), "chain_pem", chain.String()}
		if sample.key != nil {
			members = append(members, "private_key_pem", pemOf("PRIVATE KEY", sample.key))
		}
		var c bootstrapCertificate
		s.must(http.StatusCreated, &c, "admin", http.MethodPost, s.project()+"/certificates", object(members...))
		s.boot.Certificates = append(s.boot.Certificates, c)
	}
}

// sampleCertificates are made once, since RSA keys take long to make.
var sampleCertificates = sync.OnceValues(func() ([]sample, error) { return samples(time.Now()) })

// commonServer is the common server with its sample project. Notifications may
// go to servers of tests.
func commonServer(t *testing.T) *server {
	t.Helper()
	common.Lock()
	defer common.Unlock()
	if common.dir == "" {
		dir, err := os.MkdirTemp("", "countersign-e2e-")
		noError(t, err)
		common.dir = dir
		common.server = launch(t, devCommandOf(binary(t), filepath.Join(dir, "data")), filepath.Join(dir, "data"), "COUNTERSIGN_NOTIFICATIONS_ALLOW_HOSTS=127.0.0.1")
		common.awaitReady()
	}
	if common.server == nil {
		t.Fatal("the common server did not start; see the test that started it")
	}
	s := *common.server
	s.t = t
	s.failIfEnded()
	return &s
}

// endCommonServer ends it as an operator would, and removes its folder.
func endCommonServer() {
	if common.server != nil {
		common.stop()
	}
	if common.dir != "" {
		_ = os.RemoveAll(common.dir)
	}
}

// newProject makes a project in the store of a running server, and an API key in
// it for each user of the sample project.
func (s *server) newProject(name string) (id string, keys map[string]string) {
	s.t.Helper()
	ctx := s.t.Context()
	s.inStore(func(store engine.Store, admin *engine.Admin) {
		root, err := store.UserByName(ctx, "admin")
		noError(s.t, err)
		by := engine.Caller{Principal: engine.Principal{User: root}, Role: engine.RoleAdmin}
		by.Project, err = admin.CreateProject(ctx, by, name)
		noError(s.t, err)
		id, keys = by.Project.ID, map[string]string{}
		for _, p := range sampleUsers {
			u, err := store.UserByName(ctx, p.username)
			noError(s.t, err)
			keys[p.key] = memberKey(s.t, admin, by, u, p.role)
		}
	})
	return id, keys
}

// memberKey makes a user a member of the caller's project, with an API key.
func memberKey(t *testing.T, admin *engine.Admin, by engine.Caller, u engine.User, role engine.Role) string {
	t.Helper()
	_, err := admin.SetMember(t.Context(), by, u.ID, role)
	noError(t, err)
	own := by
	own.Principal, own.Role = engine.Principal{User: u}, role
	_, secret, err := admin.CreateAPIKey(t.Context(), own, engine.APIKeySettings{Name: "test", Role: role})
	noError(t, err)
	return secret.Reveal()
}

// inStore does something as an administrator in the store of a running server.
func (s *server) inStore(do func(engine.Store, *engine.Admin)) {
	s.t.Helper()
	s.inStoreWithKey(func(store engine.Store, _ []byte) { do(store, &engine.Admin{Store: store, Clock: engine.SystemClock}) })
}

// agreed checks that every chain is intact and agrees with all documents.
func (s *server) agreed() {
	s.t.Helper()
	s.inStoreWithKey(func(store engine.Store, key []byte) {
		v := engine.Verifier{Store: store, Key: key, Ages: engine.RetentionAges{Tokens: 720 * time.Hour}, Clock: engine.SystemClock, Wait: 2 * time.Second}
		for _, chain := range []string{s.boot.ProjectID, engine.SystemChain} {
			found, err := v.Verify(s.t.Context(), chain, engine.AuditHead{})
			if err != nil || !found.OK || found.Entries == 0 {
				s.t.Errorf("verification of %s: %+v, %v", chain, found, err)
			}
		}
	})
}

// inStoreWithKey opens the store of a running server, with its audit key.
func (s *server) inStoreWithKey(do func(engine.Store, []byte)) {
	s.t.Helper()
	var store engine.Store
	var err error
	if s.mongoURI != "" {
		store, err = mongo.Open(s.t.Context(), s.mongoURI)
	} else {
		store, err = sqlite.Open(s.t.Context(), filepath.Join(s.dir, "db", "countersign.db"))
	}
	noError(s.t, err)
	defer func() { noError(s.t, store.Close()) }()
	sealer, err := keys.Open(s.t.Context(), keys.Options{KeyFile: cmp.Or(s.keyFile, filepath.Join(s.dir, "keys", "local.key")), Logger: slog.New(slog.DiscardHandler)})
	noError(s.t, err)
	defer func() { noError(s.t, sealer.Close()) }()
	auditKey, err := keys.DataKey(s.t.Context(), sealer, store, "audit-chain")
	noError(s.t, err)
	noError(s.t, store.UseAuditKey(s.t.Context(), auditKey))
	do(store, auditKey)
}

var approverGroups atomic.Int64

// approvers creates n approvers of the project, each with an API key of the same
// name, in the store of a running server.
func (s *server) approvers(n int) (names []string) {
	s.t.Helper()
	ctx, group := s.t.Context(), approverGroups.Add(1)
	s.inStore(func(store engine.Store, admin *engine.Admin) {
		root, err := store.UserByName(ctx, "admin")
		noError(s.t, err)
		by := engine.Caller{Principal: engine.Principal{User: root}, Role: engine.RoleAdmin}
		by.Project, err = store.Project(ctx, s.boot.ProjectID)
		noError(s.t, err)
		for i := range n {
			u, err := admin.CreateUser(ctx, by, engine.User{Username: fmt.Sprintf("approver%d-%d", group, i)}, "")
			noError(s.t, err)
			names = append(names, u.Username)
			s.boot.APIKeys[u.Username] = memberKey(s.t, admin, by, u, engine.RoleApprover)
		}
	})
	return names
}
