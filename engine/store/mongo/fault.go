package mongo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	driver "go.mongodb.org/mongo-driver/mongo"
	wire "go.mongodb.org/mongo-driver/x/mongo/driver"
	"go.mongodb.org/mongo-driver/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/x/mongo/driver/topology"

	"github.com/countersign-dev/countersign/engine"
)

// fault adds to a driver's error what the store was doing. A missing document
// becomes engine.CodeNotFound; a database that does not answer becomes
// engine.CodeUnavailable, with the driver's error as its cause for the log.
func fault(doing string, err error) error {
	if errors.Is(err, driver.ErrNoDocuments) {
		return engine.CodeNotFound
	}
	_, handshakeFailed := errors.AsType[topology.ConnectionError](err) // the driver does not count it as a network error
	err = fmt.Errorf("%s: %w", doing, withoutCredential(err, handshakeFailed))
	if noServer(err) || temporary(err) || handshakeFailed || errors.Is(err, driver.ErrClientDisconnected) {
		return engine.Errorf(engine.CodeUnavailable, "the database does not answer; try again").Because(err)
	}
	return err
}

// The codes with which a server refuses a credential, or what its user may not do. Atlas
// gives its own for a full quota and a command that it does not allow, too.
const (
	unauthorized         = 13
	authenticationFailed = 18
	atlasError           = 8000
)

// refusal is that a server refuses a credential or a command. It leaves out the server's
// text, which may name the user or quote the command.
type refusal struct {
	text  string
	cause error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

func withoutCredential(err error, handshakeFailed bool) error {
	code := int32(0)
	if e, ok := errors.AsType[wire.Error](err); ok { // of the first messages of a connection
		code = e.Code
	}
	if e, ok := errors.AsType[driver.CommandError](err); ok {
		code = e.Code
	}
	switch code {
	case authenticationFailed, atlasError:
		if !handshakeFailed {
			return &refusal{fmt.Sprintf("MongoDB refused a command with code %d; its log, or in Atlas the alerts and limits of the cluster, say why", code), err}
		}
		return &refusal{"MongoDB refused the user or the password; correct mongodb.username_file and mongodb.password_file, or the MongoDB URI", err}
	case unauthorized:
		return &refusal{"MongoDB demands a user, or another one; name one by mongodb.username_file and mongodb.password_file, or in the MongoDB URI, and give it the role readWrite on the database", err}
	}
	return err
}

// NotYet reports whether the error of Open is that no server answers, so that a later
// call may succeed. A refused credential or certificate is not that.
func NotYet(err error) bool {
	if e, ok := errors.AsType[driver.ServerError](err); ok && (e.HasErrorCode(unauthorized) || e.HasErrorCode(authenticationFailed)) {
		return false
	}
	if _, refused := errors.AsType[*auth.Error](err); refused {
		return false
	}
	if e, ok := errors.AsType[topology.ServerSelectionError](err); ok {
		for _, server := range e.Desc.Servers {
			if _, refused := errors.AsType[*tls.CertificateVerificationError](server.LastError); refused {
				return false
			}
			if server.LastError != nil && strings.Contains(server.LastError.Error(), "tls: ") { // the library has no type for it
				return false
			}
		}
	}
	return errors.Is(err, engine.CodeUnavailable)
}

// maybeWritten reports whether a write that failed with err may have been done, or
// may still be done.
func maybeWritten(err error) bool { return temporary(err) && !noServer(err) }

// noServer reports whether the driver found no server to which it could send anything.
func noServer(err error) bool {
	_, ok := errors.AsType[topology.ServerSelectionError](err)
	return ok
}

// electionCodes are the error codes of a member that stops being the primary, from
// MongoDB's specification of server discovery and monitoring.
var electionCodes = []int{91, 189, 10058, 10107, 11600, 11602, 13435, 13436}

// internalError is the code with which a server says that it failed itself. FerretDB
// does so while its PostgreSQL does not answer.
const internalError = 1

// temporary reports whether the network, a timeout, an election, a late majority or a
// failure of the server itself caused the failure, rather than the content of the call.
func temporary(err error) bool {
	if driver.IsNetworkError(err) || driver.IsTimeout(err) || errors.Is(err, context.Canceled) {
		return true
	}
	// The driver closed the connection because another call on it failed.
	if e, ok := errors.AsType[interface {
		error
		Retryable() bool
	}](err); ok && e.Retryable() {
		return true
	}
	if e, ok := errors.AsType[driver.WriteException](err); ok && e.WriteConcernError != nil {
		return true
	}
	if e, ok := errors.AsType[driver.BulkWriteException](err); ok && e.WriteConcernError != nil {
		return true
	}
	e, ok := errors.AsType[driver.ServerError](err)
	return ok && (e.HasErrorLabel("RetryableWriteError") || e.HasErrorCode(internalError) || slices.ContainsFunc(electionCodes, e.HasErrorCode))
}
