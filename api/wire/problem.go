package wire

import (
	"encoding/json"
	"fmt"
	"maps"
)

// ProblemMediaType is the media type of every error (RFC 9457).
const ProblemMediaType = "application/problem+json"

// ProblemType is the prefix of a problem's type; the code follows. The type is a
// stable identifier, not an address (RFC 9457, section 3.1.1).
const ProblemType = "urn:countersign:problem:"

// RetryAfter is the member of a problem that says after how many seconds to try
// again; the header Retry-After says the same.
const RetryAfter = "retry_after_seconds"

// Problem is an error as the API answers it (RFC 9457). Fields are the additional
// members of some problems, such as remedies or available.
type Problem struct {
	Type      string         `json:"type" doc:"urn:countersign:problem: and the code"`
	Title     string         `json:"title" doc:"The kind of problem, for people"`
	Status    int            `json:"status" doc:"The HTTP status"`
	Detail    string         `json:"detail" doc:"What went wrong in this case, and what to do"`
	Code      string         `json:"code" doc:"The kind of problem, for programs; stable"`
	RequestID string         `json:"request_id" doc:"Id of the download request if the problem is about one, otherwise of this HTTP request (X-Request-ID)"`
	Fields    map[string]any `json:"-"`
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("%s (%s)", p.Title, p.Code)
	}
	return fmt.Sprintf("%s (%s): %s", p.Title, p.Code, p.Detail)
}

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type in which a problem is sent.
func (p *Problem) ContentType(string) string { return ProblemMediaType }

// MarshalJSON writes the members that every problem has, and Fields, which cannot
// replace them.
func (p *Problem) MarshalJSON() ([]byte, error) {
	all := make(map[string]any, len(p.Fields)+6)
	maps.Copy(all, p.Fields)
	all["type"], all["title"], all["status"] = p.Type, p.Title, p.Status
	all["detail"], all["code"], all["request_id"] = p.Detail, p.Code, p.RequestID
	return json.Marshal(all)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Problem) UnmarshalJSON(text []byte) error {
	type members Problem
	if err := json.Unmarshal(text, (*members)(p)); err != nil {
		return fmt.Errorf("read problem: %w", err)
	}
	if err := json.Unmarshal(text, &p.Fields); err != nil {
		return fmt.Errorf("read problem: %w", err)
	}
	for _, own := range []string{"type", "title", "status", "detail", "code", "request_id"} {
		delete(p.Fields, own)
	}
	return nil
}
