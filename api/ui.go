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

// uiPolicy lets the UI's page run its own scripts and call its own server, and
// nothing else (Content Security Policy Level 3). The nonce is for the style
// elements that the component library makes at run time.
const uiPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-%s'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// noncePlace is where the page takes the nonce of its answer.
var noncePlace = []byte("COUNTERSIGN_NONCE")

// ui serves the web UI: one page at the addresses of all of its pages, and under
// /assets what it loads, whose names change with their content.
func (s *Server) ui(files fs.FS) error {
	if files == nil {
		return nil
	}
	page, err := fs.ReadFile(files, "index.html")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // this program was built without it
	}
	if err != nil {
		return fmt.Errorf("read the web UI: %w", err)
	}
	for _, address := range []string{"/", "/projects/*"} {
		s.get(address, func(c *fiber.Ctx) error {
			nonce := rand.Text()
			c.Set(fiber.HeaderContentSecurityPolicy, fmt.Sprintf(uiPolicy, nonce))
			c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
			return c.Send(bytes.ReplaceAll(page, noncePlace, []byte(nonce)))
		})
	}
	s.app.Use("/assets", compress.New())
	s.get("/assets/:name", func(c *fiber.Ctx) error {
		name := "assets/" + c.Params("name")
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return engine.CodeNotFound // a name that is no file's, or none at all
		}
		c.Set(fiber.HeaderContentType, mime.TypeByExtension(path.Ext(name)))
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
		return c.Send(content)
	})
	return nil
}
