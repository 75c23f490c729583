package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// placed says under which values, besides its own members, a collection's documents are
// stored: their _id, and members that follow from others.
type placed struct {
	collection string
	// project is the member that names the project; the collections without it belong to
	// the system. begins is one that begins with the project's id and a slash.
	project, begins string
	// problem says what is wrong with a document, or "".
	problem func(bson.Raw) string
}

var placements = []placed{
	{projectsName, "_id", "", under(func(engine.Project) string { return "" })},
	{usersName, "", "", under(func(engine.User) string { return "" })},
	{sessionsName, "", "", under(func(engine.Session) string { return "" })},
	{dataKeysName, "", "", under(func(keyDocument) string { return "" })},
	{certificateKeysName, "", "", under(func(keyDocument) string { return "" })},
	{membersName, "project_id", "_id", under(memberDocument.misplaced)},
	{apiKeysName, "project_id", "", under(func(engine.APIKey) string { return "" })},
	{certificatesName, "project_id", "", under(certificateDocument.misplaced)},
	{eventsName, "project_id", "", under(func(engine.Event) string { return "" })},
	{policiesName, "project_id", "_id", under(policyDocument.misplaced)},
	{requestsName, "project_id", "", under(func(requestDocument) string { return "" })},
	{approvalsName, "project_id", "", under(func(engine.Approval) string { return "" })},
	{tokensName, "project_id", "", tokenMisplaced},
	{targetsName, "project_id", "place", under(targetDocument.misplaced)},
}

// under makes the check of documents of one type.
func under[T any](misplaced func(T) string) func(bson.Raw) string {
	return func(raw bson.Raw) string {
		doc, err := decode[T](raw)
		if err != nil {
			return "the document cannot be read"
		}
		if member := misplaced(doc); member != "" {
			return "the document differs from its " + member
		}
		return ""
	}
}

func (d memberDocument) misplaced() string {
	return unless(d.ID == memberKey(d.ProjectID, d.UserID), "_id")
}

func (d policyDocument) misplaced() string {
	return unless(d.ID == newPolicyDocument(d.CertificatePolicy).ID, "_id")
}

func (d certificateDocument) misplaced() string {
	want := newCertificateDocument(d.Certificate)
	if d.SearchText != want.SearchText {
		return "search_text"
	}
	return unless(slices.Equal(d.Grams, want.Grams), "grams")
}

func (d targetDocument) misplaced() string {
	number, ok := strings.CutPrefix(d.Place, d.ProjectID+"/")
	_, err := strconv.ParseUint(number, 10, 31)
	return unless(ok && err == nil, "place")
}

// tokenMisplaced checks a token or a settlement; see token.go.
func tokenMisplaced(raw bson.Raw) string {
	if _, err := raw.LookupErr("kind"); err != nil {
		return under(func(d tokenDocument) string { return unless(d.ID == d.Digest, "_id") })(raw)
	}
	return under(func(d settlementDocument) string { return unless(d.ID == d.Digest+settlementSuffix, "_id") })(raw)
}

func unless(right bool, member string) string {
	if right {
		return ""
	}
	return member
}

// Misplaced implements engine.ColumnChecks.
func (s *Store) Misplaced(ctx context.Context, projectID string) (found []engine.Disagreement, err error) {
	var projects []string
	if projectID == engine.SystemChain {
		if projects, err = s.projectIDs(ctx); err != nil {
			return nil, err
		}
	}
	for _, p := range placements {
		filter := bson.D{}
		switch {
		case p.project != "":
			filter = p.of(projectID, projects)
		case projectID != engine.SystemChain:
			continue
		}
		if found, err = s.misplaced(ctx, p, filter, found); err != nil || len(found) == engine.MaxMisplaced {
			return found, err
		}
	}
	return found, nil
}

// projectIDs are the ids of all projects.
func (s *Store) projectIDs(ctx context.Context) ([]string, error) {
	docs, err := findAll[engine.Project](ctx, s.db.Collection(projectsName), bson.D{}, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	ids := []string{}
	for _, p := range docs {
		ids = append(ids, p.ID)
	}
	return ids, err
}

// of selects the documents of a project. Those of the system are also all that are of
// none of the projects that exist.
func (p placed) of(projectID string, existing []string) bson.D {
	either := bson.A{bson.D{{Key: p.project, Value: projectID}}}
	if p.begins != "" { // 0 is the character behind the slash
		either = append(either, bson.D{{Key: p.begins, Value: bson.D{{Key: "$gte", Value: projectID + "/"}, {Key: "$lt", Value: projectID + "0"}}}})
	}
	if projectID == engine.SystemChain {
		either = append(either, bson.D{{Key: p.project, Value: bson.D{{Key: "$nin", Value: existing}}}})
	}
	return bson.D{{Key: "$or", Value: either}}
}

// misplaced adds the documents that the filter selects and that are stored under other
// values than they say.
func (s *Store) misplaced(ctx context.Context, p placed, filter bson.D, found []engine.Disagreement) (_ []engine.Disagreement, err error) {
	what := "check " + p.collection
	cursor, err := s.db.Collection(p.collection).Find(ctx, filter)
	if err != nil {
		return nil, fault(what, err)
	}
	defer func() { err = errors.Join(err, cursor.Close(ctx)) }()
	for len(found) < engine.MaxMisplaced && cursor.Next(ctx) {
		if problem := p.problem(cursor.Current); problem != "" {
			found = append(found, engine.Disagreement{Document: p.collection, ID: idOf(cursor.Current), Problem: problem})
		}
	}
	if err := cursor.Err(); err != nil {
		return nil, fault(what, err)
	}
	return found, nil
}

// idOf is the _id of a document, which somebody may have made of another type.
func idOf(raw bson.Raw) string {
	id := raw.Lookup("_id")
	if text, ok := id.StringValueOK(); ok {
		return text
	}
	return fmt.Sprint(id)
}
