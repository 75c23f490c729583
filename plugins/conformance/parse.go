package conformance

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"github.com/smallstep/pkcs7"
	"github.com/youmark/pkcs8"
	"go.yaml.in/yaml/v3"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/engine/certparse"
	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// content holds the certificates and keys of a file.
type content struct {
	certificates []*x509.Certificate
	keys         []any
}

// parser opens one kind of file.
type parser func(file []byte, passphrase string) (content, error)

// parserOf returns nil for files that the suite cannot open.
func parserOf(f *pluginv1.Format) parser {
	if p := parserFor(path.Ext(f.GetFilename())); p != nil {
		return p
	}
	return parserFor(f.GetMediaType())
}

// parserFor returns the parser for a file name extension or a media type.
func parserFor(kind string) parser {
	switch kind {
	case ".pem", ".crt", "application/x-pem-file", "application/pem-certificate-chain":
		return parsePEM
	case ".der", ".cer", "application/pkix-cert", "application/pkcs8":
		return parseDER
	case ".p7b", ".p7c", "application/x-pkcs7-certificates":
		return parsePKCS7
	case ".p12", ".pfx", ".pkcs12", "application/x-pkcs12":
		return parsePKCS12
	case ".jks", "application/x-java-keystore":
		return parseJKS
	case ".zip", "application/zip":
		return parseZIP
	case ".json", "application/json":
		return parseJSON
	case ".yaml", ".yml", "application/yaml":
		return parseYAML
	}
	return nil
}

// open opens the file, if the suite can, and checks that its content belongs to the
// job.
func open(f *pluginv1.Format, file []byte, j sdk.Job) error {
	parse := parserOf(f)
	if parse == nil {
		return nil
	}
	c, err := parse(file, j.Passphrase)
	if err != nil {
		return fmt.Errorf("it cannot be opened: %w", err)
	}
	return c.belongsTo(j)
}

// belongsTo checks that the certificates and keys are the job's. A renderer may add
// certificates of its own, but not replace the job's.
func (c content) belongsTo(j sdk.Job) error {
	leaf, chain, err := j.Certificates()
	if err != nil {
		return err
	}
	found := len(c.certificates) == 0
	for _, present := range c.certificates {
		for _, certificate := range append(chain, leaf) {
			found = found || present.Equal(certificate)
		}
	}
	if !found {
		return errors.New("none of its certificates belongs to the job")
	}
	for _, key := range c.keys {
		signer, ok := key.(crypto.Signer)
		if !ok {
			return fmt.Errorf("it contains a key of type %T", key)
		}
		if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
			return errors.New("its key does not belong to the certificate")
		}
	}
	return nil
}

func parsePEM(file []byte, passphrase string) (c content, err error) {
	block, rest := pem.Decode(file)
	if block == nil {
		return c, errors.New("it contains no PEM")
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		var found content
		switch block.Type {
		case "CERTIFICATE", "PRIVATE KEY":
			found, err = parseDER(block.Bytes, passphrase)
		case "PKCS7":
			found, err = parsePKCS7(block.Bytes, passphrase)
		case "ENCRYPTED PRIVATE KEY":
			var key any
			key, err = pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(passphrase))
			found.keys = []any{key}
		case "RSA PRIVATE KEY":
			var key any
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
			found.keys = []any{key}
		case "EC PRIVATE KEY":
			var key any
			key, err = x509.ParseECPrivateKey(block.Bytes)
			found.keys = []any{key}
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", block.Type, err)
		}
		c.certificates, c.keys = append(c.certificates, found.certificates...), append(c.keys, found.keys...)
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) {
		return c, errors.New("a PEM block in it is broken")
	}
	return c, nil
}

func parseDER(file []byte, _ string) (content, error) {
	certificate, err := certparse.Parse(file)
	if err == nil {
		return content{certificates: []*x509.Certificate{certificate}}, nil
	}
	if key, notKey := x509.ParsePKCS8PrivateKey(file); notKey == nil {
		return content{keys: []any{key}}, nil
	}
	return content{}, err
}

