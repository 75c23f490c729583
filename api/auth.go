package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/engine"
)

// Authenticator recognises one kind of credential. One that a browser sends by
// itself, such as a cookie, comes with its own defence against forged requests:
// bodies are read as JSON whatever content type they claim, so a form of another
// site can make them.
type Authenticator interface {
	// Authenticate returns whom the request's credential stands for. presented
	// is false if the request has none of this kind; a credential that does not
	// hold is CodeUnauthenticated.
	Authenticate(ctx context.Context, c *fiber.Ctx) (who engine.Principal, presented bool, err error)
}

// apiKeys recognises "Authorization: Bearer" (RFC 6750, section 2.1).
type apiKeys struct {
	people engine.People
	clock  engine.Clock
}

var _ Authenticator = apiKeys{}

var errBadKey = engine.Errorf(engine.CodeUnauthenticated, "this API key is unknown, expired or revoked")

// Authenticate implements Authenticator. An unknown key, one out of use and one
// whose owner is disabled are refused alike.
func (a apiKeys) Authenticate(ctx context.Context, c *fiber.Ctx) (engine.Principal, bool, error) {
	header := c.Get(fiber.HeaderAuthorization)
	if header == "" {
		return engine.Principal{}, false, nil
	}
	scheme, secret, _ := strings.Cut(header, " ")
	secret = strings.TrimSpace(secret)
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return engine.Principal{}, true, engine.Errorf(engine.CodeUnauthenticated, "the Authorization header must be: Bearer <api key>")
	}
	key, err := a.people.APIKeyBySecret(ctx, engine.SecretDigest(engine.Secret(secret)))
	if errors.Is(err, engine.CodeNotFound) {
		return engine.Principal{}, true, errBadKey
	}
	if err != nil {
		return engine.Principal{}, true, fmt.Errorf("look up API key: %w", err)
	}
	owner, err := a.people.User(ctx, key.OwnerID)
	if err != nil && !errors.Is(err, engine.CodeNotFound) {
		return engine.Principal{}, true, fmt.Errorf("look up owner of API key: %w", err)
	}
	if err != nil || owner.Disabled || !key.Usable(a.clock()) {
		return engine.Principal{}, true, errBadKey
	}
	return engine.Principal{User: owner, Key: &key}, true, nil
}

// failedLoginsPerMinute is how many credentials that do not hold an address may
// present; those that hold are never limited.
const failedLoginsPerMinute = 60

// authenticate asks each authenticator in turn. A credential that does not hold
// is a failed login and goes on record.
func (s *Server) authenticate(ctx context.Context, c *fiber.Ctx, k *call) error {
	for _, each := range s.authenticators {
		who, presented, err := each.Authenticate(ctx, c)
		if errors.Is(err, engine.CodeUnauthenticated) {
			if limited := s.mayFail(k); limited != nil {
				return limited
			}
			s.loginFailed(ctx, k)
		}
		if err != nil {
			return err
		}
		if presented {
			k.Principal = who
			return s.seen(ctx, c, k)
		}
	}
	return engine.Errorf(engine.CodeUnauthenticated, "sign in, or send Authorization: Bearer <api key>")
}

// mayFail refuses an address that presented too much that does not hold.
func (s *Server) mayFail(k *call) error {
	if seconds, limited := s.failedLogins.exhausted(k.IP, s.clock()); limited {
		return tooManyFailed(seconds)
	}
	return nil
}

// mayTry is mayFail for what takes a while: done ends it, after a failure was
// counted.
func (s *Server) mayTry(k *call) (done func(), err error) {
	done, seconds, limited := s.failedLogins.try(k.IP, s.clock())
	if limited {
		return nil, tooManyFailed(seconds)
	}
	return done, nil
}

func tooManyFailed(seconds int) error {
	return engine.Errorf(engine.CodeRateLimited, "too many failed logins from this address").With(retryAfter, seconds)
}

// loginFailed counts a failed login and puts it on record.
func (s *Server) loginFailed(ctx context.Context, k *call) {
	s.failedLogins.count(k.IP, s.clock())
	s.downloads.RecordSystemRefusal(ctx, engine.ActionLoginFailed, engine.CodeUnauthenticated, k.Caller)
}

