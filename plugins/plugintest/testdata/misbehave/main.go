// Command misbehave is a plugin with faults for the host's tests. Its name in the
// catalogue selects what it declares, and each format has one fault.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

func main() {
	name := strings.TrimPrefix(os.Args[0], "countersign-plugin-")
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	switch name {
	case "exits":
		fmt.Fprintln(os.Stderr, "cannot start: \x1b[31mno reason\x1b[0m")
		os.Exit(3)
	case "mute":
		time.Sleep(time.Hour) // Go's runtime would end the process for an empty select
	case "strays":
		fmt.Println("1|1|unix|/tmp/countersign-elsewhere.sock|grpc|")
		select {}
	case "dialsout":
		fmt.Println("1|1|tcp|127.0.0.1:9|grpc|")
		select {}
	case "dies":
		fmt.Printf("1|1|unix|%s|grpc|\n", filepath.Join(dir, "none"))
		os.Exit(0)
	case "blurts":
		fmt.Println("CANARY: your host is \x1b[31m" + dir)
		select {}
	case "deaf":
		fmt.Printf("1|1|unix|%s|netrpc|\n", filepath.Join(dir, "none"))
		select {}
	}
	if name == "future" {
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig: sdk.Handshake, GRPCServer: goplugin.DefaultGRPCServer,
			VersionedPlugins: map[int]goplugin.PluginSet{2: {sdk.PluginName: future{}}},
		})
	}
	if name == "gossips" {
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig: sdk.Handshake, GRPCServer: goplugin.DefaultGRPCServer,
			VersionedPlugins: map[int]goplugin.PluginSet{1: {sdk.PluginName: gossip{}}},
		})
	}
	sdk.Serve(plugin(name))
}

// gossip is a renderer that puts its own text into the error of Describe.
type gossip struct {
	goplugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedRendererServer
}

func (g gossip) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterRendererServer(s, g)
	return nil
}

func (gossip) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

func (gossip) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return nil, errors.New("CANARY: nobody asked me")
}

// future is a renderer that supports only a later protocol version.
type future struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (future) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (future) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

type plugin string

func (p plugin) Formats() []sdk.Format {
	made := declared[string(p)]
	if strings.HasPrefix(string(p), "crash") { // tests use any number of these names
		made = []sdk.Format{{ID: string(p)}}
	}
	for i := range made {
		if made[i].Filename == "" {
			made[i].Filename = made[i].ID + ".out"
		}
		made[i].MediaType = "application/octet-stream"
	}
	return made
}

const optionsA = `{"type":"object","properties":{"a":{"type":"integer","minimum":1,"maximum":9}},"required":["a"]}`

