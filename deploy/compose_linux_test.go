package deploy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func readCompose(t *testing.T, environment types.Mapping) (*types.Project, error) {
	t.Helper()
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: "compose", ConfigFiles: []types.ConfigFile{{Filename: "compose/compose.yaml"}}, Environment: environment,
	})
}

// The Compose file is one that Compose reads; every service is checked, has no privileges
// that it does not need and no password in clear; nothing but the proxy can be reached.
func TestTheComposeFile(t *testing.T) {
	project, err := readCompose(t, types.Mapping{"COUNTERSIGN_IMAGE": "countersign:v1", "COUNTERSIGN_HOST": "countersign.example.com"})
	noError(t, err)
	if len(project.Services) != 5 {
		t.Errorf("it has the services %v", project.ServiceNames())
	}
	for name, service := range project.Services {
		if service.HealthCheck == nil || !slices.Contains(service.CapDrop, "ALL") || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") || service.Privileged {
			t.Errorf("%s is not checked, or has privileges", name)
		}
		if !service.ReadOnly && name != "temporal" { // the file says why
			t.Errorf("%s can write to its root", name)
		}
		if (len(service.Ports) > 0) != (name == "proxy") {
			t.Errorf("%s can be reached at %v", name, service.Ports)
		}
		for variable, value := range service.Environment {
			if value != nil && strings.Contains(variable, "PASSWORD") && !strings.HasPrefix(*value, "/run/secrets/") {
				t.Errorf("%s has %s in clear", name, variable)
			}
		}
		if !strings.Contains(strings.TrimPrefix(service.Image, "registry:"), ":") || strings.HasSuffix(service.Image, ":latest") {
			t.Errorf("%s runs any version: %s", name, service.Image)
		}
	}
	for name, secret := range project.Secrets {
		if secret.File == "" || secret.Content != "" || secret.Environment != "" {
			t.Errorf("the secret %s is not in a file", name)
		}
	}
	if !project.Networks["engines"].Internal {
		t.Error("the engines can be reached from outside")
	}
	proxy := project.Services["proxy"].Networks["front"].Ipv4Address
	if trusted := project.Services["countersign"].Environment["COUNTERSIGN_TRUSTED_PROXIES"]; trusted == nil || *trusted != proxy {
		t.Errorf("it trusts %v, and the proxy is %s", trusted, proxy)
	}
	for _, missing := range []string{"COUNTERSIGN_IMAGE", "COUNTERSIGN_HOST"} {
		environment := types.Mapping{"COUNTERSIGN_IMAGE": "i:1", "COUNTERSIGN_HOST": "h"}
		delete(environment, missing)
		if _, err := readCompose(t, environment); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// The Dockerfile is one that BuildKit reads, and its image is as the one that is made
// without an engine: a number as the user, nothing but the server, the same settings.
func TestTheDockerfile(t *testing.T) {
	file, err := os.Open("Dockerfile")
	noError(t, err)
	defer file.Close()
	parsed, err := parser.Parse(file)
	noError(t, err)
	stages, _, err := instructions.Parse(parsed.AST, nil)
	noError(t, err)
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" {
		t.Errorf("it is based on %s", last.BaseName)
	}
	user, settings := "", map[string]string{}
	for _, command := range last.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EnvCommand:
			for _, pair := range c.Env {
				settings[pair.Key] = pair.Value
			}
		case *instructions.RunCommand:
			t.Error("there is no shell in it that could run a command")
		}
	}
	if user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
	config, err := readImage(t, artifact(t, "IMAGE")).ConfigFile()
	noError(t, err)
	for _, variable := range config.Config.Env {
		if name, value, _ := strings.Cut(variable, "="); settings[name] != value {
			t.Errorf("%s is %q, and in the other image %q", name, settings[name], value)
		}
	}
	if len(settings) != len(config.Config.Env) {
		t.Errorf("it has the variables %v, and the other image %v", settings, config.Config.Env)
	}
}
