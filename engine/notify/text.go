package notify

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/countersign-dev/countersign/engine"
)

// manner is how a text that others chose is put.
type manner func(text string) string

func asItIs(text string) string { return text }

// subject says in one line what happened.
func subject(n engine.Notification, put manner) string {
	what := put(plain(n.Format, 60)) + " of " + put(plain(n.CertificateName, 100))
	switch n.Event {
	case engine.NotifyRequested:
		return "Approval asked for: " + what
	case engine.NotifyReminder:
		return "Still waiting for approval: " + what
	case engine.NotifyDecided:
		return "Request " + plain(n.Status, 20) + ": " + what
	case engine.NotifyExpired:
		return "Approval lapsed: " + what
	case engine.NotifyReused:
		return "A used download token was tried again: " + what
	default:
		return "Test message of Countersign"
	}
}

// text says it in a few lines, the last of which is the id. Whatever others
// chose is cut short and kept to its line, behind a label.
func text(n engine.Notification, put manner) string {
	lines := []string{subject(n, put)}
	add := func(label, value string) {
		if value != "" {
			lines = append(lines, label+": "+value)
		}
	}
	add("Project", put(plain(n.ProjectName, 100)))
	add("Requester", put(plain(cmp.Or(n.Requester.Username, n.Requester.Name), 100))) // who it is, rather than by which key
	add("Reason", put(plain(n.Reason, 300)))
	add("Comment", put(plain(n.Comment, 300)))
	if n.RequiredApprovals > 0 {
		add("Approvals needed", fmt.Sprint(n.RequiredApprovals))
	}
	if !n.ExpiresAt.IsZero() {
		add("Lapses", n.ExpiresAt.UTC().Format(time.RFC3339))
	}
	add("Request", plain(n.RequestID, 60)) // ours, to be copied
	if n.URL != "" {
		lines = append(lines, n.URL)
	}
	add("Id", n.ID)
	return strings.Join(lines, "\n")
}

// mailText is text for where text is only text.
func mailText(n engine.Notification) string { return text(n, asItIs) }

// chatText is text in which nothing means anything to a chat: no mention, no
// markup, no link but our own.
func chatText(n engine.Notification) string { return text(n, inert.Replace) }

// inert puts look-alikes in the place of what chats give a meaning to. Colons
// and full stops make emoji and links; before a space they are punctuation.
var inert = strings.NewReplacer(
	"<", "‹", ">", "›", "&", "＆", "@", "＠", "[", "［", "]", "］", "`", "ˋ", "*", "∗", "_", "＿", "~", "∼", "|", "ǀ", "\\", "⧵", "#", "＃", "$", "＄",
	": ", ": ", ":", "∶", ". ", ". ", ".", "․",
)

// plain is text on one line, without anything that does not show, at most so
// many characters long.
func plain(s string, most int) string {
	shown := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return -1 // controls, marks of direction, joiners
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	shown = strings.Join(strings.Fields(shown), " ")
	if runes := []rune(shown); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return shown
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// paragraphs keeps lines apart where single line breaks are lost.
func paragraphs(text string) string { return strings.ReplaceAll(text, "\n", "\n\n") }
