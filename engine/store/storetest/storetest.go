// Package storetest is the one contract that every [engine.Store] meets. A store
// calls [Run] from its tests with a way to open an empty store; what it cannot
// honour it names, with the reason, as a [Limit].
//
// There is a file for each part of the port, named like it. Every subtest works
// in a project of its own, so that those of one part can share a store, and
// keeps to a few hundred documents, so that slow stores can run it too.
package storetest

import (
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// Limit is a promise that a store cannot keep. Test is the name of the subtest
// as Run prints it ("policy/versions race"); Reason is printed where it is
// skipped.
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
}

// Run checks a store. It calls open once for each part of the port; open fails
// the test where it cannot, and leaves closing the store to Run.
func Run(t *testing.T, open func(t *testing.T) engine.Store, limits ...Limit) {
	reasons := map[string]string{}
	for _, limit := range limits {
		reasons[limit.Test] = limit.Reason
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			s := open(t)
			for _, c := range part.contracts {
				name := part.name + "/" + c.name
				reason, limited := reasons[name]
				delete(reasons, name)
				t.Run(c.name, func(t *testing.T) {
					if limited {
						t.Skipf("this store cannot honour it: %s", reason)
					}
					c.test(t, s)
				})
			}
			ok(t, s.Ping(t.Context()))
			ok(t, s.Close())
		})
	}
	for name := range reasons {
		t.Errorf("the limit %q names no contract", name)
	}
}
