package api

import (
	"context"
	"testing"
)

// An endpoint without an access is refused at registration.
func TestEndpointWithoutAccess(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was registered")
		}
	}()
	register(&Server{}, endpoint{id: "x", method: "GET", path: "/x"}, func(context.Context, *call, *struct{}) (*struct{}, error) { return nil, nil })
}
