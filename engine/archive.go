package engine

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// AuditArchive is where audit entries are kept that are deleted from the database.
type AuditArchive interface {
	// WriteArchive stores a text under a name, in place of one that has it, and returns
	// when it is durable. It stores nothing, or what nobody reads, if reading the text
	// fails.
	WriteArchive(ctx context.Context, name string, text io.Reader) error
	// ReadArchive opens what is stored under a name, or returns CodeNotFound.
	ReadArchive(ctx context.Context, name string) (io.ReadCloser, error)
	// String names the archive for people, without credentials.
	String() string
}

// archive stores the entries to delete as JSON Lines and reads them again. It returns the
// name, and the SHA-256 in hex. The name follows from the content, so that nothing
// else that was archived is replaced.
func (c *cutting) archive(ctx context.Context) (name, sum string, err error) {
	of := Installation{Key: c.Key}
	name = fmt.Sprintf("%s-%s-%d-%d-%.12s.jsonl", of.ID(), c.chain, c.from.head.Seq+1, c.through.Seq, c.through.Hash)
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(c.writeEntries(ctx, writer)) }()
	written := sha256.New()
	err = c.Archive.WriteArchive(ctx, name, io.TeeReader(reader, written))
	_ = reader.CloseWithError(io.ErrClosedPipe) // ends the writer if the archive did not read it to the end
	if err != nil {
		return "", "", fmt.Errorf("write %s: %w", name, err)
	}
	sum = hex.EncodeToString(written.Sum(nil))
	stored, err := c.Archive.ReadArchive(ctx, name)
	if err != nil {
		return "", "", fmt.Errorf("read %s again: %w", name, err)
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	found, err := ReadArchived(&beating{stored, c.beat})
	if err == nil && (found.SHA256 != sum || found.Last != c.through || found.First != c.from.head.Seq+1) {
		err = errors.New("it differs from what was written")
	}
	if err != nil {
		return "", "", fmt.Errorf("read %s again: %w", name, err)
	}
	return name, sum, nil
}

// beating calls beat for each read.
type beating struct {
	io.Reader
	beat func()
}

func (b *beating) Read(p []byte) (int, error) {
	b.beat()
	return b.Reader.Read(p)
}

func (c *cutting) writeEntries(ctx context.Context, to io.Writer) (err error) {
	buffered := bufio.NewWriterSize(to, 64<<10)
	lines := json.NewEncoder(buffered)
	var failure error
	last := c.from.head
	err = verified(c.each(ctx, c.through.Seq, func(e AuditEntry) {
		if failure == nil {
			failure = lines.Encode(e)
		}
		last = AuditHead{e.Seq, e.Hash}
	}))
	if err == nil && failure == nil && last != c.through {
		err = errors.New("the chain changed meanwhile")
	}
	return errors.Join(err, failure, buffered.Flush())
}

// Archived is what an archive of audit entries contains: the entries of a chain from First
// to Last. Before is the hash of the entry before the first, or "". Cuts are those of the
// entries that say which earlier entries were deleted.
type Archived struct {
	Chain   string
	First   int64
	Before  string
	Last    AuditHead
	SHA256  string
	Entries int64
	Cuts    []AuditEntry
}

// ReadArchived reads an archive, and returns an error if its entries do not follow one
// another. Nobody without the audit key can see from it alone whether they are authentic:
// the entry of the chain by which they were deleted has the SHA-256 of the archive.
func ReadArchived(from io.Reader) (a Archived, err error) {
	sum := sha256.New()
	lines := json.NewDecoder(io.TeeReader(from, sum))
	for {
		var e AuditEntry
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return a, fmt.Errorf("entry %d cannot be read: %w", a.Last.Seq+1, err)
		}
		if a.Entries == 0 {
			a.Chain, a.First, a.Before, a.Last = e.ProjectID, e.Seq, e.PrevHash, AuditHead{e.Seq - 1, e.PrevHash}
		}
		if e.ProjectID != a.Chain || e.Seq != a.Last.Seq+1 || e.PrevHash != a.Last.Hash {
			return a, fmt.Errorf("entry %d of %s does not follow entry %d of %s", e.Seq, e.ProjectID, a.Last.Seq, a.Chain)
		}
		if e.Action == ActionAuditPurged {
			a.Cuts = append(a.Cuts, e)
		}
		a.Last = AuditHead{e.Seq, e.Hash}
		a.Entries++
	}
	if a.Entries == 0 {
		return a, errors.New("it has no entries")
	}
	a.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return a, nil
}