// access says who may call an operation. The ids in its path decide what is
// looked up: {pid} a project, {cid} a certificate of it, {rid} a request and {aid}
// an approval of it.
type access struct {
	public bool        // anybody
	pages  bool        // if a browser, then from this server's own pages
	system bool        // system administrators
	role   engine.Role // in the project {pid}; none: whoever is authenticated
	own    bool        // whoever made the request {rid}
	chain  bool        // {pid} may be the system chain
	action string      // on record when the role is missing; default engine.ActionAccessRefused
}

var ids = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// admit authenticates the caller, finds what the path names and checks the
// role, in the promised order: 401, 404, 403.
func (s *Server) admit(ctx context.Context, c *fiber.Ctx, k *call, a access) error {
	if a.pages && crossSite(c, k) {
		return errForgery
	}
	if a.public {
		return nil
	}
	if err := s.authenticate(ctx, c, k); err != nil {
		return err
	}
	pid := c.Params("pid")
	switch {
	case a.system && !k.IsSystemAdmin():
		return engine.Errorf(engine.CodeForbidden, "only a system administrator may do this")
	case a.system || pid == "":
		return nil
	case a.chain && pid == engine.SystemChain && k.IsSystemAdmin():
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
		return engine.Errorf(engine.CodeForbidden, "this takes the role %s; yours is %s", a.role, k.Role)
	}
	if a.own {
		return requesterOnly(k)
	}
	return nil
}

// enter finds the caller's role in a project. Whoever has none is told that the
// project does not exist.
func (s *Server) enter(ctx context.Context, k *call, pid string) error {
	if !ids.MatchString(pid) {
		return engine.CodeNotFound
	}
	member, err := s.store.Member(ctx, pid, k.User.ID)
	if err != nil && !errors.Is(err, engine.CodeNotFound) {
		return fmt.Errorf("look up member: %w", err)
	}
	role := k.RoleIn(pid, member.Role)
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
		if k.certificate, err = named(ctx, k, id, s.store.Certificate); err != nil {
			return fmt.Errorf("look up certificate: %w", err)
		}
	}
	if id := c.Params("rid"); id != "" {
		if k.request, err = named(ctx, k, id, s.store.Request); err != nil {
			return fmt.Errorf("look up request: %w", err)
		}
		return mine(k, k.request.Requester)
	}
	if id := c.Params("aid"); id != "" {
		if k.approval, err = named(ctx, k, id, s.store.Approval); err != nil {
			return fmt.Errorf("look up approval: %w", err)
		}
		return mine(k, k.approval.Requester)
	}
	return nil
}

// named reads what has an id in the caller's project.
func named[T any](ctx context.Context, k *call, id string, read func(ctx context.Context, projectID, id string) (T, error)) (found T, err error) {
	if !ids.MatchString(id) {
		return found, engine.CodeNotFound
	}
	return read(ctx, k.Project.ID, id)
}

// mine hides others' requests from an operator.
func mine(k *call, requester engine.Actor) error {
	if k.Role == engine.RoleOperator && requester.Person != k.User.ID {
		return engine.CodeNotFound
	}
	return nil
}

// recordForbidden puts a refusal for lack of rights on record. It stands whether
// or not it could be recorded.
func (s *Server) recordForbidden(ctx context.Context, k *call, action string) {
	if k.User.ID == "" {
		return
	}
	if action == "" {
		action = engine.ActionAccessRefused
	}
	e := k.Refusal(s.clock(), action, engine.CodeForbidden)
	if e.ProjectID == "" {
		e.ProjectID = engine.SystemChain
	}
	e.CertificateID, e.RequestID = k.certificate.ID, cmp.Or(k.request.ID, k.approval.RequestID)
	e.Detail["route"] = k.route
	if err := s.store.Append(context.WithoutCancel(ctx), e); err != nil {
		s.log.ErrorContext(ctx, "a refusal could not be put on record", "request_id", k.id, "action", action, "error", err)
	}
}
