package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/countersign-dev/countersign/engine"
)

// CreateUser implements engine.People.
func (s *Store) CreateUser(ctx context.Context, u engine.User, rec engine.Record) error {
	return s.create(ctx, s.db.Collection(usersName), u, rec, "username")
}

// User implements engine.People.
func (s *Store) User(ctx context.Context, id string) (engine.User, error) {
	return find[engine.User](ctx, s.db.Collection(usersName), byID(id))
}

// UserByName implements engine.People.
func (s *Store) UserByName(ctx context.Context, username string) (engine.User, error) {
	return find[engine.User](ctx, s.db.Collection(usersName), bson.D{{Key: "username", Value: username}})
}

// Users implements engine.People.
func (s *Store) Users(ctx context.Context, page engine.Page) ([]engine.User, string, error) {
	return list(ctx, s.db.Collection(usersName), bson.D{}, page, "created_at", func(u engine.User) engine.Cursor {
		return engine.Cursor{Time: u.CreatedAt, ID: u.ID}
	})
}

// ChangeUser implements engine.People.
func (s *Store) ChangeUser(ctx context.Context, id string, change engine.UserChange, rec engine.Record) error {
	var set, increase, update bson.D
	if change.PasswordHash != nil {
		set = append(set, bson.E{Key: "password_hash", Value: *change.PasswordHash}, bson.E{Key: "password_set_by_other", Value: change.PasswordSetByOther})
	}
	if change.Disabled != nil {
		set = append(set, bson.E{Key: "disabled", Value: *change.Disabled})
	}
	if change.SystemAdmin != nil {
		set = append(set, bson.E{Key: "system_admin", Value: *change.SystemAdmin})
	}
	if lost := change.Losses(); lost != (engine.Losses{}) {
		increase = append(increase, bson.E{Key: "losses.disablings", Value: lost.Disablings}, bson.E{Key: "losses.withdrawals", Value: lost.Withdrawals})
	}
	if len(set) > 0 {
		update = append(update, bson.E{Key: "$set", Value: set})
	}
	if change.SignOut {
		increase = append(increase, bson.E{Key: "epoch", Value: 1})
	}
	if len(increase) > 0 {
		update = append(update, bson.E{Key: "$inc", Value: increase})
	}
	key := byID(id)
	if change.IfEpoch != nil {
		key = append(key, bson.E{Key: "epoch", Value: *change.IfEpoch})
	}
	return s.update(ctx, rec, func(ctx context.Context, again bool) (bool, error) {
		updated, err := s.db.Collection(usersName).UpdateOne(ctx, key, update)
		if err != nil {
			return false, fault("change user", err)
		}
		if updated.MatchedCount == 0 {
			u, err := s.User(ctx, id)
			if err != nil {
				return false, err
			}
			if !again || !hasChanged(u, change) {
				return false, engine.CodeConflict // the user's epoch is another one
			}
		}
		return true, s.record(ctx, rec)
	})
}

// hasChanged reports whether a user is as the change of a user with the epoch before
// leaves them. The hash of a password has a salt, so no other change sets the same.
func hasChanged(u engine.User, change engine.UserChange) bool {
	return change.SignOut && change.IfEpoch != nil && u.Epoch == *change.IfEpoch+1 &&
		(change.PasswordHash == nil || u.PasswordHash == *change.PasswordHash) &&
		(change.Disabled == nil || u.Disabled == *change.Disabled) &&
		(change.SystemAdmin == nil || u.SystemAdmin == *change.SystemAdmin)
}

// memberDocument is a member under project/user. RemovedBy is the audit entry of the
// removal: a document that has one is no member any more. It stays, so that the
// entry is written even if the call that removed the member was interrupted, and so
// that FormerUntil is known when the user becomes a member again.
type memberDocument struct {
	ID            string `json:"id"`
	engine.Member `bson:",inline"`
	RemovedBy     *engine.AuditEntry `json:"removed_by,omitempty"`
}

// removesItself reports whether the entry of the removal is about this membership.
func (m memberDocument) removesItself() bool {
	return isOf(*m.RemovedBy, m.ProjectID, membersName+"/"+m.UserID)
}

func memberKey(projectID, userID string) string { return projectID + "/" + userID }

func newMemberDocument(m engine.Member) memberDocument {
	return memberDocument{ID: memberKey(m.ProjectID, m.UserID), Member: m}
}

// SetMember implements engine.People.
func (s *Store) SetMember(ctx context.Context, m engine.Member, rec engine.Record) error {
	c, key := s.db.Collection(membersName), byID(memberKey(m.ProjectID, m.UserID))
	return s.update(ctx, rec, func(ctx context.Context, _ bool) (bool, error) {
		for try := 0; ; try++ { // until no other caller comes between
			updated, err := c.UpdateOne(ctx, append(key, notRemoved), bson.D{{Key: "$set", Value: bson.D{{Key: "role", Value: string(m.Role)}}}})
			if err != nil {
				return false, fault("set member", err)
			}
			added := updated.MatchedCount > 0
			if !added {
				added, err = s.addMember(ctx, m)
			}
			if err != nil {
				return false, err
			}
			if added {
				return true, s.record(ctx, rec)
			}
			if err := pause(ctx, try); err != nil {
				return false, fault("set member", err)
			}
		}
	})
}