func parsePKCS7(file []byte, _ string) (content, error) {
	if block, _ := pem.Decode(file); block != nil {
		file = block.Bytes
	}
	bundle, err := pkcs7.Parse(file)
	if err != nil {
		return content{}, err
	}
	return content{certificates: bundle.Certificates}, nil
}

func parsePKCS12(file []byte, passphrase string) (content, error) {
	key, leaf, chain, err := pkcs12.DecodeChain(file, passphrase)
	if err == nil {
		return content{append(chain, leaf), []any{key}}, nil
	}
	if trusted, notTrusted := pkcs12.DecodeTrustStore(file, passphrase); notTrusted == nil {
		return content{certificates: trusted}, nil
	}
	return content{}, err
}

func parseJKS(file []byte, passphrase string) (c content, err error) {
	if !bytes.HasPrefix(file, []byte{0xfe, 0xed, 0xfe, 0xed}) { // Java accepts both under this name
		return parsePKCS12(file, passphrase)
	}
	store := keystore.New()
	if err := store.Load(bytes.NewReader(file), []byte(passphrase)); err != nil {
		return c, err
	}
	add := func(der []byte, parse parser) error {
		found, err := parse(der, passphrase)
		c.certificates, c.keys = append(c.certificates, found.certificates...), append(c.keys, found.keys...)
		return err
	}
	for _, alias := range store.Aliases() {
		if trusted, err := store.GetTrustedCertificateEntry(alias); err == nil {
			if err := add(trusted.Certificate.Content, parseDER); err != nil {
				return c, err
			}
			continue
		}
		entry, err := store.GetPrivateKeyEntry(alias, []byte(passphrase))
		if err != nil {
			return c, err
		}
		err = add(entry.PrivateKey, parseDER)
		for _, certificate := range entry.CertificateChain {
			err = errors.Join(err, add(certificate.Content, parseDER))
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

// parseZIP opens every entry by its extension. It does not open archives in archives,
// which may be nested without end.
func parseZIP(file []byte, passphrase string) (c content, err error) {
	entries, err := unzip(file)
	if err != nil {
		return c, err
	}
	for _, entry := range entries {
		parse := parserFor(path.Ext(entry.name))
		if parse == nil || path.Ext(entry.name) == ".zip" {
			continue
		}
		found, err := parse(entry.content, passphrase)
		if err != nil {
			return c, fmt.Errorf("entry %s: %w", entry.name, err)
		}
		c.certificates, c.keys = append(c.certificates, found.certificates...), append(c.keys, found.keys...)
	}
	return c, nil
}

// zipped is an entry of an archive.
type zipped struct {
	name    string
	content []byte
}

// unzip reads the entries, up to maxOutput bytes altogether. Their names must be safe
// to unpack.
func unzip(file []byte) (entries []zipped, err error) {
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	seen, left := map[string]bool{}, int64(maxOutput)
	for _, entry := range archive.File {
		if !filepath.IsLocal(entry.Name) || printable(entry.Name) != entry.Name || seen[entry.Name] {
			return nil, fmt.Errorf("its entry %q has a name that is unsafe to unpack, or not unique", entry.Name)
		}
		seen[entry.Name] = true
		reader, err := entry.Open()
		if err != nil {
			return nil, err
		}
		inside, err := io.ReadAll(io.LimitReader(reader, left))
		if err = errors.Join(err, reader.Close()); err != nil {
			return nil, fmt.Errorf("entry %s: %w", entry.Name, err)
		}
		entries, left = append(entries, zipped{entry.Name, inside}), left-int64(len(inside))
	}
	return entries, nil
}

func parseJSON(file []byte, _ string) (content, error) {
	var document any
	return content{}, json.Unmarshal(file, &document)
}

func parseYAML(file []byte, _ string) (content, error) {
	for decoder := yaml.NewDecoder(bytes.NewReader(file)); ; {
		var document any
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return content{}, nil
		case err != nil:
			return content{}, err
		}
	}
}
