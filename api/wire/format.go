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
	Targets         []FormatTarget  `json:"targets" doc:"Software that takes the file"`
	Plugin          FormatPlugin    `json:"plugin"`
}

// FormatTarget is software that takes a format's file, made with certain options.
type FormatTarget struct {
	ID            string         `json:"id"`
	Title         string         `json:"title"`
	Options       map[string]any `json:"options" doc:"The options that the software needs"`
	ImportCommand string         `json:"import_command" doc:"One line, as the plugin words it, for a person to run: {file} stands for the file's path, {alias} for the name that the software is to know it by"`
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
