package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// exportPage is how many entries of an export are in memory at once.
const exportPage = 500

// exportFormat is a file format of an export.
type exportFormat struct {
	mediaType, extension string
	head                 string
	row                  func(w *bytes.Buffer, e wire.AuditEntry) error
}

var (
	ndjson    = exportFormat{"application/x-ndjson", "ndjson", "", ndjsonRow}
	csvFormat = exportFormat{"text/csv; charset=utf-8; header=present", "csv", csvHead, csvRow} // RFC 4180
)

// export is the body of an exported audit log: fasthttp reads from it, and it
// reads from the store, page by page.
type export struct {
	ctx    context.Context
	store  auditReader
	query  engine.AuditQuery
	format exportFormat
	found  []engine.AuditEntry
	next   string
	buffer bytes.Buffer
	conn   net.Conn
	clock  engine.Clock
	failed func(error)

	allowed func() error // whether the caller may still read the log
}

var _ io.Reader = (*export)(nil)

// export answers with all entries that match q. The caller has read the first page
// already, so that its failure could be answered with a problem.
func (s *Server) export(c *fiber.Ctx, k *call, format string, q engine.AuditQuery, found []engine.AuditEntry, next string) {
	request := c.Context() // unlike c, it lives until the export has ended
	e := &export{
		ctx: c.UserContext(), store: s.store, query: q, format: ndjson, found: found, next: next,
		conn: request.Conn(), clock: s.clock, allowed: func() error { return s.stillAllowed(request, k) },
		failed: func(err error) {
			s.log.Error("an audit export failed", "request_id", k.id, "project", q.ProjectID, "error", err)
		},
	}
	if format == csvFormat.extension {
		e.format = csvFormat
	}
	e.buffer.WriteString(e.format.head)
	c.Set(fiber.HeaderContentType, e.format.mediaType)
	c.Set(fiber.HeaderContentDisposition, disposition("audit-"+q.ProjectID+"."+e.format.extension))
	c.Status(fiber.StatusOK)
	request.SetBodyStream(e, -1)
}

// Read implements io.Reader. An error makes fasthttp close the connection, so that
// the client does not mistake a part for the whole export.
func (e *export) Read(p []byte) (int, error) {
	for e.buffer.Len() == 0 {
		if len(e.found) == 0 {
			if e.next == "" {
				return 0, io.EOF
			}
			if err := e.nextPage(); err != nil {
				e.failed(err)
				return 0, err
			}
		}
		for _, entry := range e.found {
			if err := e.format.row(&e.buffer, toAuditEntry(entry)); err != nil {
				e.failed(err)
				return 0, err
			}
		}
		e.found = nil
	}
	return e.buffer.Read(p)
}

// nextPage reads the next page, if the caller still has the right to, and extends the
// time that the caller has to read it.
func (e *export) nextPage() (err error) {
	if err := e.allowed(); err != nil {
		return fmt.Errorf("export audit log: %w", err)
	}
	if err := e.conn.SetWriteDeadline(e.clock().Add(writeTimeout)); err != nil {
		return fmt.Errorf("export audit log: %w", err)
	}
	e.query.Cursor = e.next
	if e.found, e.next, err = e.store.AuditEntries(e.ctx, e.query); err != nil {
		return fmt.Errorf("export audit log: %w", err)
	}
	return nil
}

func ndjsonRow(w *bytes.Buffer, entry wire.AuditEntry) error {
	line := json.NewEncoder(w)
	line.SetEscapeHTML(false)
	if err := line.Encode(entry); err != nil {
		return fmt.Errorf("write audit entry: %w", err)
	}
	return nil
}

const csvHead = "seq,time,action,outcome,actor_type,actor_id,actor_name,ip,user_agent,certificate_id,request_id,format,detail,prev_hash,hash\r\n"

func csvRow(w *bytes.Buffer, e wire.AuditEntry) error {
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return fmt.Errorf("write audit entry: %w", err)
	}
	row := []string{
		strconv.FormatInt(e.Seq, 10), e.Time.Format(time.RFC3339Nano), e.Action, e.Outcome, e.Actor.Type, e.Actor.ID, e.Actor.Name,
		e.IP, e.UserAgent, e.CertificateID, e.RequestID, e.Format, string(detail), e.PrevHash, e.Hash,
	}
	for i := range row {
		row[i] = escapeFormula(printable(row[i]))
	}
	line := csv.NewWriter(w)
	line.UseCRLF = true
	if err := line.Write(row); err != nil {
		return fmt.Errorf("write audit entry: %w", err)
	}
	line.Flush()
	return line.Error()
}

// formula finds the places where a spreadsheet may read a formula: at the start of
// a cell, also of a cell that begins inside ours because the spreadsheet's locale
// has other separators than RFC 4180.
// Some spreadsheets take the wide and small forms of the signs for the signs.
var formula = regexp.MustCompile(`(^|[;,|"\t\r\n])( *[=+\-@＝＋－＠﹦﹢﹣﹫−])`)

// printable writes characters that cannot be printed, or that change the direction of
// text, as \u escapes, which in the JSON of detail mean the same. Tabs and line ends
// are within the quotes of RFC 4180.
func printable(cell string) string {
	var text strings.Builder
	for _, r := range cell {
		if unicode.IsPrint(r) || strings.ContainsRune("\t\r\n", r) {
			text.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&text, `\u%04x`, unit)
		}
	}
	return text.String()
}

// escapeFormula keeps a spreadsheet from running a cell as a formula: callers choose
// their user agent freely. ndjson has every value unchanged.
func escapeFormula(cell string) string {
	cell = formula.ReplaceAllString(cell, "$1'$2")
	if strings.HasPrefix(cell, "\t") || strings.HasPrefix(cell, "\r") || strings.HasPrefix(cell, "\n") {
		return "'" + cell
	}
	return cell
}