var declared = map[string][]sdk.Format{
	"bad": {
		{ID: "pid"}, {ID: "echo"}, {ID: "exit"}, {ID: "hang"}, {ID: "patient"}, {ID: "slow"}, {ID: "huge"}, {ID: "empty"}, {ID: "refuse"},
		{ID: "panic", NeedsKey: true, NeedsPassphrase: true},
		{ID: "burst", NeedsKey: true, NeedsPassphrase: true},
		{ID: "babble", NeedsKey: true, NeedsPassphrase: true},
	},
	"clash":    {{ID: "other", Filename: "cert.pem"}},
	"unlisted": {{ID: "surprise"}},
	"path":     {{ID: "path", Filename: "../path"}},
	"header":   {{ID: "header", Filename: "a.pem\r\nSet-Cookie: a=b"}},
	"nul":      {{ID: "nul", Filename: "a\x00.pem"}},
	"thief":    {{ID: "cert", Filename: "stolen.pem"}},
	"swapped":  {{ID: "honest"}},
	"tardy":    {{ID: "late"}, {ID: "prompt"}},
	"twofold":  {{ID: "twofold", Targets: []sdk.Target{{ID: "a", Title: "A", ImportCommand: "a"}, {ID: "a", Title: "A", ImportCommand: "a"}}}},
	"aiming": {
		{ID: "aims", OptionsSchema: json.RawMessage(optionsA), Targets: []sdk.Target{aim(nil), aim(map[string]any{"a": 9})}},
		{ID: "aims-high", OptionsSchema: json.RawMessage(optionsA), Targets: []sdk.Target{aim(map[string]any{"a": 10})}},
		{ID: "aims-wide", Targets: []sdk.Target{aim(map[string]any{"a": 9})}},
		{ID: "aims-through", Includes: []string{"aims"}, Targets: []sdk.Target{aim(map[string]any{"a": 9})}},
	},
	"loop": {
		{ID: "loop-a", Includes: []string{"loop-b"}}, {ID: "loop-b", Includes: []string{"loop-a"}},
		{ID: "lost", Includes: []string{"nowhere"}}, {ID: "fine"},
	},
	"asks": {
		{ID: "asks-key", NeedsKey: true}, {ID: "asks-passphrase", NeedsPassphrase: true},
		{ID: "snoops", Includes: []string{"key"}}, {ID: "modest"},
	},
	"nested": {
		{ID: "inner", OptionsSchema: json.RawMessage(optionsA), NeedsKey: true},
		{ID: "outer", Includes: []string{"inner", "chain"}, OptionsSchema: json.RawMessage(`{"properties":{"b":{"type":"string"}}}`)},
		{ID: "outermost", Includes: []string{"outer", "inner"}},
		{ID: "rival", Includes: []string{"inner"}, OptionsSchema: json.RawMessage(`{"properties":{"a":{"type":"string"}}}`)},
		{ID: "remote", OptionsSchema: json.RawMessage(`{"properties":{"a":{"$ref":"file:///etc/hostname"}}}`)},
	},
}

func aim(options map[string]any) sdk.Target {
	return sdk.Target{ID: fmt.Sprintf("with-%d", len(options)), Title: "Something", Options: options, ImportCommand: "take {file} {alias}"}
}

// echo is the environment and the job of a plugin.
type echo struct {
	Env        []string
	Stdin      int
	Dir        string
	Key        []byte
	Passphrase string
	Options    json.RawMessage
	Files      map[string][]byte
}

func (p plugin) Render(ctx context.Context, job sdk.Job) ([]byte, error) {
	switch job.Format {
	case "pid", string(p):
		return []byte(strconv.Itoa(os.Getpid())), nil
	case "exit":
		os.Exit(2)
	case "hang":
		select {}
	case "patient":
		<-ctx.Done()
		return nil, ctx.Err()
	case "late":
		<-ctx.Done() // the caller has stopped waiting
		time.Sleep(100 * time.Millisecond)
		return []byte("too late"), nil
	case "slow":
		time.Sleep(200 * time.Millisecond) // a render that takes a while
		return []byte(strconv.Itoa(os.Getpid())), nil
	case "huge":
		return make([]byte, 20<<20), nil // more than a host accepts by default
	case "empty":
		return nil, nil
	case "refuse":
		return nil, errors.New("no such thing\nforged=line " + strings.Repeat("x", 4096))
	case "panic":
		panic(fmt.Sprintf("%s %s", job.PrivateKey, job.Passphrase))
	case "burst":
		go panic(fmt.Sprintf("%s %s", job.PrivateKey, job.Passphrase))
		select {}
	case "babble":
		fmt.Printf("%s %s\n", job.PrivateKey, job.Passphrase)
		fmt.Fprintf(os.Stderr, "%s %s\n", job.PrivateKey, job.Passphrase)
		runtime.Gosched()
		return nil, fmt.Errorf("cannot use %s with %s", job.PrivateKey, job.Passphrase)
	}
	stdin, _ := io.ReadAll(os.Stdin)
	dir, _ := os.Getwd()
	return json.Marshal(echo{
		Env: os.Environ(), Stdin: len(stdin), Dir: dir, Key: job.PrivateKey, Passphrase: job.Passphrase,
		Options: job.Options, Files: job.Files,
	})
}
