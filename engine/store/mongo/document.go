package mongo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/bsoncodec"
	"go.mongodb.org/mongo-driver/bson/bsonrw"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// insert stores doc. If its _id, or one of its members named in unique, is taken,
// insert returns the document that is stored instead. If the server's answer was
// lost, insert reads whether the document was stored.
func (s *Store) insert(ctx context.Context, c *driver.Collection, doc any, unique ...string) (stored bson.Raw, fresh bool, err error) {
	what := "insert into " + c.Name()
	raw, err := encode(doc)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", what, err)
	}
	if ctx.Err() != nil {
		return nil, false, fault(what, ctx.Err())
	}
	ctx, cancel := engine.Finishing(ctx)
	defer cancel()
	lost := 0
	for try := 0; ; try++ {
		_, err := c.InsertOne(ctx, raw)
		if err == nil {
			return raw, true, nil
		}
		taken := driver.IsDuplicateKeyError(err)
		if !taken && !maybeWritten(err) {
			return nil, false, fault(what, err)
		}
		if !taken {
			lost++
		}
		stored, readErr := c.FindOne(ctx, sameKeys(raw, unique)).Raw()
		switch {
		case readErr == nil:
			return stored, lost > 0 && bytes.Equal(stored, raw), nil
		case !errors.Is(readErr, driver.ErrNoDocuments):
			return nil, false, fault(what, errors.Join(err, readErr))
		case lost > 1:
			return nil, false, fault(what, err)
		}
		// Either a majority does not have the stored document yet, or the insert
		// did not reach the server: try again.
		if err := pause(ctx, try); err != nil {
			return nil, false, fault(what, err)
		}
	}
}

// insertSame is insert for a document that only one caller makes. If the same
// document is stored, an earlier try of the same call stored it; another document
// in its place is engine.CodeExists.
func (s *Store) insertSame(ctx context.Context, c *driver.Collection, doc any, unique ...string) (fresh bool, err error) {
	stored, fresh, err := s.insert(ctx, c, doc, unique...)
	if err != nil || fresh {
		return fresh, err
	}
	return false, sameOrExists(stored, doc)
}

func sameOrExists(stored bson.Raw, doc any) error {
	raw, err := encode(doc)
	if err != nil {
		return err
	}
	if !bytes.Equal(stored, raw) {
		return engine.CodeExists
	}
	return nil
}

// sameKeys selects the documents that prevent the insertion of raw.
func sameKeys(raw bson.Raw, unique []string) bson.D {
	byID := bson.D{{Key: "_id", Value: raw.Lookup("_id")}}
	if len(unique) == 0 {
		return byID
	}
	either := bson.A{byID}
	for _, member := range unique {
		either = append(either, bson.D{{Key: member, Value: raw.Lookup(member)}})
	}
	return bson.D{{Key: "$or", Value: either}}
}

// find returns the one document that the filter selects, or engine.CodeNotFound.
func find[T any](ctx context.Context, c *driver.Collection, filter bson.D, opts ...*options.FindOneOptions) (doc T, err error) {
	raw, err := findRaw(ctx, c, filter, opts...)
	if err != nil {
		return doc, err
	}
	return decode[T](raw)
}

// findRaw is find for a document as it is stored.
func findRaw(ctx context.Context, c *driver.Collection, filter bson.D, opts ...*options.FindOneOptions) (bson.Raw, error) {
	raw, err := c.FindOne(ctx, filter, opts...).Raw()
	if err != nil {
		return nil, fault("read from "+c.Name(), err)
	}
	return raw, nil
}

func byID(id string) bson.D { return bson.D{{Key: "_id", Value: id}} }