// addMember stores a membership unless there is one. A removal that was interrupted
// is completed first.
func (s *Store) addMember(ctx context.Context, m engine.Member) (added bool, err error) {
	c := s.db.Collection(membersName)
	former, err := find[memberDocument](ctx, c, byID(memberKey(m.ProjectID, m.UserID)))
	if errors.Is(err, engine.CodeNotFound) {
		_, added, err = s.insert(ctx, c, newMemberDocument(m))
		return added, err
	}
	if err != nil || former.RemovedBy == nil {
		return false, err
	}
	if _, err := s.completeRemoval(ctx, former); err != nil {
		return false, err
	}
	m.FormerUntil = former.FormerUntil
	raw, err := encode(newMemberDocument(m))
	if err != nil {
		return false, err
	}
	replaced, err := c.ReplaceOne(ctx, append(byID(former.ID), bson.E{Key: "removed_by.ref", Value: former.RemovedBy.Ref}), raw)
	if err != nil {
		return false, fault("set member", err)
	}
	return replaced.MatchedCount > 0, nil
}

// RemoveMember implements engine.People.
func (s *Store) RemoveMember(ctx context.Context, projectID, userID string, at time.Time, rec engine.Record) error {
	c, key := s.db.Collection(membersName), byID(memberKey(projectID, userID))
	return s.update(ctx, rec, func(ctx context.Context, again bool) (bool, error) {
		entry, err := encode(rec.Audit)
		if err != nil {
			return false, err
		}
		present := append(key, notRemoved)
		if again { // who has this time was removed by the first try, and is a member again
			present = append(present, bson.E{Key: "former_until", Value: bson.D{{Key: "$ne", Value: at}}})
		}
		for {
			removed, err := c.UpdateOne(ctx, present, bson.D{{Key: "$set", Value: bson.D{
				{Key: "removed_by", Value: entry}, {Key: "former_until", Value: at},
			}}})
			if err != nil {
				return false, fault("remove member", err)
			}
			if removed.MatchedCount > 0 {
				return true, s.record(ctx, rec)
			}
			former, err := find[memberDocument](ctx, c, key)
			if err != nil {
				return false, err
			}
			if former.RemovedBy == nil {
				if again && former.FormerUntil.Equal(at) {
					return false, engine.CodeNotFound
				}
				continue // they became a member again meanwhile
			}
			added, err := s.completeRemoval(ctx, former)
			if err == nil && !added {
				err = engine.CodeNotFound
			}
			return added, err
		}
	})
}

// completeRemoval writes the entry of a removal if it is missing. That of a member who
// came from another store is not named and in the audit log.
func (s *Store) completeRemoval(ctx context.Context, former memberDocument) (added bool, err error) {
	if former.RemovedBy.Ref == "" {
		return false, nil
	}
	if !former.removesItself() {
		return false, errForeign(membersName, former.ID)
	}
	return s.completeRecord(ctx, engine.Record{Audit: *former.RemovedBy}, false)
}

// Member implements engine.People.
func (s *Store) Member(ctx context.Context, projectID, userID string) (engine.Member, error) {
	m, err := find[memberDocument](ctx, s.db.Collection(membersName), byID(memberKey(projectID, userID)))
	if err == nil && (m.RemovedBy != nil || m.misplaced() != "") {
		err = engine.CodeNotFound
	}
	if err != nil {
		return engine.Member{}, err
	}
	return m.Member, nil
}

// Members implements engine.People.
func (s *Store) Members(ctx context.Context, projectID string, page engine.Page) ([]engine.Member, string, error) {
	docs, next, err := list(ctx, s.db.Collection(membersName), bson.D{{Key: "project_id", Value: projectID}, notRemoved}, page, "created_at",
		func(m memberDocument) engine.Cursor { return engine.Cursor{Time: m.CreatedAt, ID: m.ID} })
	members := make([]engine.Member, 0, len(docs))
	for _, m := range docs {
		members = append(members, m.Member)
	}
	return members, next, err
}

// CreateAPIKey implements engine.People.
func (s *Store) CreateAPIKey(ctx context.Context, k engine.APIKey, rec engine.Record) error {
	return s.create(ctx, s.db.Collection(apiKeysName), k, rec, "secret_digest")
}

// APIKey implements engine.People.
func (s *Store) APIKey(ctx context.Context, id string) (engine.APIKey, error) {
	return find[engine.APIKey](ctx, s.db.Collection(apiKeysName), byID(id))
}

// APIKeyBySecret implements engine.People.
func (s *Store) APIKeyBySecret(ctx context.Context, secretDigest string) (engine.APIKey, error) {
	return find[engine.APIKey](ctx, s.db.Collection(apiKeysName), bson.D{{Key: "secret_digest", Value: secretDigest}})
}

// APIKeys implements engine.People.
func (s *Store) APIKeys(ctx context.Context, projectID string, page engine.Page) ([]engine.APIKey, string, error) {
	return list(ctx, s.db.Collection(apiKeysName), bson.D{{Key: "project_id", Value: projectID}}, page, "created_at",
		func(k engine.APIKey) engine.Cursor { return engine.Cursor{Time: k.CreatedAt, ID: k.ID} })
}

// RevokeAPIKey implements engine.People. Revoking a revoked key changes nothing but
// is recorded too, under its own Ref.
func (s *Store) RevokeAPIKey(ctx context.Context, projectID, id string, at time.Time, rec engine.Record) error {
	return s.update(ctx, rec, func(ctx context.Context, _ bool) (bool, error) {
		c, key := s.db.Collection(apiKeysName), bson.D{{Key: "_id", Value: id}, {Key: "project_id", Value: projectID}}
		live := append(bson.D{{Key: "revoked_at", Value: time.Time{}}}, key...)
		revoked, err := c.UpdateOne(ctx, live, bson.D{{Key: "$set", Value: bson.D{{Key: "revoked_at", Value: at}}}})
		if err != nil {
			return false, fault("revoke API key", err)
		}
		if revoked.MatchedCount == 0 {
			if _, err := find[engine.APIKey](ctx, c, key); err != nil {
				return false, err
			}
		}
		return true, s.record(ctx, rec)
	})
}
