// Package kms links the drivers of the key management services that package keys
// can use as keepers. A program imports it for its side effect, so that other
// packages and tests do not link the services' client libraries.
//
//   - awskms://KEY-ID-OR-ALIAS?region=… — AWS KMS
//   - azurekeyvault://VAULT.vault.azure.net/keys/NAME — Azure Key Vault
//   - gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K — Google Cloud KMS
//   - hashivault://KEY — the transit engine of HashiCorp Vault or OpenBao at
//     VAULT_SERVER_URL, with VAULT_SERVER_TOKEN
//
// Credentials come from each service's usual environment, never from the URL.
package kms

import (
	_ "gocloud.dev/secrets/awskms"        // awskms://
	_ "gocloud.dev/secrets/azurekeyvault" // azurekeyvault://
	_ "gocloud.dev/secrets/gcpkms"        // gcpkms://
	_ "gocloud.dev/secrets/hashivault"    // hashivault://
)
