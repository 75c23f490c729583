package mongo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// schemaVersion grows with each change after which an older program would read a
// newer program's documents wrongly.
const schemaVersion = 2

const (
	certificatesName    = "certificates"
	certificateKeysName = "certificate_keys"
	eventsName          = "certificate_events"
	policiesName        = "certificate_policies"
	requestsName        = "download_requests"
	approvalsName       = "approval_requests"
	tokensName          = "download_tokens"
	auditName           = "audit_logs"
	waitingName         = "audit_waiting"
	projectsName        = "projects"
	usersName           = "users"
	membersName         = "members"
	apiKeysName         = "api_keys"
	sessionsName        = "sessions"
	targetsName         = "notification_targets"
	dataKeysName        = "data_keys"
	nodesName           = "nodes"
	turnsName           = "audit_turns"
	forwardedName       = "audit_forwarded"
	schemaName          = "schema"
)

// index is one index of a collection. Members are ascending; a leading "-" makes
// one descending.
type index struct {
	collection string
	members    []string
	unique     bool
}

// indexes serve every listing and every filter, including the sorting of pages.
var indexes = []index{
	{projectsName, []string{"-created_at", "-_id"}, false},
	{usersName, []string{"-created_at", "-_id"}, false},
	{usersName, []string{"username"}, true},
	{membersName, []string{"project_id", "-created_at", "-_id"}, false},
	{membersName, []string{"user_id"}, false},
	{apiKeysName, []string{"project_id", "-created_at", "-_id"}, false},
	{apiKeysName, []string{"secret_digest"}, true},
	{sessionsName, []string{"expires_at"}, false},
	{sessionsName, []string{"user_id", "-expires_at", "-_id"}, false},
	{targetsName, []string{"project_id", "-created_at", "-_id"}, false},
	{targetsName, []string{"place"}, true},
	{certificatesName, []string{"project_id", "-created_at", "-_id"}, false},
	{certificatesName, []string{"project_id", "grams", "-created_at", "-_id"}, false},
	{certificatesName, []string{"not_after"}, false},
	{eventsName, []string{"project_id", "certificate_id", "-time", "-_id"}, false},
	{eventsName, []string{"project_id", "certificate_id", "request_id", "-time", "-_id"}, false},
	{eventsName, []string{"time"}, false},
	{policiesName, []string{"project_id", "-version"}, false},
	{requestsName, []string{"-created_at", "-_id"}, false},
	{requestsName, []string{"project_id", "-created_at", "-_id"}, false},
	{requestsName, []string{"project_id", "status", "-created_at", "-_id"}, false},
	{requestsName, []string{"project_id", "certificate_id", "-created_at", "-_id"}, false},
	{requestsName, []string{"project_id", "requester.person", "-created_at", "-_id"}, false},
	{requestsName, []string{"project_id", "requester.person", "status"}, false},
	{requestsName, []string{"idempotency_id", "-created_at"}, false},
	{requestsName, []string{"status", "updated_at"}, false},
	{requestsName, []string{"status", "-created_at", "-_id"}, false},
	{approvalsName, []string{"project_id", "-created_at", "-_id"}, false},
	{approvalsName, []string{"project_id", "status", "-created_at", "-_id"}, false},
	{approvalsName, []string{"project_id", "requester.person", "-created_at", "-_id"}, false},
	{approvalsName, []string{"status", "created_at"}, false},
	{approvalsName, []string{"request_id"}, true},
	{tokensName, []string{"project_id", "kind", "-issued_at", "-_id"}, false},
	{tokensName, []string{"expires_at", "_id"}, false},
	{forwardedName, []string{"receiver"}, false},
	{waitingName, []string{"entry.project_id", "order"}, false},
	{auditName, []string{"ref"}, true},
	{auditName, []string{"project_id", "-seq"}, true},
	{auditName, []string{"project_id", "time"}, false},
	{auditName, []string{"project_id", "action", "-seq"}, false},
	{auditName, []string{"project_id", "actor.id", "-seq"}, false},
	{auditName, []string{"project_id", "actor.person", "-seq"}, false},
	{auditName, []string{"project_id", "certificate_id", "-seq"}, false},
	{auditName, []string{"project_id", "request_id", "-seq"}, false},
}

// replaced are the names of indexes of earlier versions, by collection. Another index
// serves what they served.
var replaced = map[string]string{tokensName: "expires_at_1"}

