package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/x/mongo/driver/topology"

	"github.com/countersign-dev/countersign/engine"
)

// fault says what was being done when the driver failed, and makes a database
// that does not answer engine.CodeUnavailable. The driver's text is its cause,
// which is for the log.
func fault(doing string, err error) error {
	if errors.Is(err, driver.ErrNoDocuments) {
		return engine.CodeNotFound
	}
	err = fmt.Errorf("%s: %w", doing, err)
	if nowhere(err) || passing(err) || errors.Is(err, driver.ErrClientDisconnected) {
		return engine.Errorf(engine.CodeUnavailable, "the database does not answer").Because(err)
	}
	return err
}

// maybeDone tells whether a write that failed so may have been done, or be done yet.
func maybeDone(err error) bool { return passing(err) && !nowhere(err) }

// nowhere tells whether there was no server to send anything to.
func nowhere(err error) bool {
	_, ok := errors.AsType[topology.ServerSelectionError](err)
	return ok
}

// electionCodes are what a member answers that stops being the primary, from
// MongoDB's specification of server discovery and monitoring.
var electionCodes = []int{91, 189, 10058, 10107, 11600, 11602, 13435, 13436}

// passing tells whether the failure is one of the network, of time, of an
// election or of a majority that is late, and not of what was asked.
func passing(err error) bool {
	if driver.IsNetworkError(err) || driver.IsTimeout(err) || errors.Is(err, context.Canceled) {
		return true
	}
	// The pool was emptied because of another call's failure.
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
	return ok && (e.HasErrorLabel("RetryableWriteError") || slices.ContainsFunc(electionCodes, e.HasErrorCode))
}
