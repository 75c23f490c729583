package mongo

import (
	"context"
	"strings"

	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// migratedID is the id of a [engine.MigrationMark], beside the version of the schema.
const migratedID = "migrated"

type markDocument struct {
	ID                   string `json:"id"`
	engine.MigrationMark `bson:",inline"`
}

// MarkMigrated stores that the installation was carried to another store.
func (s *Store) MarkMigrated(ctx context.Context, m engine.MigrationMark) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	raw, err := encode(markDocument{migratedID, m})
	if err != nil {
		return err
	}
	if _, err := s.db.Collection(schemaName).ReplaceOne(ctx, byID(migratedID), raw, options.Replace().SetUpsert(true)); err != nil {
		return fault("mark the database as migrated", err)
	}
	return nil
}

// Migrated returns the mark, or CodeNotFound.
func (s *Store) Migrated(ctx context.Context) (engine.MigrationMark, error) {
	m, err := find[markDocument](ctx, s.db.Collection(schemaName), byID(migratedID))
	return m.MigrationMark, err
}

// UnmarkMigrated removes the mark, if there is one.
func (s *Store) UnmarkMigrated(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	_, err := deleteByID(ctx, s.db.Collection(schemaName), []string{migratedID})
	return err
}

// Hosts are the names of the hosts of the URI.
func (s *Store) Hosts() string { return strings.Join(s.hosts, ", ") }
