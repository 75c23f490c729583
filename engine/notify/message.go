package notify

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/countersign-dev/countersign/engine"
)

// escapeFunc makes text that users chose safe for the program that shows it.
type escapeFunc func(text string) string

func unescaped(text string) string { return text }

// subject says in one line what happened.
func subject(n engine.Notification, escape escapeFunc) string {
	what := escape(singleLine(n.Format, 60)) + " of " + escape(singleLine(n.CertificateName, 100))
	switch n.Event {
	case engine.NotifyRequested:
		return "Approval requested: " + what
	case engine.NotifyReminder:
		return "Still waiting for approval: " + what
	case engine.NotifyDecided:
		return "Request " + singleLine(n.Status, 20) + ": " + what
	case engine.NotifyExpired:
		return "Approval expired: " + what
	case engine.NotifyReused:
		return "A used download link was opened again: " + what
	default:
		return "Test message of Countersign"
	}
}

// text is the message in a few lines, the last of which is the notification's id.
// Text that users chose is shortened and stays on one line, after a label.
func text(n engine.Notification, escape escapeFunc) string {
	lines := []string{subject(n, escape)}
	add := func(label, value string) {
		if value != "" {
			lines = append(lines, label+": "+value)
		}
	}
	add("Project", escape(singleLine(n.ProjectName, 100)))
	add("Requester", escape(singleLine(cmp.Or(n.Requester.Username, n.Requester.Name), 100))) // the user, not the API key
	add("Reason", escape(singleLine(n.Reason, 300)))
	add("Comment", escape(singleLine(n.Comment, 300)))
	if n.RequiredApprovals > 0 {
		add("Approvals needed", fmt.Sprint(n.RequiredApprovals))
	}
	if !n.ExpiresAt.IsZero() {
		add("Expires", n.ExpiresAt.UTC().Format(time.RFC3339))
	}
	add("Request", singleLine(n.RequestID, 60)) // an id of ours, to be copied
	if n.URL != "" {
		lines = append(lines, n.URL)
	}
	add("Id", n.ID)
	return strings.Join(lines, "\n")
}

// mailText is the text of a mail, which mail programs show as it is.
func mailText(n engine.Notification) string { return text(n, unescaped) }

// chatText is the text for a chat. It contains no mention, no markup and no link
// but our own.
func chatText(n engine.Notification) string { return text(n, chatEscaper.Replace) }

// chatEscaper replaces the characters to which chats give a meaning by look-alikes.
// Colons and full stops make emoji and links; before a space they are punctuation.
var chatEscaper = strings.NewReplacer(
	"<", "‹", ">", "›", "&", "＆", "@", "＠", "[", "［", "]", "］", "`", "ˋ", "*", "∗", "_", "＿", "~", "∼", "|", "ǀ", "\\", "⧵", "#", "＃", "$", "＄",
	": ", ": ", ":", "∶", ". ", ". ", ".", "․",
)

// singleLine is text on one line, without invisible characters, cut to limit
// characters.
func singleLine(s string, limit int) string {
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
	if runes := []rune(shown); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return shown
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// paragraphs keeps lines apart in chats that ignore single line breaks.
func paragraphs(text string) string { return strings.ReplaceAll(text, "\n", "\n\n") }
