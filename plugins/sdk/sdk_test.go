package sdk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// roleVariable tells the test program to act as a plugin, or as a host that starts
// one.
const roleVariable = "COUNTERSIGN_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "plugin":
		Serve(failing{})
	case "host":
		hostUntilKilled()
	default:
		os.Exit(m.Run())
	}
}

// hostUntilKilled starts a plugin without the sandbox, whose parent-death signal would
// end it, and prints the plugin's handshake.
func hostUntilKilled() {
	plugin := exec.Command(os.Args[0])
	plugin.Env = []string{roleVariable + "=plugin", Handshake.MagicCookieKey + "=" + Handshake.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1"}
	if os.Getenv("NAMED") != "" {
		plugin.Env = append(plugin.Env, HostPIDVariable+"="+strconv.Itoa(os.Getpid()))
	}
	plugin.Stdout = os.Stdout
	if err := plugin.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("pid", plugin.Process.Pid)
	select {}
}

// failing is a renderer with one format for each way to fail.
type failing struct{}

func (failing) Formats() []Format {
	return []Format{{ID: "panic", Filename: "panic.out", Includes: []string{"cert"}, OptionsSchema: json.RawMessage(`{}`), NeedsKey: true}}
}

func (failing) Render(ctx context.Context, job Job) ([]byte, error) {
	switch job.Format {
	case "panic":
		panic(job.Passphrase)
	case "refuse":
		return nil, errors.New("not today")
	case "wait":
		<-ctx.Done()
		return nil, fmt.Errorf("wait: %w", ctx.Err())
	}
	return append(job.Files["cert.pem"], job.PrivateKey...), nil
}

func TestPluginEndsWithItsHost(t *testing.T) {
	for _, named := range []string{"", "yes"} {
		host := exec.Command(os.Args[0])
		host.Env = append(os.Environ(), roleVariable+"=host", "NAMED="+named)
		out, err := host.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := host.Start(); err != nil {
			t.Fatal(err)
		}
		plugin, serving := 0, false
		for lines := bufio.NewScanner(out); plugin == 0 || !serving; {
			if !lines.Scan() {
				t.Fatalf("the plugin did not start: %v", lines.Err())
			}
			serving = serving || strings.HasPrefix(lines.Text(), "1|1|unix|")
			_, _ = fmt.Sscanf(lines.Text(), "pid %d", &plugin) // the other line is the handshake
		}
		if err := host.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		waitUntilEnded(t, plugin)
		_ = host.Wait() // it was killed
	}
}

// A plugin runs under a host that also supports a later protocol version.
func TestPluginRunsUnderALaterHost(t *testing.T) {
	next := Versions()
	next[2] = plugin.PluginSet{PluginName: &Plugin{}}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: Handshake, VersionedPlugins: next, AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS: true, Cmd: exec.Command(os.Args[0]), Logger: hclog.NewNullLogger(),
	})
	t.Cleanup(client.Kill)
	t.Setenv(roleVariable, "plugin")
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	if got := client.NegotiatedVersion(); got != 1 {
		t.Errorf("host and plugin use protocol version %d", got)
	}
	dispensed, err := protocol.Dispense(PluginName)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := dispensed.(pluginv1.RendererClient).Render(t.Context(), &pluginv1.RenderRequest{Format: "fine", PrivateKey: []byte("key")})
	if err != nil || string(answer.GetContent()) != "key" {
		t.Errorf("got %q, %v", answer.GetContent(), err)
	}
}

// A plugin ends at once if its host ended before the plugin started.
func TestPluginEndsIfItsHostHasEnded(t *testing.T) {
	gone := exec.Command(os.Args[0], "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	plugin := exec.Command(os.Args[0])
	plugin.Env = []string{roleVariable + "=plugin", Handshake.MagicCookieKey + "=" + Handshake.MagicCookieValue, HostPIDVariable + "=" + strconv.Itoa(gone.Process.Pid)}
	var exit *exec.ExitError
	if err := plugin.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("got %v", err)
	}
}

func waitUntilEnded(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); syscall.Kill(pid, 0) == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("plugin %d still runs after its host has ended", pid)
		}
	}
}

func TestUserWhoStartsAPluginGetsAMessage(t *testing.T) {
	plugin := exec.Command(os.Args[0])
	plugin.Env = []string{roleVariable + "=plugin"}
	printed, err := plugin.CombinedOutput()
	if err == nil || !strings.Contains(string(printed), "This binary is a plugin") {
		t.Errorf("got %v, %s", err, printed)
	}
}

func TestServerRendersAndDescribes(t *testing.T) {
	s := &server{renderer: failing{}}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for format, want := range map[string]codes.Code{"fine": codes.OK, "panic": codes.Internal, "refuse": codes.FailedPrecondition, "wait": codes.Canceled} {
		answer, err := s.Render(ended, &pluginv1.RenderRequest{
			Format: format, PrivateKey: []byte("CANARY"), Passphrase: "CANARY",
			Files: []*pluginv1.File{{Filename: "cert.pem", Content: []byte("file ")}},
		})
		if status.Code(err) != want || err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v, want %s", format, err, want)
		}
		if err == nil && string(answer.GetContent()) != "file CANARY" {
			t.Errorf("%s: got %q", format, answer.GetContent())
		}
	}
	described, err := s.Describe(t.Context(), nil)
	if err != nil || described.GetVersion() == "" || len(described.GetFormats()) != 1 {
		t.Fatalf("got %v, %v", described, err)
	}
	f := described.GetFormats()[0]
	if f.GetId() != "panic" || f.GetFilename() != "panic.out" || !f.GetNeedsKey() || f.GetOptionsSchema() != "{}" || f.GetIncludes()[0] != "cert" {
		t.Errorf("got %v", f)
	}
}

func TestJobPrintsNoSecret(t *testing.T) {
	job := Job{Format: "key", PrivateKey: []byte("CANARY"), Passphrase: "CANARY", Files: map[string][]byte{"key.pem": []byte("CANARY")}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("job", "job", job)
	encoded, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(encoded), fmt.Sprint(job), fmt.Sprintf("%+v", job), fmt.Sprintf("%#v", job), log.String()} {
		if strings.Contains(text, "CANARY") || strings.Contains(text, "67 65") || !strings.Contains(text, "job for format key") {
			t.Errorf("got %s", text)
		}
	}
}
