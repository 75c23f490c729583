package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func formatsCommand(o *clientOptions) *cobra.Command {
	return &cobra.Command{
		Use: "formats [FORMAT]", Short: "List the formats that certificates can be downloaded in, and their targets",
		Long: "List the formats that certificates can be downloaded in, and the targets of each: software that imports it.\n" +
			"With FORMAT, show its options and, for each target, the options that it needs and its import command.",
		Args: cobra.MaximumNArgs(1),
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			if len(args) == 1 {
				return s.showFormat(ctx, args[0])
			}
			page, err := readPages(0, func(at client.Paging) (wire.Page[wire.Format], error) { return s.Formats(ctx, s.project, at) })
			if err != nil {
				return err
			}
			header := []string{"FORMAT", "FILE", "PRIVATE KEY", "PASSPHRASE", "OPTIONS", "TARGETS"}
			return showPage(s.printer, page, header, func(f wire.Format) []string {
				return []string{f.ID, f.Filename, yesNo(f.ContainsKey), yesNo(f.NeedsPassphrase), strings.Join(optionsOf(f).names(), ", "), strings.Join(targetIDs(f), ", ")}
			})
		}),
	}
}

func (s *session) showFormat(ctx context.Context, name string) error {
	formats, err := s.formats(ctx)
	if err != nil {
		return err
	}
	f, ok := findFormat(formats, name)
	if !ok {
		return fmt.Errorf("there is no format %q; see countersign formats", name)
	}
	rows := [][]string{{"Format", f.ID}, {"File", f.Filename}, {"Description", f.Description}, {"Typical use", f.TypicalUse},
		{"Private key", yesNo(f.ContainsKey)}, {"Passphrase", yesNo(f.NeedsPassphrase)}, {"Options", strings.Join(optionsOf(f).names(), ", ")}}
	for _, t := range f.Targets {
		options, err := json.Marshal(t.Options)
		if err != nil {
			return fmt.Errorf("show options: %w", err)
		}
		rows = append(rows, []string{"Target", t.ID + ": " + t.Title}, []string{"  options", string(options)}, []string{"  import", t.ImportCommand})
	}
	return s.show(f, rows...)
}

func (s *session) formats(ctx context.Context) ([]wire.Format, error) {
	return client.All(0, func(at client.Paging) (wire.Page[wire.Format], error) { return s.Formats(ctx, s.project, at) })
}

// findFormat finds a format by id, file name or alias. For an unknown one it returns
// a format of that name, so that the server refuses it with the list of formats.
func findFormat(formats []wire.Format, name string) (wire.Format, bool) {
	for _, f := range formats {
		if f.ID == name || f.Filename == name || slices.Contains(f.Aliases, name) {
			return f, true
		}
	}
	return wire.Format{ID: name, Filename: name}, false
}

func targetIDs(formats ...wire.Format) (ids []string) {
	for _, f := range formats {
		for _, t := range f.Targets {
			ids = append(ids, t.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// findTarget finds the one format that has the target. It is an error if several do.
func findTarget(formats []wire.Format, id string) (wire.Format, wire.FormatTarget, error) {
	var formatIDs []string
	var format wire.Format
	var target wire.FormatTarget
	for _, f := range formats {
		if at := slices.IndexFunc(f.Targets, func(t wire.FormatTarget) bool { return t.ID == id }); at >= 0 {
			format, target = f, f.Targets[at]
			formatIDs = append(formatIDs, f.ID)
		}
	}
	switch len(formatIDs) {
	case 1:
		return format, target, nil
	case 0:
		return format, target, usageError{fmt.Errorf("there is no target %q; the targets are: %s", id, orNone(targetIDs(formats...)))}
	}
	return format, target, usageError{fmt.Errorf("%s imports several formats; choose with --format: %s", id, strings.Join(formatIDs, ", "))}
}

func orNone(words []string) string { return firstOf(strings.Join(words, ", "), "none") }

// optionSchema is the part of a format's options_schema that the command line uses.
type optionSchema struct {
	Properties           map[string]json.RawMessage `json:"properties"`
	AdditionalProperties any                        `json:"additionalProperties"`
}

func optionsOf(f wire.Format) (s optionSchema) {
	_ = json.Unmarshal(f.OptionsSchema, &s) // an invalid schema has no options
	return s
}

func (s optionSchema) names() []string { return slices.Sorted(maps.Keys(s.Properties)) }

// value converts NAME=VALUE to the option's type in the schema. The server checks the
// rest of the schema.
func (s optionSchema) value(given string) (name string, value any, err error) {
	name, text, ok := strings.Cut(given, "=")
	property, known := s.Properties[name]
	if !ok || !known && s.AdditionalProperties == false {
		return name, nil, usageError{fmt.Errorf("--option %s is not valid; give NAME=VALUE, with a name of: %s", name, orNone(s.names()))}
	}
	var schema struct {
		Type any `json:"type"`
	}
	_ = json.Unmarshal(property, &schema) // a property may be just true: it has no type then
	switch schema.Type {
	case "string":
		return name, text, nil
	case "boolean":
		value, err = strconv.ParseBool(text)
	case "integer":
		value, err = strconv.ParseInt(text, 10, 64)
	case "number":
		err = json.Unmarshal([]byte(text), new(float64))
		value = json.Number(text)
	default:
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			return name, text, nil // what is not JSON is text
		}
	}
	if err != nil {
		return name, nil, usageError{fmt.Errorf("--option %s: %q is not of type %v", name, text, schema.Type)}
	}
	return name, value, nil
}

var (
	plainWord = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./@:+-]*$`)
	// quotable is what single quotes make one word in Unix shells and in PowerShell,
	// for which typographic single quotes are quotes too.
	quotable = regexp.MustCompile(`^[^-'\x{2018}-\x{201B}\pC][^'\x{2018}-\x{201B}\pC]*$`)
)

// importCommand fills in the placeholders of a target's command. A placeholder stays
// if a shell could read its value as more than one word. The rule is stricter for the
// alias, because it is the certificate's name, which another user may have chosen.
func importCommand(command, file, alias string) string {
	var words []string
	if plainWord.MatchString(file) {
		words = append(words, "{file}", file)
	} else if quotable.MatchString(file) {
		words = append(words, "{file}", "'"+file+"'")
	}
	if plainWord.MatchString(alias) {
		words = append(words, "{alias}", alias)
	}
	return strings.NewReplacer(words...).Replace(command)
}
