package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
)

// documentation configures huma without its pages, which load scripts from other
// hosts, and without links to schemas.
func documentation(version string) huma.Config {
	config := huma.DefaultConfig("Countersign", version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.Formats = map[string]huma.Format{fiber.MIMEApplicationJSON: strictJSON, "json": strictJSON}
	config.Info.Description = "Hands out certificates and private keys by request, under policy, after approval, once."
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"apiKey":  {Type: "http", Scheme: "bearer", Description: "An API key of the project"},
		"session": {Type: "apiKey", In: "cookie", Name: plainCookie, Description: "A browser in which a user signed in; calls that change something also need the header " + csrfHeader},
	}
	return config
}

// document registers the OpenAPI document, which is complete once every endpoint is
// registered. It is written when it is first asked for.
func (s *Server) document() {
	if problem := s.huma.OpenAPI().Components.Schemas.Map()["Problem"]; problem != nil {
		for _, code := range slices.Sorted(maps.Keys(kinds)) {
			problem.Properties["code"].Enum = append(problem.Properties["code"].Enum, string(code))
		}
		problem.AdditionalProperties = true
	}
	written := sync.OnceValues(func() ([]byte, error) { return json.Marshal(s.huma.OpenAPI()) })
	s.publicPage("/openapi.json", func(c *fiber.Ctx) error {
		text, err := written()
		if err != nil {
			return fmt.Errorf("write OpenAPI document: %w", err)
		}
		c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
		return c.Send(text)
	})
}

// bodyOf documents a JSON body of type T.
func bodyOf[T any](s *Server) map[string]*huma.MediaType {
	schema := s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	return map[string]*huma.MediaType{fiber.MIMEApplicationJSON: {Schema: schema}}
}

// pathIDs documents the ids of a path that the guard looks up. The input types of
// the handlers declare the others.
func pathIDs(path string) []*huma.Param {
	var params []*huma.Param
	for _, id := range []struct{ name, of string }{{"pid", "project"}, {"cid", "certificate"}, {"rid", "download request"}, {"aid", "approval"}} {
		if strings.Contains(path, "{"+id.name+"}") {
			params = append(params, &huma.Param{
				Name: id.name, In: "path", Required: true, Description: "Id of the " + id.of, Schema: &huma.Schema{Type: huma.TypeString},
			})
		}
	}
	return params
}

// fileResponse documents the answer that is a file.
func fileResponse() map[string]*huma.Response {
	text := &huma.Schema{Type: huma.TypeString}
	return map[string]*huma.Response{"200": {
		Description: "The file; the token is consumed",
		Headers: map[string]*huma.Param{
			"Content-Disposition": {Schema: text, Description: "attachment, with the name of the file (RFC 6266)"},
			"Repr-Digest":         {Schema: text, Description: "SHA-256 of the file (RFC 9530)"},
		},
		Content: map[string]*huma.MediaType{fiber.MIMEOctetStream: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
}
