package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// DocumentDigest says what a change made of a document. Document is the name of its
// table, ID its id there. Digest covers the whole document, except for what its type's
// method "document" leaves out; it is "" if the change removed the document. Of two
// entries about one document, the one with the higher Version is the later one; the
// chain's order decides between equal versions.
type DocumentDigest struct {
	Document string `json:"document"`
	ID       string `json:"id"`
	Version  int    `json:"version,omitempty"`
	Digest   string `json:"digest"`
}

// document is a document as the audit log knows it. Of a request that has a token,
// status and token say which; see [Request.document].
type document struct {
	DocumentDigest
	status Status
	token  string
}

// The tables whose documents are compared with the audit log.
const (
	tableProjects     = "projects"
	tableUsers        = "users"
	tableMembers      = "members"
	tableAPIKeys      = "api_keys"
	tableCertificates = "certificates"
	tableSealedKeys   = "certificate_keys"
	tableEvents       = "certificate_events"
	tablePolicies     = "certificate_policies"
	tableRequests     = "download_requests"
	tableApprovals    = "approval_requests"
	tableTokens       = "download_tokens"
	tableTargets      = "notification_targets"
)

// removed is a document that a change removes.
func removed(table, id string) document {
	return document{DocumentDigest: DocumentDigest{Document: table, ID: id}}
}

func documentOf(table, id string, content any) document {
	return document{DocumentDigest: DocumentDigest{Document: table, ID: id, Digest: contentDigest(content)}}
}

// contentDigest is the first half of the SHA-256 of a document's JSON, in base64url.
// Members that are empty are left out, so that a document keeps its digest when a later
// version of the program adds a member to its type.
func contentDigest(content any) string {
	text, err := json.Marshal(content)
	if err == nil {
		var tree any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err = decoder.Decode(&tree); err == nil {
			text, err = json.Marshal(withoutEmpty(tree))
		}
	}
	if err != nil {
		panic(fmt.Errorf("digest of a %T: %w", content, err)) // documents are text, numbers and times
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// withoutEmpty removes the empty members of objects; it returns nil if nothing is left.
func withoutEmpty(tree any) any {
	switch node := tree.(type) {
	case map[string]any:
		for name, value := range node {
			if node[name] = withoutEmpty(value); node[name] == nil {
				delete(node, name)
			}
		}
		if len(node) == 0 {
			return nil
		}
	case []any:
		for i, value := range node {
			node[i] = withoutEmpty(value)
		}
		if len(node) == 0 {
			return nil
		}
	case bool:
		if !node {
			return nil
		}
	case json.Number:
		if node == "0" {
			return nil
		}
	case string:
		if node == "" || node == "0001-01-01T00:00:00Z" {
			return nil
		}
	}
	return tree
}

// writes adds to the record's entry which documents are written or removed with it.
func (r Record) writes(documents ...document) Record {
	if r.Event != nil {
		documents = append(documents, r.Event.document())
	}
	for _, d := range documents {
		r.Audit.Documents = append(r.Audit.Documents, d.DocumentDigest)
	}
	return r
}

// describe adds to the transition's record which documents the transition writes.
func (n Transition) describe() Transition {
	if n.Record == nil {
		return n
	}
	documents := []document{n.Request.document()}
	if n.Token != nil {
		documents = append(documents, n.Token.document())
	}
	if n.Approval != nil {
		documents = append(documents, n.Approval.document())
	}
	record := n.Record.writes(documents...)
	n.Record = &record
	return n
}

// document leaves out what the end of the request's token changes, which has an entry
// of its own: the state, if there is a token.
func (r Request) document() document {
	d := documentOf(tableRequests, r.ID, nil)
	d.Version, r.Version, r.UpdatedAt = r.Version, 0, time.Time{}
	if r.TokenDigest != "" {
		d.status, d.token, r.Status = r.Status, r.TokenDigest, ""
	}
	d.Digest = contentDigest(r)
	return d
}

func (a Approval) document() document {
	d := documentOf(tableApprovals, a.ID, a)
	d.Version = a.Version
	return d
}

func (t Token) document() document { return documentOf(tableTokens, t.Digest, t) }

// endSuffix follows a token's digest in the id of its settlement.
const endSuffix = "/end"

func (s Settlement) document() document {
	return documentOf(tableTokens, s.Digest+endSuffix, s)
}

// document has an id by which the event can be found: with that of its certificate.
func (e Event) document() document {
	return documentOf(tableEvents, e.CertificateID+"/"+e.ID, e)
}

func (c Certificate) document() document {
	return documentOf(tableCertificates, c.ID, c)
}

func (k SealedKey) document(c Certificate) document {
	return documentOf(tableSealedKeys, c.ID, k)
}

// document has the project's id: only the newest version is compared.
func (p CertificatePolicy) document() document {
	d := documentOf(tablePolicies, p.ProjectID, p)
	d.Version = p.Version
	return d
}

// document leaves out the times, which the store decides on: it keeps those of a
// membership whose role changes.
func (m Member) document() document {
	return documentOf(tableMembers, m.UserID, Member{ProjectID: m.ProjectID, UserID: m.UserID, Role: m.Role})
}

// document says of a revocation only that there is one: the store keeps the time of
// the first.
func (k APIKey) document() document {
	if !k.RevokedAt.IsZero() {
		k.RevokedAt = time.Unix(0, 0).UTC()
	}
	return documentOf(tableAPIKeys, k.ID, k)
}

func (t NotificationTarget) document() document {
	return documentOf(tableTargets, t.ID, t)
}

func (p Project) document() document { return documentOf(tableProjects, p.ID, p) }

// document has the user's epoch as its version: every change of a user adds to it.
func (u User) document() document {
	d := documentOf(tableUsers, u.ID, u)
	d.Version = u.Epoch
	return d
}
