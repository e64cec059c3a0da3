package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// LogSize reports how large each container's log is and whether it has a limit.
func LogSize(t *target.Docker) collectors.Collector {
	c := logSize{
		target: t,
		size: gauge("log_size_bytes", "Size of the container's log files, rotated ones included; absent with "+
			"another log driver than json-file.", "container"),
		rotated: gauge("log_rotated", "1 when the container's log has a limit beyond which it is rotated, 0 when it "+
			"grows for ever.", "container"),
	}
	return collectors.Collector{
		Name:   "docker/logsize",
		Target: t.Name,
		Doc: `LogSize reports how large each container's log is, and whether it has a limit.

Reads the list of containers and the sizes of their log files. Rights: GET on the
engine's socket, and to look into the folders of the containers, which only root
may: run as root, or mount /var/lib/docker/containers for reading. Cost: one
question and one look at a folder for each container. The growth is a rule:
deriv(upkeep_docker_log_size_bytes[1h]).`,
		Metrics: []*collectors.Metric{c.size, c.rotated},
		Every:   time.Minute,
		Timeout: 30 * time.Second,
		Limit:   1000,
		Collect: c.collect,
	}
}

type logSize struct {
	target        *target.Docker
	size, rotated *collectors.Metric
}

func (c logSize) collect(ctx context.Context, w *collectors.Writer) error {
	all, err := c.target.Containers(ctx)
	faults := []error{err}
	kept,
		rest := collectors.Largest(all, w.Limit(),
		func(k target.Container) float64 { return float64(k.Started.Unix()) })
	w.Cut(len(rest))
	for _, k := range kept {
		if k.LogDriver == "json-file" || k.LogDriver == "local" {
			w.Set(c.rotated, number(k.LogRotated), c.target.Name, k.Name)
		}
		if k.LogPath == "" {
			continue
		}
		size, err := c.target.LogBytes(k)
		switch {
		case err == nil:
			w.Set(c.size, size, c.target.Name, k.Name)
		case errors.Is(err, fs.ErrPermission):
			faults = append(faults, fmt.Errorf("%w: run as root, or let upkeep read the folder", err))
		case !errors.Is(err, fs.ErrNotExist): // a container that has not written yet
			faults = append(faults, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(faults...)
}
