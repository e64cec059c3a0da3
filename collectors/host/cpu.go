package host

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/procfs"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// CPU reports what the processors do and how many processes wait for one.
func CPU(t *target.Host) collectors.Collector {
	c := cpu{
		target: t,
		seconds: counter("cpu_seconds_total", "Time of all processors by mode: user, nice, system, idle, iowait, "+
			"irq, softirq, steal (taken by the hypervisor). Guests are part of user and nice.", "mode"),
		one: counter("processor_seconds_total", "Time of each processor by mode, for the question whether one "+
			"alone is the limit.", "processor", "mode").WithoutPanel(collectors.AdHoc),
		count: gauge("cpus", "Number of processors that are online."),
		load: gauge("load_average", "Processes that run, are ready to run, or wait for a disk, averaged over 1m, "+
			"5m or 15m.", "over"),
		processes: gauge("processes", "Number of processes by state: running (or ready to), or blocked (waiting "+
			"for a disk).", "state"),
		boot: gauge("boot_timestamp_seconds", "When the machine was started."),
	}
	return collectors.Collector{
		Name:   "host/cpu",
		Target: t.Name,
		Doc: `CPU reports what the processors of the machine do, how many there are, and its load average.

Reads /proc/stat and /proc/loadavg. The modes are summed over the processors: divide by cpus
for a share. Time in iowait is idle time in which a disk was waited for. Rights: none; in a container
the host's root mounted read-only and named as the target's root. Cost: two small files, under a
millisecond.`,
		Metrics: []*collectors.Metric{c.seconds, c.one, c.count, c.load, c.processes, c.boot},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type cpu struct {
	target                                     *target.Host
	seconds, one, count, load, processes, boot *collectors.Metric
}

func (c cpu) collect(ctx context.Context, w *collectors.Writer) error {
	p, err := proc(ctx, c.target)
	if err != nil {
		return err
	}
	s, err := p.Stat()
	if err != nil {
		return fmt.Errorf("processors: %w", err)
	}
	l, err := p.LoadAvg()
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	name := c.target.Name
	for mode, v := range modes(s.CPUTotal) {
		w.Set(c.seconds, v, name, mode)
	}
	for _, n := range slices.Sorted(maps.Keys(s.CPU)) {
		for mode, v := range modes(s.CPU[n]) {
			w.Set(c.one, v, name, strconv.FormatInt(n, 10), mode)
		}
	}
	w.Set(c.count, float64(len(s.CPU)), name)
	w.Set(c.load, l.Load1, name, "1m")
	w.Set(c.load, l.Load5, name, "5m")
	w.Set(c.load, l.Load15, name, "15m")
	w.Set(c.processes, float64(s.ProcessesRunning), name, "running")
	w.Set(c.processes, float64(s.ProcessesBlocked), name, "blocked")
	w.Set(c.boot, float64(s.BootTime), name)
	return nil
}

// modes returns the times of a processor in the order in which the kernel has them.
func modes(t procfs.CPUStat) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, m := range []struct {
			mode string
			v    float64
		}{{"user", t.User}, {"nice", t.Nice}, {"system", t.System}, {"idle", t.Idle}, {"iowait", t.Iowait},
			{"irq", t.IRQ}, {"softirq", t.SoftIRQ}, {"steal", t.Steal}} {
			if !yield(m.mode, m.v) {
				return
			}
		}
	}
}
