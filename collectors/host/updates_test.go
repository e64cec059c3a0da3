package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/host"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A machine with packages of every kind: old, old and insecure, new, on hold, in need of one on hold, rolled out to
// others first, and with names that look like something else; its lists are fetched by apt itself from two archives.
func TestUpdates(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	installed := func(name string) string {
		return "Package: " + name + "\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0\nMaintainer: " +
			"a\nDescription: a\n\n"
	}
	offered := func(name, version string) string {
		return "Package: " + name + "\nArchitecture: all\nVersion: " + version + "\nMaintainer: a\nFilename: ./" +
			name +
			".deb\nSize: 1\nSHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nDescription: " +
			"a\n\n"
	}
	hold := func(name string) string {
		return strings.Replace(installed(name), "Status: install", "Status: hold", 1)
	}
	with := func(field, of string) string { return strings.Replace(of, "Maintainer:", field+"\nMaintainer:", 1) }
	write("var/lib/dpkg/status", installed("old")+installed("insecure")+installed("new")+installed("modsecurity-crs")+
		hold("held")+hold("held-insecure")+installed("needs-held")+installed("phased"))
	write("etc/machine-id", "0123456789abcdef0123456789abcdef\n") // decides which phased updates are its turn
	write("archive/Packages", offered("old", "2.0+security1")+offered("new", "1.0")+offered("insecure", "1.0")+
		offered("modsecurity-crs", "2.0")+offered("held", "2.0")+
		with("Depends: held (>= 2.0)", offered("needs-held", "2.0"))+
		with("Phased-Update-Percentage: 0", offered("phased", "2.0")))
	write("archive/Release", "Origin: Debian\nLabel: Debian\nSuite: stable\n")
	write("urgent/Packages", offered("insecure", "1.1")+offered("held-insecure", "1.1"))
	write("urgent/Release", "Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\n")
	write("etc/apt/sources.list",
		"deb [trusted=yes] file:"+root+"/archive ./\ndeb [trusted=yes] file:"+root+"/urgent ./\n")
	for _, d := range []string{"var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "etc/apt/apt.conf.d",
		"etc/apt/preferences.d", "etc/apt/trusted.gpg.d"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() string {
		t.Helper()
		c := host.Updates(&target.Host{Name: "s", Root: root})
		w := collectors.NewWriter(c)
		if err := c.Collect(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		return string(w.Text())
	}
	update := exec.CommandContext(t.Context(), "apt-get", "--option", "Dir="+root, "--option",
		"Dir::State::status="+filepath.Join(root, "var/lib/dpkg/status"), "--option", "APT::Sandbox::User=root",
		"update")
	if out, err := update.CombinedOutput(); err != nil {
		t.Fatalf("apt-get update: %v\n%s", err, out)
	}
	got := answer()
	for _, want := range []string{`upkeep_host_updates_pending{server="s",kind="security"} 1`,
		`upkeep_host_updates_pending{server="s",kind="other"} 2`,
		`upkeep_host_updates_held_back{server="s",kind="security",reason="held"} 1`,
		`upkeep_host_updates_held_back{server="s",kind="security",reason="phased"} 0`,
		`upkeep_host_updates_held_back{server="s",kind="other",reason="held"} 2`,
		`upkeep_host_updates_held_back{server="s",kind="other",reason="phased"} 1`, `upkeep_host_reboot_required{server="s"} 0`,
		`upkeep_host_package_lists_timestamp_seconds{server="s"} 1`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in:\n%s", want, got)
		}
	}
	write("run/reboot-required", "")
	if got := answer(); !strings.Contains(got, `reboot_required{server="s"} 1`) {
		t.Errorf("a restart is due, and:\n%s", got)
	}
	if err := os.Remove(filepath.Join(root, "var/lib/dpkg/status")); err != nil {
		t.Fatal(err)
	}
	if got := answer(); got != "" {
		t.Errorf("a machine without packages says:\n%s", got)
	}
}

// On this machine, whatever it has.
func TestUpdatesHere(t *testing.T) {
	collectortest.HostContract(t, host.Updates)
}