func (i index) keys() bson.D {
	var keys bson.D
	for _, member := range i.members {
		if member[0] == '-' {
			keys = append(keys, bson.E{Key: member[1:], Value: int32(-1)})
		} else {
			keys = append(keys, bson.E{Key: member, Value: int32(1)})
		}
	}
	return keys
}

// name is the name that MongoDB would give the index, such as project_id_1_seq_-1.
func (i index) name() string {
	name := ""
	for _, key := range i.keys() {
		name += fmt.Sprintf("_%s_%d", key.Key, key.Value)
	}
	return name[1:]
}

// prepare checks the schema's version and makes the indexes. The version comes
// first, so that a program which is too old changes nothing.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, indexWithin)
	defer cancel()
	byCollection := map[string][]index{}
	for _, i := range indexes {
		byCollection[i.collection] = append(byCollection[i.collection], i)
	}
	for _, name := range slices.Sorted(maps.Keys(byCollection)) {
		if err := ensureIndexes(ctx, s.db.Collection(name), byCollection[name]); err != nil {
			return err
		}
	}
	for collection, name := range replaced {
		if err := dropIndex(ctx, s.db.Collection(collection), name); err != nil {
			return err
		}
	}
	return nil
}

// schemaDocument holds the version of the database's schema.
type schemaDocument struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
}

func (s *Store) checkSchema(ctx context.Context) error {
	stored, _, err := s.insert(ctx, s.db.Collection(schemaName), schemaDocument{ID: "schema", Version: schemaVersion})
	if err != nil {
		return err
	}
	found, err := decode[schemaDocument](stored)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if found.Version == 1 {
		return s.upgrade(ctx)
	}
	if found.Version != schemaVersion {
		return fmt.Errorf("the database %s has schema version %d, and this program knows version %d: run the version of Countersign that belongs to it",
			s.db.Name(), found.Version, schemaVersion)
	}
	return nil
}

// ensureIndexes makes the missing indexes, then checks all. It returns an error that
// names the index if one has other members, another name, or is not unique although
// it must be.
func ensureIndexes(ctx context.Context, c *driver.Collection, wanted []index) error {
	found, err := c.Indexes().ListSpecifications(ctx)
	if err != nil {
		return fault("read the indexes of "+c.Name(), err)
	}
	for _, i := range wanted {
		if i.in(found) != nil {
			continue
		}
		// Several processes may start at once: making an existing index does nothing.
		opts := options.Index().SetName(i.name())
		if i.unique {
			opts.SetUnique(true)
		}
		if _, err := c.Indexes().CreateOne(ctx, driver.IndexModel{Keys: i.keys(), Options: opts}); err != nil {
			return fault(fmt.Sprintf("make index %s of collection %s", i.name(), c.Name()), err)
		}
	}
	if found, err = c.Indexes().ListSpecifications(ctx); err != nil {
		return fault("read the indexes of "+c.Name(), err)
	}
	for _, i := range wanted {
		if err := i.check(i.in(found)); err != nil {
			return fmt.Errorf("index %s of collection %s: %w", i.name(), c.Name(), err)
		}
	}
	return nil
}

// dropIndex drops an index unless it is missing: another node may drop it meanwhile.
func dropIndex(ctx context.Context, c *driver.Collection, name string) error {
	const indexNotFound = 27
	_, err := c.Indexes().DropOne(ctx, name)
	if e, ok := errors.AsType[driver.ServerError](err); ok && e.HasErrorCode(indexNotFound) {
		return nil
	}
	if err != nil {
		return fault(fmt.Sprintf("drop index %s of collection %s", name, c.Name()), err)
	}
	return nil
}

// in finds the index by its name; it returns nil if the index is missing.
func (i index) in(found []*driver.IndexSpecification) *driver.IndexSpecification {
	for _, spec := range found {
		if spec.Name == i.name() {
			return spec
		}
	}
	return nil
}

func (i index) check(spec *driver.IndexSpecification) error {
	if spec == nil {
		return errors.New("it is missing; restart the program to make it")
	}
	if unique := spec.Unique != nil && *spec.Unique; unique != i.unique {
		return fmt.Errorf("it has unique=%v and must have unique=%v; drop it and restart the program", unique, i.unique)
	}
	var keys bson.D
	if err := bson.Unmarshal(spec.KeysDocument, &keys); err != nil {
		return fmt.Errorf("read its members: %w", err)
	}
	if got, want := fmt.Sprint(keys), fmt.Sprint(i.keys()); got != want {
		return fmt.Errorf("it has the members %s and must have %s; drop it and restart the program", got, want)
	}
	return nil
}
