package wire

import "time"

// MintBody requests a download. Only Format is always required.
type MintBody struct {
	Format     string         `json:"format" minLength:"1" maxLength:"200" doc:"Id, file name or alias of a format, such as fullchain or bundle.zip"`
	Passphrase Secret         `json:"passphrase,omitempty" doc:"Protects the file, for the formats that need one (printable ASCII); other formats ignore it"`
	Reason     string         `json:"reason,omitempty" doc:"Why the file is needed; kept in the audit log"`
	Options    map[string]any `json:"options,omitempty" doc:"Options of the format, valid under its options_schema"`
	TTLSeconds *int           `json:"ttl_seconds,omitempty" doc:"Life of the token, from 1 to the policy's token_ttl_seconds, which is the default"`
	BindIP     string         `json:"bind_ip,omitempty" doc:"The only IP address that may fetch the file"`
}

// Minted is an issued download. No other answer has Token and URL.
type Minted struct {
	RequestID string    `json:"request_id"`
	Status    string    `json:"status" doc:"issued"`
	Token     Secret    `json:"token" doc:"Fetches the file, once"`
	URL       Secret    `json:"url" doc:"Where to fetch the file; contains the token"`
	ExpiresAt time.Time `json:"expires_at"`
	Format    string    `json:"format"`
	Filename  string    `json:"filename"`
}

// Replayed is the answer to a mint whose Idempotency-Key names an earlier one
// with the same body.
type Replayed struct {
	Request
	RequestID string `json:"request_id" doc:"The same as id"`
	Replayed  bool   `json:"replayed" doc:"true"`
}
