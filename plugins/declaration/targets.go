package declaration

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// The most that a format may declare about the software it is for.
const (
	maxTargets       = 32
	maxTitle         = 64  // bytes
	maxCommand       = 500 // bytes
	maxTargetOptions = 512 // bytes
)

var (
	targetID    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)
	placeholder = regexp.MustCompile(`\{[a-z_]+\}`)
)

// checkTargets refuses what cannot be shown to a user, or run by that user.
func checkTargets(targets []*pluginv1.Target) error {
	if len(targets) > maxTargets {
		return fmt.Errorf("has more than %d targets", maxTargets)
	}
	seen := map[string]bool{}
	for _, t := range targets {
		title, command := t.GetTitle(), t.GetImportCommand()
		switch {
		case !targetID.MatchString(t.GetId()):
			return fmt.Errorf("has a target id that does not match %s", targetID)
		case seen[t.GetId()]:
			return fmt.Errorf("has two targets %s", t.GetId())
		case title == "" || !isLine(title, maxTitle):
			return fmt.Errorf("has a target %s whose title is not one line of at most %d bytes", t.GetId(), maxTitle)
		case command == "" || !isLine(command, maxCommand):
			return fmt.Errorf("has a target %s whose import command is not one line of at most %d bytes", t.GetId(), maxCommand)
		}
		if len(t.GetOptions()) > maxTargetOptions {
			return fmt.Errorf("has a target %s whose options have more than %d bytes", t.GetId(), maxTargetOptions)
		}
		for _, name := range placeholder.FindAllString(command, -1) {
			if name != "{file}" && name != "{alias}" {
				return fmt.Errorf("has a target %s whose import command has a placeholder that is neither {file} nor {alias}", t.GetId())
			}
		}
		seen[t.GetId()] = true
	}
	return nil
}

// Targets returns the targets that the format declares. Their options must be
// valid under its schema, merged with those of included formats; a caller adds the
// options that are required beside them.
func Targets(f *pluginv1.Format, merged *Schema) ([]engine.FormatTarget, error) {
	schema, err := merged.withoutRequired()
	if err != nil {
		return nil, err
	}
	var targets []engine.FormatTarget
	for _, t := range f.GetTargets() {
		var options map[string]any
		if t.GetOptions() != "" && json.Unmarshal([]byte(t.GetOptions()), &options) != nil {
			return nil, fmt.Errorf("its target %s has options that are not a JSON object", t.GetId())
		}
		canonical, err := schema.Validate(options)
		if err != nil {
			return nil, fmt.Errorf("its target %s: %w", t.GetId(), err)
		}
		targets = append(targets, engine.FormatTarget{ID: t.GetId(), Title: t.GetTitle(), Options: canonical, ImportCommand: t.GetImportCommand()})
	}
	return targets, nil
}
