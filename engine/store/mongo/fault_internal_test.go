package mongo

import (
	"errors"
	"strings"
	"testing"

	driver "go.mongodb.org/mongo-driver/mongo"
	wire "go.mongodb.org/mongo-driver/x/mongo/driver"
	"go.mongodb.org/mongo-driver/x/mongo/driver/topology"
)

// Only an error of a connection's handshake says that a credential is refused: Atlas gives
// its code for a quota and other causes too. No text of the server is shown, because it may
// name the user or quote the command.
func TestOnlyAHandshakeRefusesACredential(t *testing.T) {
	const text = "user app of mongodb://app:hunter2@host is over its space quota"
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"Atlas, a handshake":   {topology.ConnectionError{Wrapped: wire.Error{Code: 8000, Message: text}}, "refused the user or the password"},
		"MongoDB, a handshake": {topology.ConnectionError{Wrapped: wire.Error{Code: 18, Message: text}}, "refused the user or the password"},
		"Atlas, a command":     {driver.CommandError{Code: 8000, Message: text}, "code 8000"},
		"MongoDB, a command":   {driver.CommandError{Code: 18, Message: text}, "code 18"},
	} {
		got, ok := errors.AsType[*refusal](fault("write", c.err))
		if !ok || !strings.Contains(got.text, c.want) || strings.Contains(got.text, "app") || strings.Contains(got.text, "hunter2") {
			t.Errorf("%s: %v", name, got)
		}
	}
}
