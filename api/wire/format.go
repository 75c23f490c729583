package wire

import "encoding/json"

// Format is a kind of file that certificates can be downloaded as.
type Format struct {
	ID              string          `json:"id"`
	Filename        string          `json:"filename"`
	Aliases         []string        `json:"aliases"`
	MediaType       string          `json:"media_type"`
	ContainsKey     bool            `json:"contains_key"`
	NeedsPassphrase bool            `json:"needs_passphrase"`
	Description     string          `json:"description"`
	TypicalUse      string          `json:"typical_use"`
	OptionsSchema   json.RawMessage `json:"options_schema" doc:"JSON Schema of the options"`
	Plugin          FormatPlugin    `json:"plugin"`
}

// FormatPlugin is the plugin that renders a format.
type FormatPlugin struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	SHA256  string  `json:"sha256" doc:"Of its binary, hexadecimal"`
	State   string  `json:"state"`
	Sandbox Sandbox `json:"sandbox"`
}

// Sandbox is what confines a plugin.
type Sandbox struct {
	Enforced []string `json:"enforced" doc:"What the system enforces"`
	Missing  []string `json:"missing" doc:"What it cannot, each with the reason after a colon"`
}

// Plugin is a renderer with all it renders. Detail says what is wrong with it.
type Plugin struct {
	FormatPlugin
	Detail  string   `json:"detail"`
	Formats []string `json:"formats"`
}
