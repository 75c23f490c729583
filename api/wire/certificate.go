package wire

import "time"

// Certificate describes a stored certificate. Only a download contains its private
// key.
type Certificate struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Subject       string    `json:"subject" doc:"All attributes as RFC 4514 writes them; in lists cut to 256 characters"`
	SANs          []string  `json:"sans" doc:"Subject alternative names of every kind; in lists the first 20, each cut to 256 characters"`
	SANCount      int       `json:"san_count,omitempty" doc:"How many alternative names there are; only in lists"`
	Issuer        string    `json:"issuer" doc:"Like subject"`
	Serial        string    `json:"serial" doc:"Hexadecimal, with a minus sign if it is negative; in lists cut to 256 characters"`
	NotBefore     time.Time `json:"not_before"`
	NotAfter      time.Time `json:"not_after"`
	KeyAlgorithm  string    `json:"key_algorithm" doc:"Such as RSA-2048, ECDSA-P256 or Ed25519"`
	HasPrivateKey bool      `json:"has_private_key"`
	Fingerprint   string    `json:"fingerprint_sha256" doc:"Hexadecimal SHA-256 of the DER form"`
	ChainLength   int       `json:"chain_length" doc:"Number of issuers stored with it, without self-signed roots"`
	Warnings      []string  `json:"warnings,omitempty" doc:"What the import could not check, such as a signature, and why some software may refuse the certificate"`
	// Chain is in the answer about one certificate, not in lists.
	Chain []ChainCertificate `json:"chain,omitempty" doc:"The issuers stored with it, the issuer of the certificate first; not in lists"`
}

// ChainCertificate is one of the issuers above a certificate.
type ChainCertificate struct {
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint_sha256" doc:"Hexadecimal SHA-256 of the DER form"`
}

// ImportBody imports a certificate, as PEM or as PKCS#12.
type ImportBody struct {
	Name           string `json:"name" doc:"The name that people see"`
	CertificatePEM string `json:"certificate_pem,omitempty" doc:"The leaf; its chain may follow in the same text"`
	ChainPEM       string `json:"chain_pem,omitempty" doc:"Its issuers, in any order"`
	PrivateKeyPEM  Secret `json:"private_key_pem,omitempty" doc:"PKCS#1, SEC 1 or PKCS#8, not encrypted"`
	PKCS12Base64   Secret `json:"pkcs12_base64,omitempty" doc:"A PKCS#12 file in base64, instead of the PEM members"`
	Passphrase     Secret `json:"passphrase,omitempty" doc:"Of the PKCS#12 file"`
}

// Event is one entry of a certificate's timeline.
type Event struct {
	ID        string    `json:"id"`
	Type      string    `json:"type" doc:"Such as cert.imported or cert.downloaded"`
	Time      time.Time `json:"time"`
	Actor     Actor     `json:"actor"`
	IP        string    `json:"ip"`
	Format    string    `json:"format"`
	RequestID string    `json:"request_id"`
}