// findAll returns the documents that the filter selects. The result is never nil.
func findAll[T any](ctx context.Context, c *driver.Collection, filter bson.D, opts *options.FindOptions) ([]T, error) {
	cursor, err := c.Find(ctx, filter, opts)
	if err != nil {
		return nil, fault("list "+c.Name(), err)
	}
	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, fault("list "+c.Name(), err)
	}
	docs := make([]T, len(found))
	for i, raw := range found {
		if docs[i], err = decode[T](raw); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// list returns a page of a collection, sorted by the member time, newest first,
// then by _id; place returns a document's place in that order.
func list[T any](ctx context.Context, c *driver.Collection, filter bson.D, page engine.Page, time string, place func(T) engine.Cursor) ([]T, string, error) {
	at, ok, err := page.Position()
	if err != nil {
		return nil, "", err
	}
	if ok {
		// The first condition is redundant, but it limits which part of the index is read.
		filter = append(filter,
			bson.E{Key: time, Value: bson.D{{Key: "$lte", Value: at.Time}}},
			bson.E{Key: "$or", Value: bson.A{
				bson.D{{Key: time, Value: bson.D{{Key: "$lt", Value: at.Time}}}},
				bson.D{{Key: "_id", Value: bson.D{{Key: "$lt", Value: at.ID}}}},
			}})
	}
	order := bson.D{{Key: time, Value: -1}, {Key: "_id", Value: -1}}
	docs, err := findAll[T](ctx, c, filter, options.Find().SetSort(order).SetLimit(int64(page.Limit)+1))
	if err != nil || len(docs) <= page.Limit {
		return docs, "", err
	}
	docs = docs[:page.Limit]
	return docs, place(docs[page.Limit-1]).String(), nil
}

// filtered leaves out the members with an empty value.
func filtered(members bson.D) bson.D {
	return slices.DeleteFunc(members, func(m bson.E) bool { return m.Value == "" })
}

// deleteByID deletes the documents under the ids, in one command.
func deleteByID(ctx context.Context, c *driver.Collection, ids []string) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	result, err := c.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return 0, fault("delete from "+c.Name(), err)
	}
	return int(result.DeletedCount), nil
}

// textRegistry encodes strings as valid UTF-8, as BSON requires. Header fields may
// hold other bytes; they become the replacement character.
var textRegistry = func() *bsoncodec.Registry {
	registry := bson.NewRegistry()
	registry.RegisterKindEncoder(reflect.String, bsoncodec.ValueEncoderFunc(
		func(_ bsoncodec.EncodeContext, w bsonrw.ValueWriter, v reflect.Value) error {
			return w.WriteString(strings.ToValidUTF8(v.String(), "\ufffd"))
		}))
	return registry
}()

// replaceOlder replaces the document under an id if its version is older.
func replaceOlder(ctx context.Context, c *driver.Collection, id string, version int, doc any) (replaced bool, err error) {
	raw, err := encode(doc)
	if err != nil {
		return false, err
	}
	result, err := c.ReplaceOne(ctx, append(byID(id), bson.E{Key: "version", Value: bson.D{{Key: "$lt", Value: version}}}), raw)
	if err != nil {
		return false, fault("replace in "+c.Name(), err)
	}
	return result.MatchedCount > 0, nil
}

// encode makes a document as it is stored: its members have the names of the
// type's JSON form, except that the first member, id, is called _id. Every
// document that is inserted or replaced goes through encode.
func encode(doc any) (bson.Raw, error) {
	var buf bytes.Buffer
	w, err := bsonrw.NewBSONValueWriter(&buf)
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	enc, err := bson.NewEncoder(w)
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	enc.UseJSONStructTags()
	if err := enc.SetRegistry(textRegistry); err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	return renameFirst(buf.Bytes(), "id", "_id"), nil
}

// decode reads a document that encode made.
func decode[T any](raw bson.Raw) (T, error) {
	var doc T
	dec, err := bson.NewDecoder(bsonrw.NewBSONDocumentReader(renameFirst(raw, "_id", "id")))
	if err != nil {
		return doc, fmt.Errorf("decode document: %w", err)
	}
	dec.UseJSONStructTags()
	if err := dec.Decode(&doc); err != nil {
		return doc, fmt.Errorf("decode document: %w", err)
	}
	return doc, nil
}

// renameFirst returns a document whose first member is called to if it was called
// from. A document begins with its length (4 bytes) and the type of its first
// member (1 byte); the member's name follows, and a NUL.
func renameFirst(raw bson.Raw, from, to string) bson.Raw {
	rest, ok := bytes.CutPrefix(raw[5:], []byte(from+"\x00"))
	if !ok {
		return raw
	}
	renamed := slices.Concat(raw[:5], []byte(to+"\x00"), rest)
	binary.LittleEndian.PutUint32(renamed, uint32(len(renamed))) //nolint:gosec // a document has at most 16 MiB
	return renamed
}

// pause waits a random time that grows with each try. A majority needs a few
// milliseconds to store a document.
func pause(ctx context.Context, try int) error {
	timer := time.NewTimer(rand.N(time.Millisecond<<min(try+1, 5)) + 1) //nolint:gosec // it spreads callers in time and guards nothing
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
