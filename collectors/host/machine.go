package host

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// What the kernel counts costs less than a millisecond to read, and a scrape of
// Prometheus' own default comes once in fifteen seconds.
const (
	every   = 15 * time.Second
	timeout = 5 * time.Second
)

func gauge(name, help string, labels ...string) *collectors.Metric {
	return &collectors.Metric{Name: "upkeep_host_" + name, Type: collectors.Gauge, Help: help,
		Labels: append([]string{"server"}, labels...)}
}

func counter(name, help string, labels ...string) *collectors.Metric {
	return &collectors.Metric{Name: "upkeep_host_" + name, Type: collectors.Counter, Help: help,
		Labels: append([]string{"server"}, labels...)}
}

// proc returns the machine's /proc.
func proc(ctx context.Context, t *target.Host) (procfs.FS, error) {
	if err := ctx.Err(); err != nil {
		return procfs.FS{}, err
	}
	return procfs.NewFS(filepath.Join(t.Root, "proc"))
}

// unsupported reports whether a kernel does not have what was asked for.
func unsupported(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOTSUP)
}
