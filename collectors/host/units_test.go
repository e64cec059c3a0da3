package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/host"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// systemd is put first into the path and answers as systemctl does.
func systemd(t *testing.T, script string) {
	t.Helper()
	folder := t.TempDir()
	if err := sandbox.WriteProgram(filepath.Join(folder, "systemctl"), "#!/bin/sh\n"+script, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

func TestUnits(t *testing.T) {
	ask := func(root string) (string, error) {
		c := host.Units(&target.Host{Name: "s", Root: root})
		w := collectors.NewWriter(c)
		err := c.Collect(t.Context(), w)
		return string(w.Text()), err
	}
	t.Run("failed", func(t *testing.T) {
		systemd(t, `[ "$1 $2" = "list-units --state=failed" ] || exit 3
echo 'logrotate.service              loaded    failed failed Rotate log files'
echo 'srv-my\x20disk.mount           loaded    failed failed /srv/my disk'
echo 'gone.service                   not-found failed failed gone.service'
`)
		got, err := ask("/")
		want := `upkeep_host_unit_failed{server="s",unit="logrotate.service"} 1
upkeep_host_unit_failed{server="s",unit="srv-my\\x20disk.mount"} 1
upkeep_host_unit_failed{server="s",unit="gone.service"} 1
upkeep_host_units_failed{server="s"} 3
`
		if err != nil || got != want {
			t.Errorf("%v\n%s", err, got)
		}
		collectortest.Promises(t, host.Units(&target.Host{Name: "s", Root: "/"}))
		if got, err := ask(t.TempDir()); err != nil || got != "" {
			t.Errorf("the units of another machine: %v\n%s", err, got)
		}
	})
	t.Run("none", func(t *testing.T) {
		systemd(t, "")
		if got, err := ask("/"); err != nil || got != "upkeep_host_units_failed{server=\"s\"} 0\n" {
			t.Errorf("%v\n%s", err, got)
		}
	})
	t.Run("many", func(t *testing.T) {
		systemd(t, "for i in $(seq 70); do echo \"job@$i.service loaded failed failed Job $i\"; done\n")
		if got, err := ask("/"); err != nil || strings.Count(got, "unit_failed{") != 50 ||
			!strings.Contains(got, "units_failed{server=\"s\"} 70\n") {
			t.Errorf("%v\n%s", err, got)
		}
	})
	t.Run("no systemd", func(t *testing.T) {
		systemd(t, `echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2; exit 1
`)
		if got, err := ask("/"); err != nil || got != "" {
			t.Errorf("%v\n%s", err, got)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		systemd(t, "echo 'Failed to connect to bus: No such file or directory' >&2; exit 1\n")
		if got, err := ask("/"); err == nil || got != "" || !strings.Contains(err.Error(), "Failed to connect to bus") {
			t.Errorf("%v\n%s", err, got)
		}
	})
}

// On this machine, whatever it has.
func TestUnitsHere(t *testing.T) {
	collectortest.HostContract(t, host.Units)
}
