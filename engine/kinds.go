package engine

import (
	"context"
	"errors"
	"strings"
)

// documentReader reads the documents that are compared with the audit log; [Store]
// documents the methods.
type documentReader interface {
	Project(ctx context.Context, id string) (Project, error)
	User(ctx context.Context, id string) (User, error)
	Users(ctx context.Context, page Page) ([]User, string, error)
	Member(ctx context.Context, projectID, userID string) (Member, error)
	Members(ctx context.Context, projectID string, page Page) ([]Member, string, error)
	APIKey(ctx context.Context, id string) (APIKey, error)
	APIKeys(ctx context.Context, projectID string, page Page) ([]APIKey, string, error)
	CertificatePolicy(ctx context.Context, projectID string) (CertificatePolicy, error)
	Certificate(ctx context.Context, projectID, id string) (Certificate, error)
	Certificates(ctx context.Context, projectID, query string, page Page) ([]Certificate, string, error)
	SealedKey(ctx context.Context, certificateID string) (SealedKey, error)
	Events(ctx context.Context, q EventQuery) ([]Event, string, error)
	Request(ctx context.Context, projectID, id string) (Request, error)
	Requests(ctx context.Context, q RequestQuery) ([]Request, string, error)
	Approval(ctx context.Context, projectID, id string) (Approval, error)
	Approvals(ctx context.Context, q ApprovalQuery) ([]Approval, string, error)
	Token(ctx context.Context, digest string) (TokenRecord, error)
	Tokens(ctx context.Context, projectID string, page Page) ([]TokenRecord, string, error)
	NotificationTarget(ctx context.Context, projectID, id string) (NotificationTarget, error)
	NotificationTargets(ctx context.Context, projectID string, page Page) ([]NotificationTarget, string, error)
}

// kind reads the documents of one table that belong to a chain: each of them, or the
// one with an id, or CodeNotFound.
type kind struct {
	table string
	each  func(ctx context.Context, s documentReader, chain string, visit func(document)) error
	get   func(ctx context.Context, s documentReader, chain, id string) (document, error)
}

// kindsOf are the kinds of document whose changes are in a chain.
func kindsOf(chain string) []kind {
	if chain == SystemChain {
		return []kind{users, apiKeys}
	}
	return []kind{projects, members, apiKeys, policies, targets, certificates, sealedKeys, events, requests, approvals, tokens}
}

func kindOf(table string) (k kind, known bool) {
	for _, k := range append(kindsOf(SystemChain), kindsOf("")...) {
		if k.table == table {
			return k, true
		}
	}
	return kind{}, false
}

// eachOf visits all documents of a listing.
func eachOf[T any](list func(Page) ([]T, string, error), visit func(T) error) error {
	for page := (Page{Limit: 200}); ; {
		found, next, err := list(page)
		if err != nil {
			return err
		}
		for _, one := range found {
			if err := visit(one); err != nil {
				return err
			}
		}
		if page.Cursor = next; next == "" {
			return nil
		}
	}
}

// eachProject visits every project.
func eachProject(ctx context.Context, s interface {
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
}, visit func(Project) error) error {
	return eachOf(func(page Page) ([]Project, string, error) { return s.Projects(ctx, "", page) }, visit)
}

// auditChains are the names of all audit chains: that of the system, and those of projects.
func auditChains(ctx context.Context, s interface {
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
},
) ([]string, error) {
	chains := []string{SystemChain}
	err := eachProject(ctx, s, func(p Project) error {
		chains = append(chains, p.ID)
		return nil
	})
	return chains, err
}

// listed is the method each of a kind whose documents have a listing.
func listed[T interface{ document() document }](
	list func(s documentReader, ctx context.Context, chain string, page Page) ([]T, string, error),
) func(context.Context, documentReader, string, func(document)) error {
	return func(ctx context.Context, s documentReader, chain string, visit func(document)) error {
		return eachOf(func(page Page) ([]T, string, error) { return list(s, ctx, chain, page) }, func(one T) error {
			visit(one.document())
			return nil
		})
	}
}

// single is the method get of a kind.
func single[T interface{ document() document }](
	get func(s documentReader, ctx context.Context, chain, id string) (T, error),
) func(context.Context, documentReader, string, string) (document, error) {
	return func(ctx context.Context, s documentReader, chain, id string) (document, error) {
		one, err := get(s, ctx, chain, id)
		if err != nil {
			return document{}, err
		}
		return one.document(), nil
	}
}

// oneEach is the method each of a kind of which a project has one document, or none.
func oneEach(get func(ctx context.Context, s documentReader, chain, id string) (document, error)) func(context.Context, documentReader, string, func(document)) error {
	return func(ctx context.Context, s documentReader, chain string, visit func(document)) error {
		d, err := get(ctx, s, chain, chain)
		if errors.Is(err, CodeNotFound) {
			return nil
		}
		if err == nil {
			visit(d)
		}
		return err
	}
}

