// Package cloud links the drivers of the object stores that package anchor can use. A
// program imports it for its side effect, so that other packages and tests do not link
// the services' client libraries.
//
//   - s3://BUCKET/OBJECT?region=… — Amazon S3, and stores that speak its protocol (endpoint=…)
//   - azblob://CONTAINER/OBJECT — Azure Blob Storage
//
// Credentials come from each service's usual environment, never from the URL.
package cloud

import (
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/s3blob"    // s3://
)
