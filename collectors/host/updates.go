package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Updates reports the updates of the machine's packages that wait.
func Updates(t *target.Host) collectors.Collector {
	gauge := func(name, help string, labels ...string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_host_" + name, Type: collectors.Gauge, Help: help,
			Labels: append([]string{"server"}, labels...)}
	}
	c := updates{
		target: t,
		pending: gauge("updates_pending",
			"Number of installed packages of which the package lists know a newer version: security, where it comes "+
				"from a security archive, or other.", "kind"),
		lists: gauge("package_lists_timestamp_seconds",
			"When the package lists were last fetched; updates that came later are not known. Absent when never."),
		reboot: gauge("reboot_required",
			"1 when an update that is installed takes effect with the next start of the machine, else 0."),
	}
	return collectors.Collector{
		Name:   "host/updates",
		Target: t.Name,
		Doc: `Updates reports how many updates of the machine's Debian or Ubuntu packages wait, how many of them are for security, and whether a restart is due.

Runs apt-get upgrade --simulate, which changes nothing and needs no lock; the
lists must be fetched by the machine itself (apt-daily.timer). With another root it
reads that machine's packages with our apt-get. A machine without apt has nothing to
read. Rights: none. Cost: about a second of one core, once an hour.`,
		Metrics: []*collectors.Metric{c.pending, c.lists, c.reboot},
		Every:   time.Hour,
		Timeout: 2 * time.Minute,
		Collect: c.collect,
	}
}

type updates struct {
	target                 *target.Host
	pending, lists, reboot *collectors.Metric
}

func (c updates) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	in := func(path string) string { return filepath.Join(c.target.Root, path) }
	if _, err := os.Stat(in("var/lib/dpkg/status")); errors.Is(err, fs.ErrNotExist) {
		return nil // no Debian
	}
	apt, err := child.Find("apt-get")
	if err != nil {
		return errors.New("apt-get is not installed here; in a container without it disable host/updates in " +
			"collectors.settings")
	}
	security, other, err := simulate(ctx, apt, c.target.Root)
	if err != nil {
		return err
	}
	w.Set(c.pending, float64(security), c.target.Name, "security")
	w.Set(c.pending, float64(other), c.target.Name, "other")
	if at, known := fetched(in("var/lib/apt/lists")); known {
		w.Set(c.lists, float64(at.Unix()), c.target.Name)
	}
	reboot := 0.0
	for _, flag := range []string{"run/reboot-required", "var/run/reboot-required"} {
		if _, err := os.Stat(in(flag)); err == nil {
			reboot = 1
		}
	}
	w.Set(c.reboot, reboot, c.target.Name)
	return nil
}

// simulate counts what an upgrade would install.
func simulate(ctx context.Context, apt, root string) (security, other int, err error) {
	args := []string{"--simulate", "--quiet", "--option", "Debug::NoLocking=true", "dist-upgrade"}
	if root != "/" {
		args = append([]string{"--option", "Dir=" + root, "--option",
			"Dir::State::status=" + filepath.Join(root, "var/lib/dpkg/status")}, args...)
	}
	r, err := child.Run(ctx, child.Program{Path: apt, Args: args, Env: []string{"LC_ALL=C"}})
	if err != nil {
		if ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
		return 0, 0, fmt.Errorf("apt-get --simulate: %w: %s", err, strings.TrimSpace(string(r.Said)))
	}
	for line := range strings.Lines(string(r.Out)) {
		// Inst openssl [3.0.11-1] (3.0.14-1 Debian-Security:12/stable-security [amd64])
		rest, ok := strings.CutPrefix(line, "Inst ")
		if !ok || !strings.Contains(rest, "[") {
			continue
		}
		from, origin, _ := strings.Cut(rest, "(")
		if !strings.Contains(from, "[") {
			continue // it would be installed anew
		}
		if strings.Contains(strings.ToLower(origin), "security") {
			security++
		} else {
			other++
		}
	}
	return security, other, nil
}

// fetched returns when the newest of the package lists was fetched.
func fetched(folder string) (at time.Time, known bool) {
	for _, f := range []string{"../periodic/update-success-stamp", "partial", "."} {
		info, err := os.Stat(filepath.Join(folder, f))
		if err == nil && info.ModTime().After(at) {
			at, known = info.ModTime(), true
		}
	}
	return at, known
}