var (
	projects     = kind{tableProjects, oneEach(getProject), getProject}
	policies     = kind{tablePolicies, oneEach(getPolicy), getPolicy}
	users        = kind{tableUsers, listed(listUsers), single(getUser)}
	members      = kind{tableMembers, listed(documentReader.Members), single(documentReader.Member)}
	apiKeys      = kind{tableAPIKeys, listed(documentReader.APIKeys), single(getAPIKey)}
	targets      = kind{tableTargets, listed(documentReader.NotificationTargets), single(documentReader.NotificationTarget)}
	certificates = kind{tableCertificates, listed(listCertificates), single(documentReader.Certificate)}
	requests     = kind{tableRequests, listed(listRequests), single(documentReader.Request)}
	approvals    = kind{tableApprovals, listed(listApprovals), single(documentReader.Approval)}
	sealedKeys   = kind{tableSealedKeys, eachSealedKey, getSealedKey}
	events       = kind{tableEvents, eachEvent, getEvent}
	tokens       = kind{tableTokens, eachToken, getToken}
)

func getProject(ctx context.Context, s documentReader, chain, _ string) (document, error) {
	p, err := s.Project(ctx, chain)
	return p.document(), err
}

func getPolicy(ctx context.Context, s documentReader, chain, _ string) (document, error) {
	p, err := s.CertificatePolicy(ctx, chain)
	if err == nil && p.Version == 0 {
		err = CodeNotFound // it is the default, which is not stored
	}
	return p.document(), err
}

func listUsers(s documentReader, ctx context.Context, _ string, page Page) ([]User, string, error) {
	return s.Users(ctx, page)
}

func getUser(s documentReader, ctx context.Context, _, id string) (User, error) {
	return s.User(ctx, id)
}

func getAPIKey(s documentReader, ctx context.Context, chain, id string) (APIKey, error) {
	k, err := s.APIKey(ctx, id)
	if err == nil && k.ProjectID != chain {
		err = CodeNotFound
	}
	return k, err
}

func listRequests(s documentReader, ctx context.Context, chain string, page Page) ([]Request, string, error) {
	return s.Requests(ctx, RequestQuery{ProjectID: chain, Page: page})
}

func listApprovals(s documentReader, ctx context.Context, chain string, page Page) ([]Approval, string, error) {
	return s.Approvals(ctx, ApprovalQuery{ProjectID: chain, Page: page})
}

func listCertificates(s documentReader, ctx context.Context, chain string, page Page) ([]Certificate, string, error) {
	return s.Certificates(ctx, chain, "", page)
}

func eachCertificate(ctx context.Context, s documentReader, chain string, visit func(Certificate) error) error {
	return eachOf(func(page Page) ([]Certificate, string, error) { return listCertificates(s, ctx, chain, page) }, visit)
}

func eachSealedKey(ctx context.Context, s documentReader, chain string, visit func(document)) error {
	return eachCertificate(ctx, s, chain, func(c Certificate) error {
		key, err := s.SealedKey(ctx, c.ID)
		if errors.Is(err, CodeNotFound) {
			return nil
		}
		if err == nil {
			visit(key.document(c))
		}
		return err
	})
}

func getSealedKey(ctx context.Context, s documentReader, chain, id string) (document, error) {
	c, err := s.Certificate(ctx, chain, id)
	if err != nil {
		return document{}, err
	}
	key, err := s.SealedKey(ctx, id)
	return key.document(c), err
}

func eventsOf(ctx context.Context, s documentReader, chain, certificateID string, visit func(Event) error) error {
	return eachOf(func(page Page) ([]Event, string, error) {
		return s.Events(ctx, EventQuery{ProjectID: chain, CertificateID: certificateID, Page: page})
	}, visit)
}

func eachEvent(ctx context.Context, s documentReader, chain string, visit func(document)) error {
	return eachCertificate(ctx, s, chain, func(c Certificate) error {
		return eventsOf(ctx, s, chain, c.ID, func(e Event) error {
			visit(e.document())
			return nil
		})
	})
}

// errFound ends a search.
var errFound = errors.New("found")

func getEvent(ctx context.Context, s documentReader, chain, id string) (document, error) {
	certificateID, _, _ := strings.Cut(id, "/")
	d := document{}
	err := eventsOf(ctx, s, chain, certificateID, func(e Event) error {
		if d = e.document(); d.ID == id {
			return errFound
		}
		return nil
	})
	switch {
	case errors.Is(err, errFound):
		return d, nil
	case err == nil:
		err = CodeNotFound
	}
	return document{}, err
}

func eachToken(ctx context.Context, s documentReader, chain string, visit func(document)) error {
	return eachOf(func(page Page) ([]TokenRecord, string, error) { return s.Tokens(ctx, chain, page) }, func(t TokenRecord) error {
		visit(t.document())
		if t.Settlement != nil {
			visit(t.Settlement.document())
		}
		return nil
	})
}

func getToken(ctx context.Context, s documentReader, chain, id string) (document, error) {
	digest, ofEnd := strings.CutSuffix(id, endSuffix)
	t, err := s.Token(ctx, digest)
	if err == nil && (t.ProjectID != chain || ofEnd && t.Settlement == nil) {
		err = CodeNotFound
	}
	switch {
	case err != nil:
		return document{}, err
	case ofEnd:
		return t.Settlement.document(), nil
	}
	return t.document(), nil
}
