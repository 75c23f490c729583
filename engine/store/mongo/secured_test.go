package mongo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/engine/store/mongo/mongotest"
)

func TestSecuredServer(t *testing.T) {
	server := mongotest.ServeSecured(t)
	t.Run("credentials and certificates are read again", func(t *testing.T) { renewsCredentials(t, server) })
	t.Run("refused credentials and files", func(t *testing.T) { refusesCredentials(t, server) })
}

// A new password, a new user and new certificates are used by new connections, without a
// new store: what is stored and read goes on.
func renewsCredentials(t *testing.T, server *mongotest.Secured) {
	server.User("createUser", "app", "p:/?#[]@ %1")
	files := mongo.Credential{UsernameFile: server.Replace("user", "app\n"), PasswordFile: server.Replace("password", "p:/?#[]@ %1\n")}
	s, err := mongo.OpenAs(t.Context(), server.URI("db"), files)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	works := func(what string) {
		t.Helper()
		for { // a connection that the server closed is found by the first call on it
			err := s.Append(t.Context(), entry("prj"))
			if err == nil {
				return
			}
			if code := engine.CodeOf(err); code != engine.CodeAuditUnavailable || t.Context().Err() != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	works("the first password")

	server.User("updateUser", "app", "second")
	server.Replace("password", "second")
	server.Renew() // ends all connections
	works("a second password and new certificates")

	server.User("createUser", "successor", "third", "SCRAM-SHA-1")
	server.User("updateUser", "app", "unknown")
	server.Replace("user", "successor")
	server.Replace("password", "third")
	server.Renew()
	works("a second user, who is known by SCRAM-SHA-1 only")

	server.Replace("password", "hunter2")
	server.Renew()
	err = s.Ping(t.Context())
	if !errors.Is(err, engine.CodeUnavailable) {
		t.Errorf("a wrong password gave %v", err)
	}
	holdsNone(t, "a wrong password of a running store", err, "successor", "hunter", server.Dir)
	server.Replace("password", "third")
	works("the right password again")
}

func holdsNone(t *testing.T, what string, err error, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds %q: %v", what, secret, err)
		}
	}
}

// What is wrong with a credential or a file of the URI is said at once, with the remedy
// and without any part of the URI, the user or the password.
func refusesCredentials(t *testing.T, server *mongotest.Secured) {
	server.User("createUser", "someone", "hunter2")
	path := func(name string) string { return filepath.Join(server.Dir, name) }
	server.Replace("user", "someone")
	server.Replace("password", "hunter2")
	server.Replace("empty", "\n")
	server.Replace("wrong", "hunter3")
	server.Replace("nothing", "")
	for _, name := range []string{"client.pem", "password", "ca.pem"} {
		text, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		server.Replace("old-"+name, string(text))
		if err := os.Chmod(server.Replace("open-"+name, string(text)), 0o640); err != nil { //nolint:gosec // that is the case
			t.Fatal(err)
		}
	}
	good := mongo.Credential{UsernameFile: path("user"), PasswordFile: path("password")}
	server.Renew()
	withUser := func(user string) string { return strings.Replace(server.URI("db"), "://", "://"+user+"@", 1) }
	for name, c := range map[string]struct {
		uri   string
		files mongo.Credential
		want  string // "" if it opens
	}{
		"files":                     {server.URI("db"), good, ""},
		"the user in the URI":       {withUser("someone"), mongo.Credential{PasswordFile: path("password")}, ""},
		"both in the URI":           {withUser("someone:hunter2"), mongo.Credential{}, ""},
		"a mechanism":               {server.URI("db", "authMechanism", "SCRAM-SHA-256"), good, ""},
		"a wrong password":          {server.URI("db"), mongo.Credential{UsernameFile: path("user"), PasswordFile: path("wrong")}, "correct mongodb.username_file and mongodb.password_file"},
		"a wrong password in URI":   {withUser("someone:hunter3"), mongo.Credential{}, "refused the user or the password"},
		"no user":                   {server.URI("db"), mongo.Credential{}, "MongoDB demands a user"},
		"no user for the password":  {server.URI("db"), mongo.Credential{PasswordFile: path("password")}, "needs a user"},
		"two users":                 {withUser("someone"), good, "take it out of the URI"},
		"two passwords":             {withUser("someone:hunter2"), mongo.Credential{PasswordFile: path("password")}, "take it out of the URI"},
		"a missing password":        {server.URI("db"), mongo.Credential{UsernameFile: path("user"), PasswordFile: path("missing")}, "read mongodb.password_file: "},
		"a missing user":            {server.URI("db"), mongo.Credential{UsernameFile: path("missing"), PasswordFile: path("password")}, "read mongodb.username_file: "},
		"an empty password":         {server.URI("db"), mongo.Credential{UsernameFile: path("user"), PasswordFile: path("empty")}, "empty is empty"},
		"an open password":          {server.URI("db"), mongo.Credential{UsernameFile: path("user"), PasswordFile: path("open-password")}, "chmod go-rwx"},
		"another mechanism":         {server.URI("db", "authMechanism", "MONGODB-AWS", "authSource", "$external"), good, "is for the mechanisms"},
		"an open client key":        {server.URI("db", "tlsCertificateKeyFile", path("open-client.pem")), good, "tlsCertificateKeyFile in the MongoDB URI names: other users can read"},
		"a missing client key":      {server.URI("db", "tlsCertificateKeyFile", path("missing")), good, "tlsCertificateKeyFile in the MongoDB URI names: no such file"},
		"an empty authority":        {server.URI("db", "tlsCAFile", path("nothing")), good, "tlsCAFile in the MongoDB URI names: it is empty"},
		"an authority without any":  {server.URI("db", "tlsCAFile", path("user")), good, "does not contain any valid certificates"},
		"another authority":         {server.URI("db", "tlsCAFile", path("old-ca.pem")), good, "certificate signed by unknown authority"},
		"a certificate of another":  {server.URI("db", "tlsCertificateKeyFile", path("old-client.pem")), good, "tls: "},
		"a certificate without any": {server.URI("db", "tlsCertificateKeyFile", path("user")), good, "failed to find CERTIFICATE"},
	} {
		s, err := mongo.OpenAs(t.Context(), c.uri, c.files)
		if err == nil {
			err = s.Close()
		}
		switch {
		case c.want == "" && err == nil:
			continue
		case c.want == "" || err == nil || !strings.Contains(err.Error(), c.want) || mongo.NotYet(err):
			t.Errorf("%s: %v", name, err)
		}
		secrets := []string{"someone", "hunter", "authSource"}
		if strings.Contains(name, "client key") || strings.Contains(name, "authority") {
			secrets = append(secrets, server.Dir)
		}
		holdsNone(t, name, err, secrets...)
	}
}
