package sdk

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate

// ProtocolVersion is the version of the protocol that pluginv1/render.proto is.
const ProtocolVersion = 1

// PluginName is the name under which go-plugin dispenses the renderer.
const PluginName = "renderer"

// MaxMessage is the most, in bytes, that a plugin accepts in one call: the
// included files and everything beside them.
const MaxMessage = 64 << 20

// HostPIDVariable is the environment variable that tells a plugin its host's
// process id.
const HostPIDVariable = "COUNTERSIGN_PLUGIN_HOST_PID"

// Handshake is what host and plugin must agree on before they talk. The cookie
// keeps people from starting a plugin by hand; it protects nothing.
var Handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "COUNTERSIGN_PLUGIN",
	MagicCookieValue: "d0b1f2c6-format-renderer",
}

// Versions is what go-plugin dispenses, by protocol version. Host and plugin talk
// in the newest version that both have; the next one gets an entry of its own
// beside this one.
func Versions() map[int]plugin.PluginSet { return versions(nil) }

func versions(s pluginv1.RendererServer) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &Plugin{server: s}}}
}

// Plugin connects go-plugin to the Renderer service, on both sides. The zero
// value is the host's; Dispense returns a pluginv1.RendererClient.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	server pluginv1.RendererServer
}

var _ plugin.GRPCPlugin = (*Plugin)(nil)

// GRPCServer implements plugin.GRPCPlugin.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, registrar *grpc.Server) error {
	if p.server == nil {
		return errors.New("sdk: the host's Plugin does not serve")
	}
	pluginv1.RegisterRendererServer(registrar, p.server)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pluginv1.NewRendererClient(conn), nil
}
