// Package storetest is the contract that every [engine.Store] must meet. The tests of
// a store call [Run] with a function that opens an empty store. A promise that the
// store cannot keep is declared as a [Limit].
//
// Each part of the port has a file of the same name. Every subtest uses a project of
// its own, so that the subtests of one part can share a store, and stores at most a
// few hundred documents, so that slow stores can run it too.
package storetest

import (
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// Limit is a promise that a store cannot keep. Test is the name of the subtest as
// Run prints it ("policy/versions race"). Run skips the subtest and prints Reason.
type Limit struct {
	Test   string
	Reason string
}

// contract is one subtest.
type contract struct {
	name string
	test func(t *testing.T, s engine.Store)
}

// parts are the parts of the port, in the order of the port.
var parts = []struct {
	name      string
	contracts []contract
}{
	{"project", projectContracts},
	{"people", peopleContracts},
	{"session", sessionContracts},
	{"certificate", certificateContracts},
	{"policy", policyContracts},
	{"request", requestContracts},
	{"approval", approvalContracts},
	{"token", tokenContracts},
	{"notification", notificationContracts},
	{"audit", auditContracts},
	{"datakey", dataKeyContracts},
	{"node", nodeContracts},
}

// inPlace checks that no document is stored under other values than it says, after all
// that a part of the contract wrote.
func inPlace(t *testing.T, s engine.Store) {
	t.Helper()
	ids := []string{engine.SystemChain}
	for _, p := range walk(t, func(page engine.Page) ([]engine.Project, string, error) { return s.Projects(t.Context(), "", page) }, 100) {
		ids = append(ids, p.ID)
	}
	for _, id := range ids {
		same(t, get[[]engine.Disagreement](t)(s.Misplaced(t.Context(), id)), nil)
	}
}

// Run checks a store. It calls open once for each part of the port and closes the
// store; open must fail the test if it cannot open one.
func Run(t *testing.T, open func(t *testing.T) engine.Store, limits ...Limit) {
	reasons := map[string]string{}
	for _, limit := range limits {
		reasons[limit.Test] = limit.Reason
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			s := open(t)
			ok(t, s.UseAuditKey(t.Context(), auditKey))
			for _, c := range part.contracts {
				name := part.name + "/" + c.name
				reason, limited := reasons[name]
				delete(reasons, name)
				t.Run(c.name, func(t *testing.T) {
					if limited {
						t.Skipf("this store cannot keep the promise: %s", reason)
					}
					c.test(t, s)
				})
			}
			inPlace(t, s)
			ok(t, s.Ping(t.Context()))
			ok(t, s.Close())
		})
	}
	t.Run("copies", func(t *testing.T) {
		source, target := open(t), open(t)
		copies(t, source, target)
		ok(t, source.Close())
		ok(t, target.Close())
	})
	for name := range reasons {
		t.Errorf("the limit %q names no contract", name)
	}
}
