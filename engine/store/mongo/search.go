package mongo

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// gramSize is the number of bytes of a gram: a part of a text, by which an index finds
// the texts that have it.
const gramSize = 3

// grams are all grams of a text, each once and in order, as numbers.
func grams(text string) []int32 {
	found := map[int32]bool{}
	for i := gramSize; i <= len(text); i++ {
		found[int32(text[i-3])<<16|int32(text[i-2])<<8|int32(text[i-1])] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// common are grams that most certificates have.
var common = func() map[int32]bool {
	found := map[int32]bool{}
	for _, text := range []string{"cn=www.", ",ou=", ",o=", ".com", ".org", ".net", ".example.com", ".internal", ".local", ".svc.cluster.local"} {
		for _, gram := range grams(text) {
			found[gram] = true
		}
	}
	return found
}()

// searched is the condition on a certificate that has every word in its search text.
// The server finds the certificates with the first gram by an index, in the order of the
// listing, and compares the rest; grams that few certificates have come first. Words
// that are shorter than a gram are compared in the order of the listing: most texts have
// them.
func searched(words []string) bson.D {
	var filter bson.D
	var rare, often []int32
	parts := bson.A{}
	for _, word := range words {
		parts = append(parts, bson.D{{Key: "search_text", Value: bson.D{{Key: "$regex", Value: regexp.QuoteMeta(word)}}}})
		for _, gram := range grams(word) {
			if common[gram] {
				often = append(often, gram)
			} else {
				rare = append(rare, gram)
			}
		}
	}
	if all := append(rare, often...); len(all) > 0 {
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
		update := bson.D{{Key: "$set", Value: bson.D{{Key: "grams", Value: grams(text)}}}}
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
