package main

import "github.com/countersign-dev/countersign/plugins/sdk"

// The commands by which software takes the bundle over. Each asks for its
// passphrase.
const (
	intoWindows  = `Import-PfxCertificate -FilePath {file} -CertStoreLocation Cert:\LocalMachine\My -Password (Read-Host -AsSecureString)`
	intoKeychain = `security import {file} -f pkcs12 -k ~/Library/Keychains/login.keychain-db`
	intoKeystore = `keytool -importkeystore -srckeystore {file} -srcstoretype PKCS12 -destkeystore keystore.p12 -deststoretype PKCS12`
)

// older asks for what importers read that know AES in certificates but not in
// bundles, and call it a wrong password.
var older = map[string]any{"legacy": true}

// targets say which encryption an importer needs. Windows reads AES-256 since
// Windows 10 1709 and Server 2019, Java since 8u301, 11.0.12 and 12; macOS does
// since 15, of which there are contrary reports, while 3DES is sure.
var targets = []sdk.Target{
	{ID: "windows-server-2016", Title: "Windows Server 2016 and 2012", Options: older, ImportCommand: intoWindows},
	{ID: "windows-server-2019", Title: "Windows Server 2019", ImportCommand: intoWindows},
	{ID: "windows-server-2022", Title: "Windows Server 2022 and later", ImportCommand: intoWindows},
	{ID: "macos-14", Title: "macOS 14 and earlier", Options: older, ImportCommand: intoKeychain},
	{ID: "macos-15", Title: "macOS 15 and later", Options: older, ImportCommand: intoKeychain},
	{ID: "java-8-before-u301", Title: "Java 8 before update 301", Options: older, ImportCommand: intoKeystore},
	{ID: "java-8", Title: "Java 8, update 301 and later", ImportCommand: intoKeystore},
	{ID: "java-11", Title: "Java 11, update 11.0.12 and later", ImportCommand: intoKeystore},
	{ID: "java-17", Title: "Java 17 and later", ImportCommand: intoKeystore},
	{ID: "tomcat", Title: "Tomcat on Java 8u301 and later", ImportCommand: `install -D -o tomcat -m 600 {file} "$CATALINA_BASE/conf/keystore.p12"`},
	{ID: "openssl-1.1.1", Title: "OpenSSL 1.1.1", ImportCommand: `openssl pkcs12 -in {file} -out bundle.pem`},
	{ID: "openssl-3", Title: "OpenSSL 3", ImportCommand: `openssl pkcs12 -in {file} -out bundle.pem`},
}
