package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The servers here misbehave in ways that a real one cannot be made to.

// badServer answers a download up to the file, which is the handler's.
func badServer(t *testing.T, redeem http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, text) // the client finds out
		}
	}
	mux.HandleFunc("GET /api/v1/projects/p/certificates/c", answer(200, `{"id":"c","name":"\u001b[2Jn\u202eame\r\n"}`))
	mux.HandleFunc("GET /api/v1/projects/p/certificates", answer(200, `{"items":[{"id":"c","name":"\u001b]0;title\u0007name\u009b1m"}],"next_cursor":null}`))
	mux.HandleFunc("GET /api/v1/projects/p/formats", answer(200, `{"items":[{"id":"cert","filename":"../../.cert.pem"}],"next_cursor":null}`))
	mux.HandleFunc("POST /api/v1/projects/p/certificates/c/downloads", answer(201, `{"request_id":"req_1","status":"issued","token":"t","format":"cert"}`))
	mux.HandleFunc("POST /api/v1/downloads", redeem)
	mux.HandleFunc("GET /api/v1/projects/p/certificate-policy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"7"`)
		_, _ = fmt.Fprint(w, `{"token_ttl_seconds":300}`)
	})
	mux.HandleFunc("PUT /api/v1/projects/p/certificate-policy", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = fmt.Fprintf(w, `{"code":"precondition_failed","title":"changed\u001b[2J meanwhile","detail":%q}`, "If-Match: "+r.Header.Get("If-Match"))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func sendFile(w http.ResponseWriter, content string, length int) {
	sum := sha256.Sum256([]byte("the content"))
	w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	w.Header().Set("Content-Length", fmt.Sprint(length))
	_, _ = fmt.Fprint(w, content) // the client finds out
}

// inFolder runs a command in this process, in a new folder, and returns what it
// printed, its error and what it left in the folder.
func inFolder(t *testing.T, url string, args ...string) (out string, err error, left []string) {
	t.Helper()
	t.Setenv(serverVariable, url)
	t.Setenv(projectVariable, "p")
	t.Setenv(keyVariable, "k")
	folder := t.TempDir()
	t.Chdir(folder)
	var printed bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&printed)
	root.SetErr(&printed)
	err = root.ExecuteContext(t.Context())
	entries, readErr := os.ReadDir(folder)
	noError(t, readErr)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	return printed.String(), err, left
}

func TestIncompleteFilesAreNotKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		redeem http.HandlerFunc
		says   string
		left   int
	}{
		{"whole", func(w http.ResponseWriter, _ *http.Request) { sendFile(w, "the content", 11) }, "", 1},
		{"half", func(w http.ResponseWriter, _ *http.Request) { sendFile(w, "the con", 11) }, "unexpected EOF", 0},
		{"changed", func(w http.ResponseWriter, _ *http.Request) { sendFile(w, "The content", 11) }, "digest", 0},
		{"without digest", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "the content") }, "digest", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := badServer(t, c.redeem)
			_, err, left := inFolder(t, url, "download", "--certificate", "c", "--format", "cert")
			if len(left) != c.left || c.left == 1 && left[0] != "cert.pem" {
				t.Errorf("left behind: %q", left)
			}
			if c.says == "" != (err == nil) || err != nil && (!strings.Contains(err.Error(), c.says) || exitCode(err) != exitFailed) {
				t.Errorf("error %v, want %q", err, c.says)
			}
			out, err, _ := inFolder(t, url, "download", "--certificate", "c", "--format", "cert", "--out", "-")
			if err == nil != (c.says == "") || err != nil && out != "" {
				t.Errorf("to standard output: %q and %v", out, err)
			}
		})
	}
}

func TestServerCannotControlTheTerminal(t *testing.T) {
	url := badServer(t, http.NotFound)
	for _, args := range [][]string{{"cert", "list"}, {"cert", "show", "c"}, {"cert", "list", "-o", "json"}, {"policy", "set", "--token-ttl", "1m"}} {
		out, err, _ := inFolder(t, url, args...)
		if err != nil {
			out += err.Error()
		}
		if strings.ContainsAny(out, "\x1b\x07\r\u009b\u202e") || !strings.Contains(out, "name") && !strings.Contains(out, "meanwhile") {
			t.Errorf("%q prints %q", args, out)
		}
	}
}

func TestPolicyIsSetOnlyOverTheOneRead(t *testing.T) {
	_, err, _ := inFolder(t, badServer(t, http.NotFound), "policy", "set", "--token-ttl", "1m")
	if err == nil || !strings.Contains(err.Error(), `If-Match: "7"`) || exitCode(err) != exitRefused {
		t.Errorf("error %v", err)
	}
}

func TestServersThatAreNotCountersign(t *testing.T) {
	for _, status := range []int{301, 403, 404, 502} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			http.Error(w, "<html>", status)
		}))
		_, err, _ := inFolder(t, server.URL, "cert", "list", "-o", "json")
		if exitCode(err) != exitUnreachable {
			t.Errorf("%d: exit code %d: %v", status, exitCode(err), err)
		}
		server.Close()
	}
}

func TestInterruptedTransferLeavesNothing(t *testing.T) {
	t.Parallel()
	arrived := make(chan bool)
	url := badServer(t, func(w http.ResponseWriter, r *http.Request) {
		sendFile(w, "the con", 11)
		w.(http.Flusher).Flush()
		arrived <- true
		<-r.Context().Done()
	})
	cmd := exec.CommandContext(t.Context(), binary(t), "download", "--certificate", "c", "--format", "cert")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), serverVariable+"="+url, projectVariable+"=p", keyVariable+"=k")
	noError(t, cmd.Start())
	<-arrived
	eventually(t, "half a file", func() bool {
		found, err := filepath.Glob(filepath.Join(cmd.Dir, ".*"))
		noError(t, err)
		if len(found) != 1 {
			return false
		}
		info, err := os.Stat(found[0])
		noError(t, err)
		return info.Mode().Perm() == 0o600 && info.Size() == 7
	})
	noError(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait() // its exit code is checked
	left, err := os.ReadDir(cmd.Dir)
	noError(t, err)
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || len(left) > 0 {
		t.Errorf("exit code %d, left behind %v", code, left)
	}
}
