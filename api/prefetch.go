package api

import (
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// purposeHeaders are the headers in which a browser says that no person opened the
// page yet. Sec-Purpose is a structured field such as "prefetch;prerender".
var purposeHeaders = []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}

// previewKinds are the words by which software says in its user agent that it reads
// links for somebody: for previews in messages and pages, for a search, for an
// archive. Most of it also gives the address of its documentation, after a plus.
var previewKinds = regexp.MustCompile(`bots?([^a-z]|$)|crawl|spider|scrape|unfurl|onebox|preview|prefetch|` +
	`externalhit|externalagent|externalfetcher|webindexer|image fetcher|imageproxy|imgproxy|mailproxy|\+ ?https?:`)

// previewAgents are parts of the user agents of such software that names no kind.
// People do not browse with it.
var previewAgents = []string{
	"addthis", "bitly", "bluesky", "cardyb", "embedly", "facebookcatalog", "fastmailua", "friendica", "github-camo", "google-inspectiontool",
	"google-safety", "google-pagerenderer", "hatena", "iframely", "kakaotalk-scrap", "line-poker", "mastodon", "matrix-media-repo",
	"microsoft teams", "misskey", "ning/", "notion/", "opengraph", "pinterest/0", "pleroma", "rocket.chat", "signal-android", "signal-desktop",
	"signal-ios", "steamchaturllookup", "tumblr/", "twilioproxy", "viber", "vkshare", "w3c_validator", "webexteams", "whatsapp",
}

// isPrefetch reports whether the request says that no user caused it. The programs
// by which people fetch files themselves, such as curl, wget, PowerShell, browsers
// and Office, are none of these.
func isPrefetch(c *fiber.Ctx) bool {
	for _, header := range purposeHeaders {
		purpose := strings.ToLower(c.Get(header))
		if strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "preview") || strings.Contains(purpose, "prerender") {
			return true
		}
	}
	return isPreviewAgent(c.Get(fiber.HeaderUserAgent))
}

// noPreview are parts of user agents that only look like those of such software: a
// make of telephones, and libraries that give the address of their source code.
var noPreview = strings.NewReplacer("cubot", "", "+https://github.com/", "")

func isPreviewAgent(agent string) bool {
	agent = noPreview.Replace(strings.ToLower(agent))
	for _, preview := range previewAgents {
		if strings.Contains(agent, preview) {
			return true
		}
	}
	return previewKinds.MatchString(agent)
}
