package wire

import "time"

// AuditEntry is one link of a project's audit chain.
type AuditEntry struct {
	Seq           int64             `json:"seq" doc:"From 1, without gaps"`
	Time          time.Time         `json:"time"`
	Action        string            `json:"action" doc:"Such as cert.downloaded or download.refused"`
	Outcome       string            `json:"outcome" doc:"success, refused, failed or unknown"`
	Actor         Actor             `json:"actor"`
	IP            string            `json:"ip"`
	UserAgent     string            `json:"user_agent"`
	CertificateID string            `json:"certificate_id"`
	RequestID     string            `json:"request_id"`
	Format        string            `json:"format"`
	Detail        map[string]string `json:"detail"`
	PrevHash      string            `json:"prev_hash"`
	Hash          string            `json:"hash"`
}

// AuditHead is the last entry of a chain. Keep it elsewhere to find out later whether
// the chain was cut.
type AuditHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// AuditDisagreement says where the audit log and a document do not agree.
type AuditDisagreement struct {
	Document string `json:"document" doc:"The table, such as download_tokens"`
	ID       string `json:"id" doc:"Its id there"`
	Seq      int64  `json:"seq,omitempty" doc:"The latest entry about it"`
	Problem  string `json:"problem" doc:"Such as: it is missing, although entry 7 says that it was written"`
}

// AuditVerdict is the result of checking a chain and of comparing the documents with
// it. BrokenAt and Problem are absent if the chain is complete and unchanged. Documents
// are compared only then.
type AuditVerdict struct {
	OK       bool      `json:"ok"`
	BeginsAt int64     `json:"begins_at" doc:"Sequence number of the first entry of the chain: 1, unless retention deleted the entries before it, as a later entry of the chain proves"`
	After    int64     `json:"after,omitempty" doc:"The anchored entry behind which the check began; absent if it began with the first entry"`
	Entries  int64     `json:"entries" doc:"Number of correct entries"`
	Head     AuditHead `json:"head" doc:"The last correct entry"`
	BrokenAt int64     `json:"broken_at,omitempty" doc:"Sequence number of the first entry that is not correct"`
	Problem  string    `json:"problem,omitempty" doc:"What is wrong with it"`

	Disagreements []AuditDisagreement `json:"disagreements,omitempty" doc:"Where the log and the documents do not agree; the first 100"`
}
