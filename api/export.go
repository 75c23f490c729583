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
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// exportPage is how many entries of an export are in memory at once.
const exportPage = 500

// exportFormat is a form in which the audit log is exported.
type exportFormat struct {
	mediaType, extension string
	head                 string
	row                  func(w *bytes.Buffer, e wire.AuditEntry) error
}

var (
	ndjson    = exportFormat{"application/x-ndjson", "ndjson", "", ndjsonRow}
	csvFormat = exportFormat{"text/csv; charset=utf-8; header=present", "csv", csvHead, csvRow} // RFC 4180
)

// export is an audit log on its way out: fasthttp reads from it, and it reads
// from the store, page by page.
type export struct {
	ctx    context.Context
	store  engine.AuditLog
	query  engine.AuditQuery
	format exportFormat
	found  []engine.AuditEntry
	next   string
	buffer bytes.Buffer
	conn   net.Conn
	clock  engine.Clock
	failed func(error)
}

var _ io.Reader = (*export)(nil)

// export answers with everything that matches q, whose first page was read
// already: until then, failures are problems.
func (s *Server) export(c *fiber.Ctx, k *call, format string, q engine.AuditQuery, found []engine.AuditEntry, next string) {
	e := &export{
		ctx: c.UserContext(), store: s.store, query: q, format: ndjson, found: found, next: next,
		conn: c.Context().Conn(), clock: s.clock,
		failed: func(err error) {
			s.log.Error("an audit export broke off", "request_id", k.id, "project", q.ProjectID, "error", err)
		},
	}
	if format == csvFormat.extension {
		e.format = csvFormat
	}
	e.buffer.WriteString(e.format.head)
	c.Set(fiber.HeaderContentType, e.format.mediaType)
	c.Set(fiber.HeaderContentDisposition, disposition("audit-"+q.ProjectID+"."+e.format.extension))
	c.Status(fiber.StatusOK)
	c.Context().SetBodyStream(e, -1)
}

// Read implements io.Reader. An error makes fasthttp break the connection off,
// so that a part is never taken for the whole.
func (e *export) Read(p []byte) (int, error) {
	for e.buffer.Len() == 0 {
		if len(e.found) == 0 {
			if e.next == "" {
				return 0, io.EOF
			}
			if err := e.turn(); err != nil {
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

// turn reads the next page and gives the caller time to take it.
func (e *export) turn() (err error) {
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
		row[i] = inert(row[i])
	}
	line := csv.NewWriter(w)
	line.UseCRLF = true
	if err := line.Write(row); err != nil {
		return fmt.Errorf("write audit entry: %w", err)
	}
	line.Flush()
	return line.Error()
}

// formula finds where a spreadsheet may take what follows for a formula: at the
// start of a cell, also of one that begins inside of ours because the
// spreadsheet's locale separates cells otherwise than RFC 4180 does.
var formula = regexp.MustCompile(`(^|[;,|"\t\r\n])( *[=+\-@\t\r])`)

// inert keeps a spreadsheet from running a cell as a formula: a caller's user
// agent is whatever the caller says. ndjson has every value as it is.
func inert(cell string) string { return formula.ReplaceAllString(cell, "$1'$2") }
