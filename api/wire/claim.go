package wire

// ClaimBody claims the token of an approved request.
type ClaimBody struct {
	Passphrase Secret `json:"passphrase,omitempty" doc:"As in a mint"`
}
