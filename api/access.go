package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/engine"
)

// access says who may call an endpoint. The zero value is no declaration and
// cannot be registered. The ids in the path decide what is looked up: {pid} a
// project, {cid} a certificate of it, {rid} a request and {aid} an approval of it.
type access struct {
	audience    audience
	role        engine.Role // in the project {pid}
	requester   bool        // only the person who made the request {rid}
	systemChain bool        // {pid} may be engine.SystemChain, for system administrators
}

type audience int

const (
	undeclared audience = iota
	everybody
	ownPages // everybody; a browser only from this server's own pages
	authenticated
	members
	systemAdmins
)

// The declarations of access; see also role.
var (
	public       = access{audience: everybody}
	fromOwnPages = access{audience: ownPages}
	signedIn     = access{audience: authenticated}
	systemAdmin  = access{audience: systemAdmins}
)

// role admits callers who have at least this role in the project {pid}.
func role(least engine.Role) access { return access{audience: members, role: least} }

// onlyRequester narrows a to the person who made the request {rid}.
func (a access) onlyRequester() access {
	a.requester = true
	return a
}

// orSystemChain extends a to system administrators who name the system chain as
// the project.
func (a access) orSystemChain() access {
	a.systemChain = true
	return a
}

// authenticated reports whether callers need a credential.
func (a access) authenticated() bool { return a.audience != everybody && a.audience != ownPages }

// restricted reports whether some callers are refused with 403.
func (a access) restricted() bool { return a.audience != everybody && a.audience != authenticated }

var ids = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// admit authenticates the caller, finds what the path names and checks the
// role, in the promised order: 401, 404, 403.
func (s *Server) admit(ctx context.Context, c *fiber.Ctx, k *call, a access) error {
	if a.audience == ownPages && crossSite(c, k) {
		return errCrossSite
	}
	if !a.authenticated() {
		return nil
	}
	if err := s.authenticate(ctx, c, k); err != nil {
		return err
	}
	switch a.audience {
	case authenticated:
		return nil
	case systemAdmins:
		if !k.IsSystemAdmin() {
			return engine.Errorf(engine.CodeForbidden, "only a system administrator may do this")
		}
		return nil
	}
	pid := c.Params("pid")
	if a.systemChain && pid == engine.SystemChain && k.IsSystemAdmin() {
		k.Project, k.Role = engine.Project{ID: engine.SystemChain}, engine.RoleAdmin
		return nil
	}
	if err := s.enter(ctx, k, pid); err != nil {
		return err
	}
	if err := s.find(ctx, k, c); err != nil {
		return err
	}
	if !k.Role.Includes(a.role) {
		return engine.Errorf(engine.CodeForbidden, "this needs the role %s; your role is %s", a.role, k.Role)
	}
	if a.requester {
		return requesterOnly(k)
	}
	return nil
}

// requesterOnly refuses a caller who did not make the request.
func requesterOnly(k *call) error {
	if k.request.Requester.Person != k.User.ID {
		return engine.Errorf(engine.CodeForbidden, "only the requester may do this")
	}
	return nil
}

// enter finds the caller's role in a project. To a caller without a role the
// project does not exist.
func (s *Server) enter(ctx context.Context, k *call, pid string) error {
	if !ids.MatchString(pid) {
		return engine.CodeNotFound
	}
	member, err := s.store.Member(ctx, pid, k.User.ID)
	if err != nil && !errors.Is(err, engine.CodeNotFound) {
		return fmt.Errorf("look up member: %w", err)
	}
	role := k.RoleIn(pid, member)
	if role == "" {
		return engine.CodeNotFound
	}
	if k.Project, err = s.store.Project(ctx, pid); err != nil {
		return fmt.Errorf("look up project: %w", err)
	}
	k.Role = role
	return nil
}

// find looks up what else the path names. An operator finds only their own
// requests and approvals.
func (s *Server) find(ctx context.Context, k *call, c *fiber.Ctx) (err error) {
	if id := c.Params("cid"); id != "" {
		if k.certificate, err = lookUp(ctx, k, id, s.store.Certificate); err != nil {
			return fmt.Errorf("look up certificate: %w", err)
		}
	}
	if id := c.Params("rid"); id != "" {
		if k.request, err = lookUp(ctx, k, id, s.store.Request); err != nil {
			return fmt.Errorf("look up request: %w", err)
		}
		return visible(k, k.request.Requester)
	}
	if id := c.Params("aid"); id != "" {
		if k.approval, err = lookUp(ctx, k, id, s.store.Approval); err != nil {
			return fmt.Errorf("look up approval: %w", err)
		}
		return visible(k, k.approval.Requester)
	}
	return nil
}

// lookUp reads a document of the caller's project by its id.
func lookUp[T any](ctx context.Context, k *call, id string, read func(ctx context.Context, projectID, id string) (T, error)) (found T, err error) {
	if !ids.MatchString(id) {
		return found, engine.CodeNotFound
	}
	return read(ctx, k.Project.ID, id)
}

// visible hides other people's requests from an operator.
func visible(k *call, requester engine.Actor) error {
	if k.Role == engine.RoleOperator && requester.Person != k.User.ID {
		return engine.CodeNotFound
	}
	return nil
}

// recordForbidden has the refusal of a known caller recorded.
func (s *Server) recordForbidden(ctx context.Context, k *call, action string) {
	if k.User.ID == "" {
		return
	}
	s.downloads.Refusals.RecordForbidden(ctx, k.Caller, cmp.Or(action, engine.ActionAccessRefused), k.route,
		k.certificate.ID, cmp.Or(k.request.ID, k.approval.RequestID))
}
