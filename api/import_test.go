package api_test

import (
	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/certimport"
)

func importPEM(certificate, chain, key string) (api.Bundle, error) {
	b, err := certimport.PEM(certificate, chain, key)
	return api.Bundle(b), err
}

func importPKCS12(file []byte, passphrase engine.Secret) (api.Bundle, error) {
	b, err := certimport.PKCS12(file, passphrase)
	return api.Bundle(b), err
}
