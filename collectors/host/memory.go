package host

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Memory reports how much memory is left, what is swapped, and how many processes were OOM-killed.
func Memory(t *target.Host) collectors.Collector {
	c := memory{
		target: t,
		size:   gauge("memory_size_bytes", "Memory of the machine."),
		available: gauge("memory_available_bytes", "Memory that programs can get without swapping, as the kernel "+
			"estimates it; caches that can be dropped are included."),
		part: gauge("memory_part_bytes", "Memory by what it is for: free, buffers, cached (files, shared memory "+
			"included), slab_reclaimable, dirty or writeback (to be written to disk).",
			"part").WithoutPanel(collectors.AdHoc),
		ratio:    gauge("memory_used_ratio", "Share of the memory that is not available."),
		swap:     gauge("swap_size_bytes", "Swap space of the machine; 0 without any."),
		swapUsed: gauge("swap_used_bytes", "Swap space that is used."),
		in:       counter("swap_read_bytes_total", "Bytes that were read back from swap."),
		out:      counter("swap_written_bytes_total", "Bytes that were written to swap."),
		killed: counter("oom_kills_total", "Processes that the kernel killed because memory was used up, of the "+
			"machine or of a control group; absent before Linux 4.13."),
	}
	return collectors.Collector{
		Name:   "host/memory",
		Target: t.Name,
		Doc: `Memory reports how much memory the machine has left, its swap space and how many processes were OOM-killed.

Reads /proc/meminfo and /proc/vmstat. It is the machine's memory: the limit of a container is
not in it, and a process that is killed at such a limit is counted. A machine whose kernel
estimates no available memory (before Linux 3.14) reports no used share. Rights: none; in a container the
host's root mounted read-only and named as the target's root. Cost: two small files, under a
millisecond.`,
		Metrics: []*collectors.Metric{c.size, c.available, c.part, c.ratio, c.swap, c.swapUsed, c.in, c.out,
			c.killed},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type memory struct {
	target                                                        *target.Host
	size, available, part, ratio, swap, swapUsed, in, out, killed *collectors.Metric
}

func (c memory) collect(ctx context.Context, w *collectors.Writer) error {
	p, err := proc(ctx, c.target)
	if err != nil {
		return err
	}
	m, err := p.Meminfo()
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	events, err := vmstat(filepath.Join(c.target.Root, "proc", "vmstat"))
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	set := func(metric *collectors.Metric, v *uint64) {
		if v != nil {
			w.Set(metric, float64(*v), c.target.Name)
		}
	}
	set(c.size, m.MemTotalBytes)
	set(c.available, m.MemAvailableBytes)
	for _, part := range []struct {
		name  string
		bytes *uint64
	}{{"free", m.MemFreeBytes}, {"buffers", m.BuffersBytes}, {"cached", m.CachedBytes},
		{"slab_reclaimable", m.SReclaimableBytes}, {"dirty", m.DirtyBytes}, {"writeback", m.WritebackBytes}} {
		if part.bytes != nil {
			w.Set(c.part, float64(*part.bytes), c.target.Name, part.name)
		}
	}
	if m.MemTotalBytes != nil && m.MemAvailableBytes != nil && *m.MemTotalBytes > 0 {
		w.Set(c.ratio, 1-float64(*m.MemAvailableBytes)/float64(*m.MemTotalBytes), c.target.Name)
	}
	set(c.swap, m.SwapTotalBytes)
	if m.SwapTotalBytes != nil && m.SwapFreeBytes != nil {
		w.Set(c.swapUsed, float64(*m.SwapTotalBytes)-float64(*m.SwapFreeBytes), c.target.Name)
	}
	page := float64(os.Getpagesize())
	for _, e := range []struct {
		key    string
		metric *collectors.Metric
		unit   float64
	}{{"pswpin", c.in, page}, {"pswpout", c.out, page}, {"oom_kill", c.killed, 1}} {
		if v, known := events[e.key]; known {
			w.Set(e.metric, v*e.unit, c.target.Name)
		}
	}
	return nil
}

// vmstat reads the kernel's counters of memory, which procfs does not.
func vmstat(path string) (map[string]float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := make(map[string]float64)
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, key, err)
		}
		all[key] = v
	}
	return all, nil
}
