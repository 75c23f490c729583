package keys

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"

	"filippo.io/age"
	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"

	"github.com/countersign-dev/countersign/engine"
)

// keeper is an open keeper with the id by which sealed keys refer to it.
type keeper struct {
	*secrets.Keeper
	id       string
	local    bool
	calls    *metrics
	position string // in metrics
	running  chan struct{}
}

func newKeeper(k *secrets.Keeper, id string) keeper {
	return keeper{Keeper: k, id: id, running: make(chan struct{}, maxCalls)}
}

// callWithin is how long a call may take, and maxCalls how many run at once: some drivers
// ignore the context, and a call that hangs runs on when its caller has gone.
const (
	callWithin = 8 * time.Second
	maxCalls   = 64
)

func (k keeper) wrap(ctx context.Context, dataKey []byte) (wrapped []byte, err error) {
	ctx, end := k.observe(ctx, wrapping)
	defer end(&err)
	own := bytes.Clone(dataKey) // the caller clears its own, also while the call runs on
	return k.call(ctx, func(ctx context.Context) ([]byte, error) {
		defer clear(own)
		return k.Encrypt(ctx, own)
	})
}

func (k keeper) unwrap(ctx context.Context, wrapped []byte) (dataKey []byte, err error) {
	ctx, end := k.observe(ctx, unwrapping)
	defer end(&err)
	return k.call(ctx, func(ctx context.Context) ([]byte, error) { return k.Decrypt(ctx, wrapped) })
}

// call calls the keeper, and returns when the context or the time for the call ends, even if
// the driver goes on.
func (k keeper) call(ctx context.Context, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callWithin, fmt.Errorf("it did not answer within %v", callWithin))
	defer cancel()
	select {
	case k.running <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	var answer []byte
	ended := make(chan error, 1)
	go func() {
		defer func() { <-k.running }()
		ended <- func() (err error) {
			defer recovered(&err)
			answer, err = ask(ctx)
			return err
		}()
	}()
	select {
	case err := <-ended:
		return answer, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// recovered turns a panic into an error, because drivers trust answers from the
// network (hashivault expects data in every answer).
func recovered(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("the driver panicked: %v", cause)
	}
}

// openURL opens a keeper by URL. Its id is the URL without the query, which says how
// to reach the key and does not identify it.
func openURL(ctx context.Context, ref string) (keeper, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return keeper{}, errors.New("open keeper: keeper.url or keeper.previous has an invalid URL; correct it") // the cause quotes the URL, which may contain a key
	}
	switch {
	case u.Scheme == localsecrets.Scheme:
		return openBase64Key(u)
	case u.Scheme == "keyfile":
		if u.Host != "" || u.Path == "" {
			return keeper{}, errors.New("open keeper: the URL of a key file is keyfile:///path, with three slashes")
		}
		return openKeyFile(u.Path, false)
	case u.Scheme == "age":
		if u.Host != "" || u.Path == "" {
			return keeper{}, errors.New("open keeper: the URL of an age identity is age:///path, with three slashes")
		}
		return openAgeIdentity(u.Path)
	case u.User != nil:
		return keeper{}, fmt.Errorf("open keeper: a %s URL must not contain credentials; set them in the environment", u.Scheme)
	case !secrets.DefaultURLMux().ValidKeeperScheme(u.Scheme):
		return keeper{}, fmt.Errorf("open keeper: unknown scheme %q; use keyfile, age or one of %q", u.Scheme, secrets.DefaultURLMux().KeeperSchemes())
	}
	k, err := secrets.DefaultURLMux().OpenKeeperURL(ctx, u)
	if err != nil {
		return keeper{}, fmt.Errorf("open keeper: %w", err)
	}
	return newKeeper(k, (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()), nil
}

// openBase64Key opens base64key://KEY, a key in URL-safe base64. It refuses an empty
// key, for which the driver would make a random one that is lost at the next start.
func openBase64Key(u *url.URL) (keeper, error) {
	key, err := localsecrets.Base64Key(u.Host)
	if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" {
		return keeper{}, errors.New("open keeper: base64key:// must be followed by 32 bytes in URL-safe base64 and nothing else")
	}
	defer clear(key[:])
	return localKeeper(key)
}

// openAgeIdentity opens a file with one identity, as age-keygen writes it. A key that
// follows from the identity wraps; age itself does not: whoever knows an identity's public
// recipient could wrap keys of their own and put them into the database.
func openAgeIdentity(path string) (keeper, error) {
	text, err := engine.ReadSecretFile(path)
	if err != nil {
		return keeper{}, fmt.Errorf("open age identity: %w", err)
	}
	defer clear(text)
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil || len(identities) != 1 { // the cause might quote the file
		return keeper{}, fmt.Errorf("open age identity: %s does not have one identity of age-keygen; an identity with a passphrase, or of SSH, is none", path)
	}
	key, err := hkdf.Key(sha256.New, fmt.Append(nil, identities[0]), nil, "countersign age keeper v1", sha256.Size)
	if err != nil {
		return keeper{}, fmt.Errorf("open age identity: %w", err)
	}
	defer clear(key)
	return localKeeper([32]byte(key))
}

// localKeeper is a keeper with a key in memory. Its id identifies the key and
// reveals nothing about it.
func localKeeper(key [32]byte) (keeper, error) {
	derived, err := hkdf.Expand(sha256.New, key[:], "countersign keeper id v1", sha256.Size)
	if err != nil {
		return keeper{}, fmt.Errorf("name local key: %w", err)
	}
	sum := sha256.Sum256(derived)
	k := newKeeper(localsecrets.NewKeeper(key), "local:"+hex.EncodeToString(sum[:])[:16])
	k.local = true
	return k, nil
}
