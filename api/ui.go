package api

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"path"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"

	"github.com/countersign-dev/countersign/engine"
)

// uiPolicy allows the UI's page to run its own scripts and to call its own server,
// and nothing else (Content Security Policy Level 3). The nonce is for the style
// elements that the component library makes at run time.
const uiPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-%s'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// noncePlaceholder is replaced by the nonce in each answer.
var noncePlaceholder = []byte("COUNTERSIGN_NONCE")

// ui serves the web UI: the same page at the address of each of its views, and
// under /assets the files that it loads, whose names change with their content.
func (s *Server) ui(files fs.FS) error {
	if files == nil {
		return nil
	}
	page, err := fs.ReadFile(files, "index.html")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the program was built without the UI
	}
	if err != nil {
		return fmt.Errorf("read the web UI: %w", err)
	}
	for _, address := range []string{"/", "/projects/*"} {
		s.publicPage(address, func(c *fiber.Ctx) error {
			nonce := rand.Text()
			c.Set(fiber.HeaderContentSecurityPolicy, fmt.Sprintf(uiPolicy, nonce))
			c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
			return c.Send(bytes.ReplaceAll(page, noncePlaceholder, []byte(nonce)))
		})
	}
	s.app.Use("/assets", compress.New())
	s.publicPage("/assets/:name", func(c *fiber.Ctx) error {
		name := "assets/" + c.Params("name")
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return engine.CodeNotFound // no such file, or not a valid name
		}
		c.Set(fiber.HeaderContentType, mime.TypeByExtension(path.Ext(name)))
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
		return c.Send(content)
	})
	return nil
}
