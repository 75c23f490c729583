// Command jks is the format plugin for Java keystores in Sun's format (JKS): one
// with the key, the certificate and its chain, and one with trusted certificates.
// JKS protects a key only with SHA-1 and has no standard. It is for software that
// cannot read PKCS#12, which Java reads since version 8. Start with render.
package main

import (
	"context"
	"crypto/rand"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// options are the options that callers can set. An alias is ASCII because JKS
// stores Java's modified UTF-8, and because users type aliases in shells.
type options struct {
	Alias string `json:"alias" minLength:"1" maxLength:"128" pattern:"^[!-~]([ -~]*[!-~])?$" title:"Alias" description:"The name of the entry in the keystore. JKS stores it in lower case. The default is the certificate's name. Further trusted certificates have the suffix -2, -3 and so on."`
}

const mediaType = "application/x-java-keystore"

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{
		{
			ID: "jks", Filename: "keystore.jks", MediaType: mediaType, NeedsKey: true, NeedsPassphrase: true,
			Description:   "The private key, the certificate and its chain in a Java keystore (JKS). Its encryption is weak. The keystore and the key have the same passphrase.",
			TypicalUse:    "Java software that accepts only JKS, such as older application servers. Java 8 and later also read bundle.pkcs12, which protects the key better.",
			OptionsSchema: sdk.OptionsSchema[options](),
			Targets: []sdk.Target{
				{ID: "java-jks", Title: "Java software that accepts only JKS", ImportCommand: `keytool -importkeystore -srckeystore {file} -srcstoretype JKS -destkeystore keystore.jks -deststoretype JKS`},
			},
		},
		{
			ID: "jks-truststore", Filename: "truststore.jks", MediaType: mediaType, NeedsPassphrase: true,
			Description:   "The intermediate certificates as trusted entries of a Java keystore (JKS), or the certificate itself if it has no chain. Java uses the passphrase to check that the file is unchanged.",
			TypicalUse:    "Java clients that must trust servers with certificates from the same issuer (javax.net.ssl.trustStore).",
			OptionsSchema: sdk.OptionsSchema[options](),
			Targets: []sdk.Target{
				{ID: "java-truststore", Title: "Java 8 and later: trust the issuer", ImportCommand: `keytool -importkeystore -srckeystore {file} -srcstoretype JKS -destkeystore truststore.p12 -deststoretype PKCS12`},
			},
		},
	}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) {
	return render(job, rand.Reader)
}

func main() { sdk.Serve(renderer{}) }
