package mongo

import (
	"context"
	"fmt"
	"regexp"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// searched is the condition on a certificate that has every word in its search text.
// The server finds the certificates with the first gram by an index, in the order of the
// listing, and compares the rest. Words
// that are shorter than a gram are compared in the order of the listing: most texts have
// them.
func searched(words []string) bson.D {
	var filter bson.D
	parts := bson.A{}
	for _, word := range words {
		parts = append(parts, bson.D{{Key: "search_text", Value: bson.D{{Key: "$regex", Value: regexp.QuoteMeta(word)}}}})
	}
	if all := engine.QueryGrams(words); len(all) > 0 {
		filter = append(filter, bson.E{Key: "grams", Value: bson.D{{Key: "$all", Value: all}}})
	}
	return append(filter, bson.E{Key: "$and", Value: parts})
}

// addGrams adds the grams to certificates of a database of schema version 1, which has
// none.
func (s *Store) addGrams(ctx context.Context) error {
	c := s.db.Collection(certificatesName)
	cursor, err := c.Find(ctx, bson.D{{Key: "grams", Value: nil}}, options.Find().SetProjection(bson.D{{Key: "search_text", Value: 1}}))
	if err != nil {
		return fault("read certificates", err)
	}
	defer func() { _ = cursor.Close(ctx) }() // only read from
	for cursor.Next(ctx) {
		text, _ := cursor.Current.Lookup("search_text").StringValueOK()
		update := bson.D{{Key: "$set", Value: bson.D{{Key: "grams", Value: engine.SearchGrams(text)}}}}
		if _, err := c.UpdateOne(ctx, bson.D{{Key: "_id", Value: cursor.Current.Lookup("_id")}}, update); err != nil {
			return fault("add grams to a certificate", err)
		}
	}
	if err := cursor.Err(); err != nil {
		return fault("read certificates", err)
	}
	return nil
}

// upgrade leads from schema version 1 to 2.
func (s *Store) upgrade(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, indexWithin)
	defer cancel()
	if err := s.addGrams(ctx); err != nil {
		return fmt.Errorf("to schema version %d: %w", schemaVersion, err)
	}
	_, err := s.db.Collection(schemaName).UpdateOne(ctx, byID("schema"), bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: schemaVersion}}}})
	if err != nil {
		return fault("store the schema version", err)
	}
	return nil
}

// searchMembers are the members of a certificate's document that only a search needs.
var searchMembers = bson.D{{Key: "search_text", Value: 0}, {Key: "grams", Value: 0}}
