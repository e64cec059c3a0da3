package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/procfs/blockdevice"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Disk reports what each disk reads and writes, and how busy it is.
func Disk(t *target.Host) collectors.Collector {
	c := disk{
		target: t,
		bytes: counter("disk_bytes_total", "Bytes that the disk has transferred, by direction: read or write.",
			"device", "direction"),
		operations: counter("disk_operations_total", "Operations that the disk has completed, by direction.",
			"device", "direction"),
		waited: counter("disk_wait_seconds_total", "Time that the operations took, queues included, summed over them: "+
			"divided by the operations it is the latency.", "device", "direction"),
		busy: counter("disk_busy_seconds_total", "Time in which the disk had something to do. A disk that works on "+
			"many operations at once can do more even when it is always busy.", "device"),
	}
	return collectors.Collector{
		Name:   "host/disk",
		Target: t.Name,
		Doc: `Disk reports the operations, bytes, latency and busy time of each disk of the machine.

Reads /proc/diskstats. Whole disks are exported, not their partitions; volumes of LVM, RAID and encryption
are, beside the disks below them. Loop devices and disks in memory are left out. Rights: none; in a container the
host's root mounted read-only and named as the target's root. Cost: one small file, under a millisecond.`,
		Metrics: []*collectors.Metric{c.bytes, c.operations, c.waited, c.busy},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type disk struct {
	target                          *target.Host
	bytes, operations, waited, busy *collectors.Metric
}

// sector is the unit of /proc/diskstats, whatever the disk's own is.
const sector = 512

func (c disk) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	system := filepath.Join(c.target.Root, "sys")
	if _, err := os.Stat(system); err != nil {
		return fmt.Errorf("disks: %w", err)
	}
	f, err := blockdevice.NewFS(filepath.Join(c.target.Root, "proc"), system)
	if err != nil {
		return fmt.Errorf("disks: %w", err)
	}
	all, err := f.ProcDiskstats()
	if err != nil {
		return fmt.Errorf("disks: %w", err)
	}
	for _, d := range all {
		// A partition has no folder of its own there, and a slash of a name is "!".
		_, err := os.Stat(filepath.Join(system, "block", strings.ReplaceAll(d.DeviceName, "/", "!")))
		if err != nil || unreal(d.DeviceName) {
			continue
		}
		name, device := c.target.Name, d.DeviceName
		w.Set(c.bytes, float64(d.ReadSectors)*sector, name, device, "read")
		w.Set(c.bytes, float64(d.WriteSectors)*sector, name, device, "write")
		w.Set(c.operations, float64(d.ReadIOs), name, device, "read")
		w.Set(c.operations, float64(d.WriteIOs), name, device, "write")
		w.Set(c.waited, float64(d.ReadTicks)/1000, name, device, "read")
		w.Set(c.waited, float64(d.WriteTicks)/1000, name, device, "write")
		w.Set(c.busy, float64(d.IOsTotalTicks)/1000, name, device)
	}
	return nil
}

// unreal reports whether a block device is no disk.
func unreal(device string) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "fd", "sr"} {
		if rest, ok := strings.CutPrefix(device, prefix); ok && strings.Trim(rest, "0123456789") == "" {
			return true
		}
	}
	return false
}
