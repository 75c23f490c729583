package api

import (
	"strings"

	"github.com/gofiber/fiber/v2"
)

// purposeHeaders are the headers in which a browser says that no person opened the
// page yet. Sec-Purpose is a structured field such as "prefetch;prerender".
var purposeHeaders = []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}

// previewAgents are parts of the user agents, in lower case, by which crawlers of
// links in messages and pages identify themselves. People do not browse with them,
// so they must not consume a token.
var previewAgents = []string{
	"slackbot", "slack-imgproxy", "discordbot", "facebookexternalhit", "facebookcatalog", "facebot", "meta-externalfetcher",
	"twitterbot", "linkedinbot", "whatsapp", "telegrambot", "skypeuripreview", "microsoftpreview", "ms office", "microsoft office",
	"microsoft teams", "teamsbot", "googlebot", "google-pagerenderer", "google-inspectiontool", "googleimageproxy", "google-safety", "bingbot", "bingpreview",
	"applebot", "pinterestbot", "pinterest/0", "redditbot", "iframely", "embedly", "vkshare", "w3c_validator", "mattermost",
	"rocket.chat", "signal-desktop", "signal-android", "signal-ios", "quora link preview", "bitlybot", "mastodon", "pleroma",
	"misskey", "bluesky cardyb", "synapse (bot", "matrix-media-repo", "zulipurlpreview", "zoombot", "webexteams", "duckduckbot",
	"yandexbot", "baiduspider", "linkpreview", "link preview", "urlpreview", "url preview", "prefetch",
	"viber", "kakaotalk-scrap", "line-poker",
}

// isPrefetch reports whether the request says that no user caused it.
func isPrefetch(c *fiber.Ctx) bool {
	for _, header := range purposeHeaders {
		purpose := strings.ToLower(c.Get(header))
		if strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "preview") || strings.Contains(purpose, "prerender") {
			return true
		}
	}
	agent := strings.ToLower(c.Get(fiber.HeaderUserAgent))
	for _, preview := range previewAgents {
		if strings.Contains(agent, preview) {
			return true
		}
	}
	return false
}
