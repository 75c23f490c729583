package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCommandLine runs each script of testdata/script as a user would, in a
// project of its own. Beside testscript's commands they have:
//
//	as ROLE                 use the API key of that person of the sample project
//	exits CODE PROGRAM ...  run a program that must end with this exit code
//	mode FILE OCTAL         check a file's permissions
//	json VARIABLE PATH      take a value out of standard output, one JSON document
//	answers PATH            check that standard output is what the API answers there
//	issue VARIABLE          make a request whose token nobody uses
//	newest VARIABLE         wait for a pending approval, the newest
func TestCommandLine(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	noError(t, err)
	if len(scripts) == 0 {
		t.Fatal("there are no scripts")
	}
	program := binary(t)
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, catalogue := scriptServer(t, name, program)
			testscript.Run(t, testscript.Params{
				Files:               []string{script},
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup:               func(env *testscript.Env) error { return scriptEnvironment(env, s, program, catalogue) },
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"as": s.as, "exits": exits, "mode": mode, "json": jsonValue, "answers": s.answers, "issue": s.issue, "newest": s.newest,
				},
			})
		})
	}
}

// scriptServer is a script's server and the catalogue of its plugins. The script
// about plugins changes them, and has a server of its own that does not list
// k8s-secret at first.
func scriptServer(t *testing.T, script, program string) (*server, string) {
	t.Helper()
	if script != "plugin" {
		return project(t), filepath.Join(filepath.Dir(program), "plugins", "catalogue.json")
	}
	catalogue := ownPlugins(t, program, t.TempDir(), "k8s-secret")
	s := start(t, program, filepath.Join(t.TempDir(), "data"), "COUNTERSIGN_PLUGINS="+catalogue)
	t.Cleanup(s.stop) // a killed server leaves its sockets behind
	return s, catalogue
}

func scriptEnvironment(env *testscript.Env, s *server, program, catalogue string) error {
	env.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Setenv("PLUGINS", filepath.Dir(catalogue))
	env.Setenv(serverVariable, s.url)
	env.Setenv(projectVariable, s.boot.ProjectID)
	for i, name := range []string{"RSA", "ECDSA", "ED25519", "KEYLESS"} {
		env.Setenv(name, s.boot.Certificates[i].Name)
		env.Setenv(name+"_ID", s.boot.Certificates[i].ID)
	}
	return nil
}

func (s *server) as(ts *testscript.TestScript, _ bool, args []string) {
	key := s.key(args[0])
	if key == "" {
		ts.Fatalf("there is no key of %q", args[0])
	}
	ts.Setenv(keyVariable, key)
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	want, err := strconv.ParseUint(args[1], 8, 32)
	ts.Check(err)
	if info.Mode().Perm() != fs.FileMode(want) {
		ts.Fatalf("the mode of %s is %v, want %v", args[0], info.Mode().Perm(), fs.FileMode(want))
	}
}

func jsonValue(ts *testscript.TestScript, _ bool, args []string) {
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &value))
	for _, step := range strings.Split(args[1], ".") {
		switch at := value.(type) {
		case map[string]any:
			value = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(at) {
				ts.Fatalf("there is no item %d of %d", i, len(at))
			}
			value = at[i]
		default:
			value = nil
		}
	}
	if value == nil {
		ts.Fatalf("standard output has no %s", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

func (s *server) answers(ts *testscript.TestScript, _ bool, args []string) {
	var shown, answered any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &shown))
	status, text := s.call("admin", http.MethodGet, s.project()+args[0], "")
	if status != http.StatusOK {
		ts.Fatalf("GET %s: %d %s", args[0], status, text)
	}
	ts.Check(json.Unmarshal(text, &answered))
	if !reflect.DeepEqual(shown, answered) {
		ts.Fatalf("printed %v\nanswered %v", shown, answered)
	}
}

func (s *server) issue(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], s.mint(0, "cert").RequestID)
}

func (s *server) newest(ts *testscript.TestScript, _ bool, args []string) {
	var page struct{ Items []struct{ ID string } }
	eventually(s.t, "a pending approval", func() bool {
		s.must(http.StatusOK, &page, "admin", http.MethodGet, s.project()+"/approvals?status=pending&limit=1", "")
		return len(page.Items) > 0
	})
	ts.Setenv(args[0], page.Items[0].ID)
}
