package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/countersign-dev/countersign/api/wire"
)

// Minted is the answer to a mint: a token, an approval to wait for, or the
// request of an earlier mint under the same idempotency key.
type Minted struct {
	wire.Minted
	Pending  *wire.Pending
	Replayed *wire.Request
}

// Mint asks for a download. The idempotency key may be empty.
func (c *Client) Mint(ctx context.Context, project, certificate string, body wire.MintBody, idempotencyKey string) (Minted, error) {
	r := request{
		method: http.MethodPost, path: at("projects", project, "certificates", certificate, "downloads"), body: body, header: http.Header{},
	}
	if idempotencyKey != "" {
		r.header.Set("Idempotency-Key", idempotencyKey)
	}
	answer, err := c.do(ctx, r)
	if err != nil {
		return Minted{}, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or its reading failed
	var out Minted
	switch answer.StatusCode {
	case http.StatusCreated:
		err = json.NewDecoder(answer.Body).Decode(&out.Minted)
	case http.StatusAccepted:
		err = json.NewDecoder(answer.Body).Decode(&out.Pending)
		if out.Pending != nil {
			out.RequestID, out.Status = out.Pending.RequestID, out.Pending.Status
		}
	default:
		var replayed wire.Replayed
		err = json.NewDecoder(answer.Body).Decode(&replayed)
		out.Replayed, out.RequestID, out.Status = &replayed.Request, replayed.RequestID, replayed.Status
	}
	if err != nil {
		return Minted{}, fmt.Errorf("read the server's answer: %w", err)
	}
	return out, nil
}

// File is a redeemed file. Reading it to its end fails unless it arrived whole;
// whoever gets it closes it.
type File struct {
	Name      string // without any folder
	MediaType string
	Size      int64 // bytes
	io.ReadCloser
}

// Redeem fetches a token's file, which uses the token up. The token travels in
// the body, not in the URL.
func (c *Client) Redeem(ctx context.Context, token wire.Secret) (*File, error) {
	answer, err := c.do(ctx, request{transfer: true, method: http.MethodPost, path: "downloads", body: wire.RedeemBody{Token: token}})
	if err != nil {
		return nil, err
	}
	file := &File{MediaType: answer.Header.Get("Content-Type"), Size: answer.ContentLength}
	_, params, err := mime.ParseMediaType(answer.Header.Get("Content-Disposition"))
	if err == nil {
		file.Name = filepath.Base(filepath.Clean("/" + params["filename"]))
	}
	if file.Name == "" || file.Name == "/" || file.Name == "." {
		file.Name = "download"
	}
	want, ok := strings.CutPrefix(answer.Header.Get("Repr-Digest"), "sha-256=:")
	sum, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(want, ":"))
	if !ok || err != nil || len(sum) != sha256.Size {
		_ = answer.Body.Close() // the error below is what matters
		return nil, errors.New("the file came without its digest")
	}
	file.ReadCloser = &whole{ReadCloser: answer.Body, hash: sha256.New(), want: sum}
	return file, nil
}

// whole ends a file in an error unless its digest is the announced one.
type whole struct {
	io.ReadCloser
	hash hash.Hash
	want []byte
}

func (w *whole) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	_, _ = w.hash.Write(p[:n]) // never fails (hash.Hash)
	if errors.Is(err, io.EOF) && string(w.hash.Sum(nil)) != string(w.want) {
		return n, errors.New("the file arrived damaged: its digest is not the announced one")
	}
	return n, err
}
