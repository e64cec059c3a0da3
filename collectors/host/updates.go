package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
			"Number of installed packages that an upgrade would renew now: security, where the newer version comes "+
				"from a security archive, or other.", "kind"),
		kept: gauge("updates_held_back",
			"Number of installed packages of which the package lists know a newer version that an upgrade leaves out, "+
				"by kind and reason: held (by apt-mark hold, or since it needs one that is), or phased (its archive "+
				"rolls it out to a part of the machines first).", "kind", "reason"),
		lists: gauge("package_lists_timestamp_seconds",
			"When the package lists were last fetched; updates that came later are not known. Absent when never."),
		reboot: gauge("reboot_required",
			"1 when an update that is installed takes effect with the next start of the machine, else 0."),
	}
	return collectors.Collector{
		Name:   "host/updates",
		Target: t.Name,
		Doc: `Updates reports how many updates of the machine's Debian or Ubuntu packages wait, how many of them are for security, how many are held back, and whether a restart is due.

Runs apt-get dist-upgrade --simulate, which changes nothing and needs no lock; the
lists must be fetched by the machine itself (apt-daily.timer). With another root it
reads that machine's packages with our apt-get. A machine without apt has nothing to
read. An update is for security if it comes from a security archive. Where
apt leaves some out, two more simulations show which are held and which are phased. Rights:
none. Cost: about a second of one core for each simulation, once an hour.`,
		Metrics: []*collectors.Metric{c.pending, c.kept, c.lists, c.reboot},
		Every:   time.Hour,
		Timeout: 2 * time.Minute,
		Collect: c.collect,
	}
}

type updates struct {
	target                       *target.Host
	pending, kept, lists, reboot *collectors.Metric
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
	found, err := c.look(ctx, apt)
	if err != nil {
		return err
	}
	for _, kind := range []string{"security", "other"} {
		n := make(map[string]int)
		for _, u := range found {
			if u.security == (kind == "security") {
				n[u.reason]++
			}
		}
		w.Set(c.pending, float64(n[""]), c.target.Name, kind)
		w.Set(c.kept, float64(n["held"]), c.target.Name, kind, "held")
		w.Set(c.kept, float64(n["phased"]), c.target.Name, kind, "phased")
	}
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

// An update is a newer version of a package.
type update struct {
	security bool
	reason   string // why an upgrade leaves it out; "" where it would install it
}

// Options of apt-get with which it takes updates that it would leave out.
const (
	withHeld   = "APT::Ignore-Hold=true"
	withPhased = "APT::Get::Always-Include-Phased-Updates=true" // apt 2.1.16 and later; others take them anyway
)

// look returns the updates by the names of their packages.
func (c updates) look(ctx context.Context, apt string) (map[string]update, error) {
	now, complete, err := simulate(ctx, apt, c.target.Root)
	if err != nil || complete {
		return now, err
	}
	all, _, err := simulate(ctx, apt, c.target.Root, withHeld, withPhased)
	if err != nil {
		return nil, err
	}
	held, _, err := simulate(ctx, apt, c.target.Root, withHeld)
	if err != nil {
		return nil, err
	}
	for name, u := range all {
		if _, installed := now[name]; installed {
			continue
		}
		u.reason = "phased"
		if _, without := held[name]; without {
			u.reason = "held"
		}
		now[name] = u
	}
	return now, nil
}

// simulate returns what an upgrade would install in the place of an older version, and whether that is all: whether
// apt says that it leaves out none.
func simulate(ctx context.Context, apt, root string, options ...string) (found map[string]update, complete bool,
	err error) {
	args := []string{"--simulate", "--quiet", "--option", "Debug::NoLocking=true", "dist-upgrade"}
	for _, o := range options {
		args = append([]string{"--option", o}, args...)
	}
	if root != "/" {
		args = append([]string{"--option", "Dir=" + root, "--option",
			"Dir::State::status=" + filepath.Join(root, "var/lib/dpkg/status")}, args...)
	}
	r, err := child.Run(ctx, child.Program{Path: apt, Args: args, Env: []string{"LC_ALL=C"}})
	if err != nil {
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		return nil, false, fmt.Errorf("apt-get --simulate: %w: %s", err, strings.TrimSpace(string(r.Said)))
	}
	none := regexp.MustCompile(`(?:and 0 not upgraded\.|Not Upgrading: 0)\s*$`) // before apt 3, and since
	found = make(map[string]update)
	for line := range strings.Lines(string(r.Out)) {
		if name, u, ok := planned(line); ok {
			found[name] = u
		}
		complete = complete || none.MatchString(line)
	}
	return found, complete, nil
}

// planned reads a line of a simulation, in which the archives are between the version and the architecture. What
// follows the bracket names other packages.
//
//	Inst openssl [3.0.11-1] (3.0.14-1 Debian-Security:12/stable-security [amd64]) [libssl3:amd64 ]
func planned(line string) (name string, u update, ok bool) {
	rest, ok := strings.CutPrefix(line, "Inst ")
	if !ok {
		return "", u, false
	}
	before, rest, _ := strings.Cut(rest, "(")
	name, _, _ = strings.Cut(before, " ")
	inside, _, closed := strings.Cut(rest, ")")
	if !closed || !strings.Contains(before, "[") {
		return "", u, false // without a version it would be installed anew
	}
	_, from, _ := strings.Cut(inside, " ")
	if at := strings.LastIndex(from, " ["); at >= 0 {
		from = from[:at]
	}
	u.security = strings.Contains(strings.ToLower(from), "security")
	return name, u, true
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
