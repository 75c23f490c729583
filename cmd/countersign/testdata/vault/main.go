// Vault is a server of HashiCorp Vault's own code with its transit engine and no other, for a
// test: vault ADDRESS FOLDER. It keeps its data in a folder, so it is sealed after each start.
// Vault's own command does not build as a module: engines that it links need a state of its
// SDK that was not published as a version.
package main

import (
	"net"
	"net/http"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"
)

// noBuiltins says that this Vault has no engines but the one that is linked.
type noBuiltins struct{}

func (noBuiltins) Contains(string, consts.PluginType) bool                   { return false }
func (noBuiltins) Get(string, consts.PluginType) (func() (any, error), bool) { return nil, false }
func (noBuiltins) Keys(consts.PluginType) []string                           { return nil }
func (noBuiltins) IsBuiltinEntPlugin(string, consts.PluginType) bool         { return false }
func (noBuiltins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, false
}

func main() {
	log := hclog.New(&hclog.LoggerOptions{Output: os.Stderr})
	if err := serve(os.Args[1], os.Args[2], log); err != nil {
		log.Error("it cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(address, folder string, log hclog.Logger) error {
	storage, err := file.NewFileBackend(map[string]string{"path": folder}, log)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical: storage, Logger: log, DisableMlock: true, RedirectAddr: "http://" + address,
		LogicalBackends: map[string]logical.Factory{"transit": transit.Factory}, BuiltinRegistry: noBuiltins{},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return http.Serve(listener, vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}}))
}
