// Command jks is the format plugin that writes Java keystores in Sun's own
// format (JKS): one with key, certificate and chain, and one with certificates to
// trust. JKS protects a key by SHA-1 alone and has no standard; it is for software
// that does not take PKCS#12, which Java has read since version 8. Start with
// render.
package main

import (
	"context"
	"crypto/rand"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// An alias is ASCII because JKS stores Java's own kind of UTF-8, and people type
// aliases on command lines.
type options struct {
	Alias string `json:"alias" minLength:"1" maxLength:"128" pattern:"^[!-~]([ -~]*[!-~])?$" title:"Alias" description:"What Java calls the entry, in lower case as keystores of this kind keep it; default is the certificate's name. Further trusted certificates get -2, -3 and so on behind it."`
}

const mediaType = "application/x-java-keystore"

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{
		{
			ID: "jks", Filename: "keystore.jks", MediaType: mediaType, NeedsKey: true, NeedsPassphrase: true,
			Description:   "Private key, certificate and chain in a Java keystore (JKS), which protects the key only weakly. The passphrase is that of the keystore and of the key.",
			TypicalUse:    "Java software that insists on JKS, such as older application servers. Java 8 and later also take bundle.pkcs12, which protects the key better.",
			OptionsSchema: sdk.OptionsSchema[options](),
			Targets: []sdk.Target{
				{ID: "java-jks", Title: "Java software that insists on JKS", ImportCommand: `keytool -importkeystore -srckeystore {file} -srcstoretype JKS -destkeystore keystore.jks -deststoretype JKS`},
			},
		},
		{
			ID: "jks-truststore", Filename: "truststore.jks", MediaType: mediaType, NeedsPassphrase: true,
			Description:   "The intermediate certificates, or the certificate itself where there are none, as trusted entries of a Java keystore (JKS). Under the passphrase Java checks that nobody changed the file.",
			TypicalUse:    "Java clients that must trust servers with certificates of the same issuer, as javax.net.ssl.trustStore.",
			OptionsSchema: sdk.OptionsSchema[options](),
			Targets: []sdk.Target{
				{ID: "java-truststore", Title: "Java 8 and later, to trust the issuer", ImportCommand: `keytool -importkeystore -srckeystore {file} -srcstoretype JKS -destkeystore truststore.p12 -deststoretype PKCS12`},
			},
		},
	}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) {
	return render(job, rand.Reader)
}

func main() { sdk.Serve(renderer{}) }
