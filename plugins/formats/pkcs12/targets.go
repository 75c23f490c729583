package main

import "github.com/countersign-dev/countersign/plugins/sdk"

// These commands import the bundle. Each asks for the passphrase.
const (
	windowsImport  = `Import-PfxCertificate -FilePath {file} -CertStoreLocation Cert:\LocalMachine\My -Password (Read-Host -AsSecureString)`
	keychainImport = `security import {file} -f pkcs12 -k ~/Library/Keychains/login.keychain-db`
	keystoreImport = `keytool -importkeystore -srckeystore {file} -srcstoretype PKCS12 -destkeystore keystore.p12 -deststoretype PKCS12`
)

// legacyOptions are for importers that cannot read AES-256 in bundles and report a
// wrong password.
var legacyOptions = map[string]any{"legacy": true}

// targets set the encryption that each importer needs. Windows reads AES-256 since
// Windows 10 1709 and Server 2019, Java since 8u301, 11.0.12 and 12. Reports about
// macOS 15 differ, so it uses 3DES, which always works.
var targets = []sdk.Target{
	{ID: "windows-server-2016", Title: "Windows Server 2016 and 2012", Options: legacyOptions, ImportCommand: windowsImport},
	{ID: "windows-server-2019", Title: "Windows Server 2019", ImportCommand: windowsImport},
	{ID: "windows-server-2022", Title: "Windows Server 2022 and later", ImportCommand: windowsImport},
	{ID: "macos-14", Title: "macOS 14 and earlier", Options: legacyOptions, ImportCommand: keychainImport},
	{ID: "macos-15", Title: "macOS 15 and later", Options: legacyOptions, ImportCommand: keychainImport},
	{ID: "java-8-before-u301", Title: "Java 8 before update 301", Options: legacyOptions, ImportCommand: keystoreImport},
	{ID: "java-8", Title: "Java 8, update 301 and later", ImportCommand: keystoreImport},
	{ID: "java-11", Title: "Java 11, update 11.0.12 and later", ImportCommand: keystoreImport},
	{ID: "java-17", Title: "Java 17 and later", ImportCommand: keystoreImport},
	{ID: "tomcat", Title: "Tomcat on Java 8u301 and later", ImportCommand: `install -D -o tomcat -m 600 {file} "$CATALINA_BASE/conf/keystore.p12"`},
	{ID: "openssl-1.1.1", Title: "OpenSSL 1.1.1", ImportCommand: `openssl pkcs12 -in {file} -out bundle.pem`},
	{ID: "openssl-3", Title: "OpenSSL 3", ImportCommand: `openssl pkcs12 -in {file} -out bundle.pem`},
}
