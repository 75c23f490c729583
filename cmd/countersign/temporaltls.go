package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/countersign-dev/countersign/engine"
)

// secure adds TLS and the credential of the settings to a client's options. It reads each
// file once, so that a wrong one is an error at the start.
func (c TemporalConfig) secure(options *client.Options) error {
	if key := os.Getenv("COUNTERSIGN_TEMPORAL_API_KEY"); key != "" && c.APIKeyFile == "" { // no setting: every setting is also a flag
		options.Credentials = client.NewAPIKeyStaticCredentials(key)
	}
	if c.APIKeyFile != "" {
		if _, err := c.apiKey(context.Background()); err != nil {
			return err
		}
		options.Credentials = client.NewAPIKeyDynamicCredentials(c.apiKey)
	}
	if !c.TLS && c.CAFile == "" && c.CertFile == "" && c.ServerName == "" && options.Credentials == nil {
		return nil
	}
	config, err := c.tlsConfig()
	if err != nil {
		return err
	}
	// The options of the dialer come after the library's own, so this replaces them.
	options.ConnectionOptions.TLS = config
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, grpc.WithTransportCredentials(renewedTLS{credentials.NewTLS(config), c}))
	return nil
}

// apiKey reads the key for each call, so that a new one is used without a restart.
func (c TemporalConfig) apiKey(context.Context) (string, error) {
	text, err := engine.ReadSecretFile(c.APIKeyFile)
	if err != nil {
		return "", fmt.Errorf("read temporal.api_key_file: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return "", errors.New("read temporal.api_key_file: it is empty")
	}
	return key, nil
}

func (c TemporalConfig) tlsConfig() (*tls.Config, error) {
	return clientTLS("temporal", c.CAFile, c.CertFile, c.KeyFile, c.ServerName)
}

// clientTLS makes a client's configuration from the files of the settings in a group. Any
// of them may be "".
func clientTLS(group, caFile, certFile, keyFile, serverName string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	var err error
	if caFile != "" {
		if config.RootCAs, err = readAuthorities(group+".ca_file", caFile); err != nil {
			return nil, err
		}
	}
	if certFile != "" {
		pair, err := readPair(group+".cert_file", certFile, group+".key_file", keyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// renewedTLS reads the files again for each connection, so that new certificates and
// authorities are used without a restart. While they cannot be read, connections fail.
type renewedTLS struct {
	credentials.TransportCredentials
	settings TemporalConfig
}

// ClientHandshake implements credentials.TransportCredentials.
func (r renewedTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := r.settings.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (r renewedTLS) Clone() credentials.TransportCredentials {
	return renewedTLS{r.TransportCredentials.Clone(), r.settings}
}
