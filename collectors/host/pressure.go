package host

import (
	"context"
	"fmt"

	"github.com/prometheus/procfs"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Pressure reports for how long processes waited for CPU, memory or disks.
func Pressure(t *target.Host) collectors.Collector {
	c := pressure{target: t, seconds: counter("pressure_seconds_total", "Time in which processes waited for a "+
		"resource (cpu, memory or io): some of them, or all at once (full). The machine has too little of what is "+
		"waited for much of the time.", "resource", "stalled")}
	return collectors.Collector{
		Name:   "host/pressure",
		Target: t.Name,
		Doc: `Pressure reports the time in which processes waited for a processor, for memory or for a disk.

Reads /proc/pressure, the kernel's pressure stall information (Linux 4.20, and not switched off
by psi=0). A machine without it has nothing to read. Rights: none; in a container the host's root mounted
read-only and named as the target's root. Cost: three small files, under a millisecond.`,
		Metrics: []*collectors.Metric{c.seconds},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type pressure struct {
	target  *target.Host
	seconds *collectors.Metric
}

func (c pressure) collect(ctx context.Context, w *collectors.Writer) error {
	p, err := proc(ctx, c.target)
	if err != nil {
		return err
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		s, err := p.PSIStatsForResource(resource)
		switch {
		case unsupported(err):
			continue
		case err != nil:
			return fmt.Errorf("pressure: %w", err)
		}
		c.write(w, resource, "some", s.Some)
		if resource != "cpu" { // a processor that is waited for runs another process
			c.write(w, resource, "full", s.Full)
		}
	}
	return nil
}

func (c pressure) write(w *collectors.Writer, resource, stalled string, line *procfs.PSILine) {
	if line != nil {
		w.Set(c.seconds, float64(line.Total)/1e6, c.target.Name, resource, stalled)
	}
}
