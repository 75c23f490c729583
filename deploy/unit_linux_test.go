package deploy

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
)

// unit has the directives of a systemd unit, in order.
type unit [][2]string

var directive = regexp.MustCompile(`(?m)^([A-Za-z]+)=(.*)$`)

func readUnit(t *testing.T, path string) unit {
	t.Helper()
	text, err := os.ReadFile(path)
	noError(t, err)
	var u unit
	for _, line := range directive.FindAllStringSubmatch(string(text), -1) {
		u = append(u, [2]string{line[1], line[2]})
	}
	return u
}

func (u unit) get(name string) string {
	for _, d := range u {
		if d[0] == name {
			return d[1]
		}
	}
	return ""
}

// applied are the directives that machine applies as systemd would, with the values that
// it knows.
var applied = map[string]string{
	"CapabilityBoundingSet": "", "NoNewPrivileges": "yes", "DynamicUser": "yes", "UMask": "0077",
	"PrivateUsers": "yes", "PrivateMounts": "yes", "ProtectProc": "invisible", "PrivateTmp": "yes", "ProtectSystem": "strict",
	"StateDirectory": "countersign", "StateDirectoryMode": "0700",
	"RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK", "RestrictNamespaces": "user net",
	"MemoryDenyWriteExecute": "yes", "SystemCallErrorNumber": "EPERM",
}

// notApplied are the directives whose effect no test sees, because it would need systemd.
// Most take away files, devices and calls that neither the server nor a plugin uses.
var notApplied = []string{
	"DevicePolicy", "PrivateDevices", "LockPersonality", "ProtectClock", "ProtectControlGroups", "ProtectHome", "ProtectHostname",
	"ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "RestrictRealtime", "RestrictSUIDSGID",
	"SystemCallArchitectures", "LimitCORE", "LimitNOFILE", "ExecReload", "Restart", "TimeoutStopSec", "EnvironmentFile",
	"LogsDirectory", "LogsDirectoryMode",
	"Description", "Documentation", "Wants", "After", "WantedBy",
}

// underTheUnit returns the machine with the restrictions of the unit, and the unit's
// command line.
func (m machine) underTheUnit(t *testing.T, u unit) machine {
	t.Helper()
	for _, d := range u {
		if value, is := applied[d[0]]; is && value != d[1] {
			t.Errorf("%s=%s: the test knows the effect of %q only", d[0], d[1], value)
		} else if !is && !slices.Contains(notApplied, d[0]) && d[0] != "ExecStart" && d[0] != "SystemCallFilter" {
			t.Errorf("the test does not know %s; say whether it applies it", d[0])
		}
	}
	m.User, m.PrivateUsers, m.HideProcesses = 61500, true, true // a number that systemd gives to dynamic users
	m.Calls, m.Filter = callsOf(t, u), true
	m.Args = strings.Fields(u.get("ExecStart"))
	m.Args[0] = "/usr/bin/" + filepath.Base(m.Args[0])
	return m
}

// callsOf are the system calls that the unit's SystemCallFilter allows: each line adds to
// the list or, with ~, takes away from it.
func callsOf(t *testing.T, u unit) []string {
	t.Helper()
	known, err := arch.GetInfo("")
	noError(t, err)
	allowed := map[string]bool{}
	for _, call := range expand(t, "@default") { // systemd always allows these
		allowed[call] = true
	}
	for _, d := range u {
		if d[0] != "SystemCallFilter" {
			continue
		}
		list, removes := strings.CutPrefix(d[1], "~")
		for _, name := range strings.Fields(list) {
			for _, call := range expand(t, name) {
				allowed[call] = !removes
			}
		}
	}
	maps.DeleteFunc(allowed, func(call string, is bool) bool {
		_, exists := known.SyscallNames[call]
		return !is || !exists
	})
	return slices.Sorted(maps.Keys(allowed))
}

// expand lists the system calls of a set of systemd's.
func expand(t *testing.T, name string) []string {
	t.Helper()
	if !strings.HasPrefix(name, "@") {
		return []string{name}
	}
	var calls []string
	for line := range strings.Lines(run(t, exec.CommandContext(t.Context(), "systemd-analyze", "syscall-filter", name))) {
		if inner, is := strings.CutPrefix(line, "    "); is && !strings.HasPrefix(inner, "#") {
			calls = append(calls, expand(t, strings.TrimSpace(inner))...)
		}
	}
	return calls
}

// systemd finds little that the unit still allows: under 2.0 of 10.
func TestTheUnitIsHardened(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd is not installed")
	}
	run(t, exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=19", "countersign.service"))
}
