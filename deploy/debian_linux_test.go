package deploy

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// installation is a system into which the package is installed.
type installation struct {
	t      *testing.T
	system machine
}

// root runs a script as root of the system.
func (i installation) root(script string) string {
	i.t.Helper()
	m := i.system
	m.Args = []string{"/bin/bash", "-ec", script}
	m.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}
	return run(i.t, m.command(i.t))
}

// path is where a file that was changed in the system is for the test.
func (i installation) path(file string) string {
	return filepath.Join(i.system.Overlay, "upper", file)
}

// serve starts the server as the installed unit does.
func (i installation) serve() (*server, administrator) {
	i.t.Helper()
	// systemd makes the folder, and gives it to the user.
	i.root("mkdir -p -m 0700 /var/lib/countersign && chown -R 61500:61500 /var/lib/countersign")
	m := i.system.underTheUnit(i.t, readUnit(i.t, i.path("usr/lib/systemd/system/countersign.service")))
	m.Writable = []string{"/var/lib/countersign"}
	m.Env = []string{"USER=countersign", "HOME=/", "COUNTERSIGN_LISTEN=127.0.0.1:0", "COUNTERSIGN_LISTEN_ADMIN=127.0.0.1:0"} // systemd sets the first two, and others may listen on this machine
	s := m.serve(i.t)
	s.ready("/readyz")
	return s, s.administrator(i.path("usr/lib/countersign/countersign"), i.path("var/lib/countersign/bootstrap.json"))
}

// is fails the test unless the files are as they should be.
func (i installation) is(there bool, files ...string) {
	i.t.Helper()
	for _, file := range files {
		info, err := os.Lstat(i.path(file))
		if gone := errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeCharDevice != 0; gone == there { // an overlay marks what is deleted so
			i.t.Errorf("%s is there: %v, want %v", file, !gone, there)
		}
	}
}

// The package installs a server that runs under its unit with all plugins confined; an
// upgrade keeps its configuration and data; what is deleted is what the package made.
func TestTheDebianPackage(t *testing.T) {
	deb := artifact(t, "DEB")
	i := installation{t, machine{Overlay: t.TempDir()}}

	i.root("dpkg --no-triggers --force-unsafe-io --install " + deb)
	i.root(`countersign version
dpkg --verify countersign
test -z "$(find /usr/lib/countersign /etc/countersign -perm /022 -not -type l)"
test -s /usr/share/man/man1/countersign-serve.1.gz
bash -c '. /usr/share/bash-completion/completions/countersign'
systemd-analyze verify /usr/lib/systemd/system/countersign.service`)
	i.root(`cd /etc/countersign
sed -i -e '/^keeper:/,/^  url:/d' -e 's/^public_url:.*/# changed by the operator/' countersign.yaml
echo SECRET=of-the-operator > environment`)
	s, admin := i.serve()
	admin.downloadsTheFirstFile()
	admin.isWhole()
	s.stop()

	i.root("dpkg --no-triggers --force-unsafe-io --force-confold --install " + newer(t, deb))
	if version := i.root("dpkg-query -W -f '${Version}' countersign"); version != "9999.0" {
		t.Errorf("after the upgrade it has the version %s", version)
	}
	i.root("grep -q 'changed by the operator' /etc/countersign/countersign.yaml && test -e /etc/countersign/countersign.yaml.dpkg-dist")
	s, admin = i.serve()
	admin.downloads("first", nil)
	s.stop()

	i.root("dpkg --no-triggers --remove countersign")
	i.is(false, "usr/lib/countersign", "usr/bin/countersign", "usr/lib/systemd/system/countersign.service", "usr/share/doc/countersign", "usr/share/man/man1/countersign.1.gz")
	i.is(true, "etc/countersign/countersign.yaml", "var/lib/countersign/keys/local.key")

	said := i.root("dpkg --no-triggers --purge countersign")
	i.is(false, "etc/countersign/countersign.yaml", "etc/countersign/countersign.yaml.dpkg-dist")
	i.is(true, "etc/countersign/environment", "var/lib/countersign/keys/local.key")
	for _, folder := range []string{"/etc/countersign is kept", "/var/lib/countersign is kept"} {
		if !strings.Contains(said, folder) {
			t.Errorf("the purge does not say that %s: %s", folder, said)
		}
	}

	for _, file := range []string{"/usr/lib/countersign", "/var/lib/countersign", "/var/lib/dpkg/info/countersign.list"} {
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is on the machine of the test: %v", file, err)
		}
	}
}

// An installation that was never started leaves nothing behind.
func TestThePurgedPackageLeavesNothing(t *testing.T) {
	deb := artifact(t, "DEB")
	i := installation{t, machine{Overlay: t.TempDir()}}
	i.root("dpkg --no-triggers --force-unsafe-io --install " + deb)
	i.root("dpkg --no-triggers --purge countersign")
	i.is(false, "etc/countersign", "var/lib/countersign", "usr/lib/countersign", "usr/bin/countersign")
}

// newer is a package of a later version, whose configuration has another text.
func newer(t *testing.T, deb string) string {
	t.Helper()
	folder := t.TempDir()
	stage := filepath.Join(folder, "stage")
	run(t, exec.CommandContext(t.Context(), "cp", "-a", artifact(t, "STAGE"), stage))
	config := filepath.Join(stage, "countersign.yaml")
	text, err := os.ReadFile(config)
	noError(t, err)
	noError(t, os.WriteFile(config, append(text, "\n# A setting of the newer version.\n"...), 0o644))
	cmd := exec.CommandContext(t.Context(), "make", "-C", "..", "--no-print-directory", "deb-staged", "STAGE="+stage, "DIST="+folder, "DEB_VERSION=9999.0")
	cmd.Env = append(os.Environ(), "COMPRESSION=none")
	run(t, cmd)
	made, err := filepath.Glob(filepath.Join(folder, "*.deb"))
	if err != nil || len(made) != 1 || made[0] == deb {
		t.Fatalf("made %v: %v", made, err)
	}
	return made[0]
}
