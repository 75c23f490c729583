package sdk

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate

// ProtocolVersion is the protocol version of pluginv1/render.proto.
const ProtocolVersion = 1

// PluginName is the name under which go-plugin dispenses the renderer.
const PluginName = "renderer"

// MaxMessage is the largest request that a plugin accepts, in bytes. A request
// contains the included files.
const MaxMessage = 64 << 20

// HostPIDVariable is the environment variable with the process id of the host.
const HostPIDVariable = "COUNTERSIGN_PLUGIN_HOST_PID"

// Handshake must be the same in host and plugin. The cookie only lets a plugin tell
// a user who starts it directly that it is a plugin; it is not a secret.
var Handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "COUNTERSIGN_PLUGIN",
	MagicCookieValue: "d0b1f2c6-format-renderer",
}

// Versions returns the plugin set of each protocol version, for go-plugin. Host and
// plugin use the newest version that both have. A new version gets an additional
// entry.
func Versions() map[int]plugin.PluginSet { return versions(nil) }

func versions(s pluginv1.RendererServer) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &Plugin{server: s}}}
}

// Plugin connects go-plugin to the Renderer service, in the plugin and in the host.
// The host uses the zero value; Dispense returns a pluginv1.RendererClient.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	server pluginv1.RendererServer
}

var _ plugin.GRPCPlugin = (*Plugin)(nil)

// GRPCServer implements plugin.GRPCPlugin.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, registrar *grpc.Server) error {
	if p.server == nil {
		return errors.New("sdk: this Plugin has no server; start a plugin with sdk.Serve")
	}
	pluginv1.RegisterRendererServer(registrar, p.server)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pluginv1.NewRendererClient(conn), nil
}
