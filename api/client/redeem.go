package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/countersign-dev/countersign/api/wire"
)

// File is a redeemed file. Reading it to its end fails unless all of it arrived
// unchanged. The caller closes it.
type File struct {
	Name      string // without any folder
	MediaType string
	Size      int64 // bytes
	io.ReadCloser
}

// Redeem fetches the file of a token, which consumes the token. The token is sent
// in the body, not in the URL.
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
		_ = answer.Body.Close() // the caller gets the error below
		return nil, errors.New("the answer has no digest of the file; is a proxy in between?")
	}
	file.ReadCloser = &verified{ReadCloser: answer.Body, hash: sha256.New(), want: sum}
	return file, nil
}

// verified is the content of a file whose reading ends in an error unless it has
// the announced digest.
type verified struct {
	io.ReadCloser
	hash hash.Hash
	want []byte
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	_, _ = v.hash.Write(p[:n]) // never fails (hash.Hash)
	if errors.Is(err, io.EOF) && string(v.hash.Sum(nil)) != string(v.want) {
		return n, errors.New("the file arrived damaged: it does not have the announced digest; request it again")
	}
	return n, err
}
