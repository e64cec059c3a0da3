package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/procfs"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Network reports what each network interface receives and sends.
func Network(t *target.Host) collectors.Collector {
	c := network{
		target: t,
		bytes: counter("network_bytes_total", "Bytes of the interface, by direction: receive or transmit.",
			"device", "direction"),
		packets: counter("network_packets_total", "Packets of the interface, by direction.", "device",
			"direction").WithoutPanel(collectors.AdHoc),
		errors: counter("network_errors_total", "Packets that were damaged or could not be sent, by direction.",
			"device", "direction"),
		dropped: counter("network_dropped_total", "Packets that were dropped, mostly since a buffer was full, by "+
			"direction.", "device", "direction"),
	}
	return collectors.Collector{
		Name:   "host/network",
		Target: t.Name,
		Doc: `Network reports the bytes, packets, errors and dropped packets of each network interface of the machine.

Reads /proc/1/net/dev, which shows the machine's interfaces and not those of upkeep's container. Where it may
not be read, /proc/net/dev. The loopback interface and those of single containers (veth, ifb) are left out. Rights: none; in a
container the host's root mounted read-only and named as the target's root. Cost: one small file, under
a millisecond.`,
		Metrics: []*collectors.Metric{c.bytes, c.packets, c.errors, c.dropped},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type network struct {
	target                          *target.Host
	bytes, packets, errors, dropped *collectors.Metric
}

func (c network) collect(ctx context.Context, w *collectors.Writer) error {
	p, err := proc(ctx, c.target)
	if err != nil {
		return err
	}
	all, err := interfaces(p)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	for _, device := range slices.Sorted(maps.Keys(all)) {
		if device == "lo" || strings.HasPrefix(device, "veth") || strings.HasPrefix(device, "ifb") {
			continue
		}
		d, name := all[device], c.target.Name
		for _, m := range []struct {
			metric  *collectors.Metric
			in, out uint64
		}{{c.bytes, d.RxBytes, d.TxBytes}, {c.packets, d.RxPackets, d.TxPackets}, {c.errors, d.RxErrors, d.TxErrors},
			{c.dropped, d.RxDropped, d.TxDropped}} {
			w.Set(m.metric, float64(m.in), name, device, "receive")
			w.Set(m.metric, float64(m.out), name, device, "transmit")
		}
	}
	return nil
}

// interfaces reads those of the first process, which are the machine's.
func interfaces(p procfs.FS) (procfs.NetDev, error) {
	first, err := p.Proc(1)
	if err == nil {
		var all procfs.NetDev
		if all, err = first.NetDev(); err == nil {
			return all, nil
		}
	}
	all, own := p.NetDev()
	if own != nil {
		return nil, errors.Join(err, own)
	}
	return all, nil
}
