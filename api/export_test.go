package api

import (
	"slices"

	"github.com/countersign-dev/countersign/engine"
)

// Endpoint is a registered endpoint as tests see it.
type Endpoint struct {
	Method, Path  string
	Authenticated bool
	System        bool // for system administrators alone
	SystemChain   bool // also for the system chain in place of a project
	Requester     bool // for the person who made the request alone
	Role          engine.Role
}

// Endpoints returns the registered endpoints.
func (s *Server) Endpoints() (all []Endpoint) {
	for _, e := range s.registered {
		a := e.access
		all = append(all, Endpoint{e.method, e.path, a.authenticated(), a.audience == systemAdmins, a.systemChain, a.requester, a.role})
	}
	return all
}

// Routes returns "method path" of everything that Fiber serves and that is not a
// public page.
func (s *Server) Routes() (all []string) {
	for _, r := range s.app.GetRoutes(true) {
		if !slices.Contains(s.publicPages, r.Path) || r.Method != "GET" && r.Method != "HEAD" {
			all = append(all, r.Method+" "+r.Path)
		}
	}
	return all
}
