package host

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// The bounds of what a format may declare of the software it is for.
const (
	maxTargets = 32
	maxTitle   = 64 // bytes
	maxCommand = 500
	maxNeeded  = 512 // of options
)

var (
	targetID    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)
	placeholder = regexp.MustCompile(`\{[a-z_]+\}`)
)

// checkTargets refuses what could not be shown, or run by the person to whom it
// is shown.
func checkTargets(targets []*pluginv1.Target) error {
	if len(targets) > maxTargets {
		return fmt.Errorf("has more than %d targets", maxTargets)
	}
	taken := map[string]bool{}
	for _, t := range targets {
		title, command := t.GetTitle(), t.GetImportCommand()
		switch {
		case !targetID.MatchString(t.GetId()):
			return fmt.Errorf("has a target id that does not match %s", targetID)
		case taken[t.GetId()]:
			return fmt.Errorf("has two targets %s", t.GetId())
		case title == "" || printable(title, maxTitle) != title:
			return fmt.Errorf("has a target %s whose title is not one line of at most %d bytes", t.GetId(), maxTitle)
		case command == "" || printable(command, maxCommand) != command:
			return fmt.Errorf("has a target %s whose import command is not one line of at most %d bytes", t.GetId(), maxCommand)
		}
		if len(t.GetOptions()) > maxNeeded {
			return fmt.Errorf("has a target %s whose options have more than %d bytes", t.GetId(), maxNeeded)
		}
		for _, name := range placeholder.FindAllString(command, -1) {
			if name != "{file}" && name != "{alias}" {
				return fmt.Errorf("has a target %s whose import command has a placeholder that is neither {file} nor {alias}", t.GetId())
			}
		}
		taken[t.GetId()] = true
	}
	return nil
}

// targets are the declared ones, whose options callers could send as they are
// but for what is required beside them.
func (f *format) targets() ([]engine.FormatTarget, error) {
	loose := *f.merged
	if loose.required = nil; len(f.merged.required) > 0 {
		if err := loose.compile(); err != nil {
			return nil, err
		}
	}
	var targets []engine.FormatTarget
	for _, t := range f.declared.GetTargets() {
		var options map[string]any
		if t.GetOptions() != "" && json.Unmarshal([]byte(t.GetOptions()), &options) != nil {
			return nil, fmt.Errorf("its target %s has options that are no JSON object", t.GetId())
		}
		canonical, err := loose.check(options)
		if err != nil {
			return nil, fmt.Errorf("its target %s: %w", t.GetId(), err)
		}
		targets = append(targets, engine.FormatTarget{ID: t.GetId(), Title: t.GetTitle(), Options: canonical, ImportCommand: t.GetImportCommand()})
	}
	return targets, nil
}
