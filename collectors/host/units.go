package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Units reports the units of systemd that have failed.
func Units(t *target.Host) collectors.Collector {
	c := units{
		target: t,
		failed: gauge("unit_failed", "1 for a unit of systemd (service, timer, mount, …) that has failed; absent "+
			"for every other unit.", "unit"),
		number: gauge("units_failed", "Number of units of systemd that have failed; absent where systemd does not run "+
			"or cannot be asked.").WithoutPanel(collectors.AdHoc),
	}
	return collectors.Collector{
		Name:   "host/units",
		Target: t.Name,
		Doc: `Units reports which units of the machine's systemd have failed.

Runs systemctl list-units --state=failed. A machine that was not started by systemd has
nothing to read, and neither has one behind another root than /: from a container its
systemd cannot be asked. Rights: none. Cost: one small program, once a minute.`,
		Metrics: []*collectors.Metric{c.failed, c.number},
		Every:   time.Minute,
		Timeout: 30 * time.Second,
		Limit:   50, // a machine with more has one cause
		Collect: c.collect,
	}
}

type units struct {
	target         *target.Host
	failed, number *collectors.Metric
}

func (c units) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.target.Root != "/" {
		return nil
	}
	names, err := failedUnits(ctx)
	if errors.Is(err, errNoSystemd) {
		return nil
	}
	if err != nil {
		return err
	}
	w.Set(c.number, float64(len(names)), c.target.Name)
	for i, name := range names {
		if w.Limit() > 0 && i >= w.Limit() {
			w.Cut(len(names) - i)
			break
		}
		w.Set(c.failed, 1, c.target.Name, name)
	}
	return nil
}

// errNoSystemd says that another program started the machine.
var errNoSystemd = errors.New("systemd does not run")

// failedUnits returns the names of the units that have failed, in systemd's own order.
func failedUnits(ctx context.Context) (names []string, err error) {
	program, err := child.Find("systemctl")
	if err != nil {
		return nil, errNoSystemd
	}
	r, err := child.Run(ctx, child.Program{Path: program, Args: []string{"list-units", "--state=failed", "--all",
		"--plain", "--full", "--no-legend", "--no-pager"}, Env: []string{"LC_ALL=C", "SYSTEMD_COLORS=0"}})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if strings.Contains(string(r.Said), "not been booted with systemd") {
			return nil, errNoSystemd
		}
		return nil, fmt.Errorf("systemctl list-units: %w: %s", err, r.Complaint())
	}
	for line := range strings.Lines(string(r.Out)) {
		// UNIT LOAD ACTIVE SUB DESCRIPTION; a name has no spaces
		if fields := strings.Fields(line); len(fields) >= 4 && fields[2] == "failed" {
			names = append(names, fields[0])
		}
	}
	return names, nil
}
