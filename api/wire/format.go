package wire

import "encoding/json"

// Format is a file format in which certificates can be downloaded.
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
	Targets         []FormatTarget  `json:"targets" doc:"Software that reads the file"`
	Plugin          FormatPlugin    `json:"plugin"`
}

// FormatTarget is software that reads a format's file if it is made with these
// options.
type FormatTarget struct {
	ID            string         `json:"id"`
	Title         string         `json:"title"`
	Options       map[string]any `json:"options" doc:"The options that the software needs"`
	ImportCommand string         `json:"import_command" doc:"A command line from the plugin, for a user to run: replace {file} with the path of the file and {alias} with its name in the software"`
}

// FormatPlugin is the plugin that renders a format.
type FormatPlugin struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	SHA256  string  `json:"sha256" doc:"Of its executable, hexadecimal"`
	State   string  `json:"state"`
	Sandbox Sandbox `json:"sandbox"`
}

// Sandbox has the restrictions of a plugin.
type Sandbox struct {
	Enforced []string `json:"enforced" doc:"The restrictions that the system enforces"`
	Missing  []string `json:"missing" doc:"The restrictions that it cannot enforce, each with the reason after a colon"`
}

// Plugin is a renderer with its formats. Detail says what is wrong with it.
type Plugin struct {
	FormatPlugin
	Detail  string   `json:"detail"`
	Formats []string `json:"formats"`
}
