package host

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// What a file system says is written as it is; a share of nothing is absent, and one that says
// that more is free than there is, as some of networks do, is empty and not full.
func TestWhatAFileSystemSays(t *testing.T) {
	names := []string{"size_bytes", "used_bytes", "available_bytes", "used_ratio", "inodes_used_ratio", "readonly"}
	for _, test := range []struct {
		name string
		says unix.Statfs_t
		want string // in the order of the names; - is absent
	}{
		{"half full, with blocks for root", unix.Statfs_t{Bsize: 10, Blocks: 100, Bfree: 50, Bavail: 40, Files: 10,
			Ffree: 4}, "1000 500 400 0.5555555555555556 0.6 0"},
		{"full for users", unix.Statfs_t{Bsize: 10, Blocks: 100, Bfree: 5}, "1000 950 0 1 - 0"},
		{"of no size", unix.Statfs_t{Bsize: 4096}, "0 0 0 - - 1"},
		{"more free than there is", unix.Statfs_t{Bsize: 1, Blocks: 10, Bfree: 11, Bavail: 11, Files: 5, Ffree: 6},
			"10 0 11 0 0 0"},
		{"as large as can be", unix.Statfs_t{Bsize: 1, Blocks: math.MaxUint64, Bfree: 0},
			"1.8446744073709552e+19 1.8446744073709552e+19 0 1 - 0"},
	} {
		c := Filesystem(&target.Host{Name: "s", Root: "/"})
		w := collectors.NewWriter(c)
		f := filesystem{target: &target.Host{Name: "s"}}
		for i, m := range []**collectors.Metric{&f.size, &f.used, &f.available, &f.ratio, &f.inodes, &f.readonly} {
			*m = c.Metrics[i]
		}
		f.write(w, mount{device: `/dev/"x"`, point: "/a b", fstype: "ext4", readOnly: test.name == "of no size"}, test.says)
		var got []string
		for i, name := range names {
			value := "-"
			for line := range strings.Lines(string(w.Text())) {
				if strings.HasPrefix(line, c.Metrics[i].Name+"{") {
					value = strings.TrimSpace(line[strings.LastIndex(line, " "):])
				}
			}
			if !strings.HasSuffix(c.Metrics[i].Name, name) {
				t.Fatalf("metric %d is %s", i, c.Metrics[i].Name)
			}
			got = append(got, value)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", test.name, strings.Join(got, " "), test.want)
		}
	}
}

// An update is one for security where its archive says so, whatever the package is called, and
// what would be installed anew or removed is no update.
func TestWhatAptSays(t *testing.T) {
	folder := t.TempDir()
	for _, test := range []struct {
		says            string
		security, other int
	}{
		{"", 0, 0},
		{"Inst openssl [3.0.11-1] (3.0.14-1 Debian-Security:12/stable-security [amd64])", 1, 0},
		{"Inst libc6 [2.36-9] (2.36-10 Debian:12.7/stable [amd64])", 0, 1},
		{"Inst python3-flask-security [1] (2 Debian:12/stable [all])", 0, 1},
		{"Inst linux-image-6 (6.1 Debian-Security:12/stable-security [amd64])", 0, 0},
		{"Inst a [1] (2 Debian:12.7/stable, Debian-Security:12/stable-security [amd64]) [b:amd64 ]", 1, 0},
		{"Inst a [1] (2 Debian:12/stable [amd64]) [libapache2-mod-security2:amd64 ]", 0, 1},
		{"Inst a [1] (2.0+security1 Debian:12/stable [amd64])", 0, 1},
		{"Inst a [1] (2 Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security [amd64])", 1, 0},
		{"Remv old [1]\nConf a (2 Debian-Security:12/stable-security [amd64])\nInst\nInst \n  Inst a [1] (2 x)", 0, 0},
		{"Inst a [1] (2 Debian:12/stable [all])\nInst b [1] (2 Debian:12/stable [all])", 0, 2},
	} {
		script := "#!/bin/sh\ncat <<'end'\n" + test.says + "\nend\n"
		apt := filepath.Join(folder, "apt-get")
		if err := sandbox.WriteProgram(apt, script, 0o755); err != nil {
			t.Fatal(err)
		}
		found, _, err := simulate(t.Context(), apt, "/")
		security, other := 0, 0
		for _, u := range found {
			if u.security {
				security++
			} else {
				other++
			}
		}
		if err != nil || security != test.security || other != test.other {
			t.Errorf("%q: %d for security, %d others, %v; want %d, %d", test.says, security, other, err, test.security,
				test.other)
		}
	}
	apt := filepath.Join(folder, "apt-get")
	if err := sandbox.WriteProgram(apt, "#!/bin/sh\necho 'E: broken packages' >&2\nexit 100\n", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := simulate(t.Context(), apt, "/"); err == nil ||
		!strings.HasSuffix(fmt.Sprint(err), ": E: broken packages") {
		t.Errorf("a fault of apt: %v", err)
	}
}

// What an upgrade leaves out is asked for where apt says that it leaves out something, and only there.
func TestWhatAptLeavesOut(t *testing.T) {
	folder := t.TempDir()
	apt, asked := filepath.Join(folder, "apt-get"), filepath.Join(folder, "asked")
	for _, test := range []struct {
		summary string
		want    map[string]update
		times   int
	}{
		{"1 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.", map[string]update{"a": {}}, 1},
		{"  Upgrading: 1, Installing: 0, Removing: 0, Not Upgrading: 0", map[string]update{"a": {}}, 1},
		{"1 upgraded, 0 newly installed, 0 to remove and 10 not upgraded.",
			map[string]update{"a": {}, "b": {security: true, reason: "held"}, "c": {reason: "phased"}}, 3},
		{"", map[string]update{"a": {}, "b": {security: true, reason: "held"}, "c": {reason: "phased"}}, 3},
	} {
		script := "#!/bin/sh\necho . >> " + asked + "\necho 'Inst a [1] (2 D:12/stable [all])'\ncase \"$*\" in *Ignore-Hold=true*)\n" +
			"echo 'Inst b [1] (2 D:12/stable-security [all])';; esac\ncase \"$*\" in *Always-Include-Phased-Updates=true*)\n" +
			"echo 'Inst c [1] (2 D:12/stable [all])';; esac\necho '" + test.summary + "'\n"
		if err := sandbox.WriteProgram(apt, script, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(asked) // of the row before
		got, err := updates{target: &target.Host{Name: "s", Root: "/"}}.look(t.Context(), apt)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(update{})); diff != "" {
			t.Errorf("%q:\n%s", test.summary, diff)
		}
		if text, err := os.ReadFile(asked); err != nil || strings.Count(string(text), ".") != test.times {
			t.Errorf("%q: asked %d times, want %d (%v)", test.summary, strings.Count(string(text), "."), test.times, err)
		}
	}
}
