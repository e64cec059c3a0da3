package docker

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/docker/docker/api/types"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// DiskUsage reports the engine's disk usage and its reclaimable part.
func DiskUsage(t *target.Docker) collectors.Collector {
	c := diskUsage{
		target: t,
		size: gauge("disk_used_bytes",
			"Bytes on disk of images, of what containers have written, of volumes, and of the build cache.", "type"),
		reclaimable: gauge("disk_reclaimable_bytes",
			"Bytes that docker image prune --all, container prune, volume prune --all and builder prune --all would "+
				"free. For volumes this is data that may still be needed.", "type"),
		objects: gauge("disk_objects", "Number of images, containers, volumes, and entries of the build cache.",
			"type").WithoutPanel(collectors.AdHoc),
	}
	return collectors.Collector{
		Name:   "docker/diskusage",
		Target: t.Name,
		Doc: `DiskUsage reports what the engine keeps on disk by kind, and what of it no container uses.

Reads /system/df, and the lists of images and containers: in a file of upkeep's own it
is noted which images there are and when a container last used each, for
docker/prune. Rights: GET on the engine's socket. Cost: high: the engine goes
over every file of every container and volume, which takes minutes on some machines;
so it is asked twice an hour, for five minutes at most, and never twice at a time.
Layers that images share count once. Of images that share some it asks for the
list of layers, to know what those in use keep; where the engine or a proxy does not
tell, reclaimable is less than a prune would free, never more.`,
		Metrics: []*collectors.Metric{c.size, c.reclaimable, c.objects},
		Every:   30 * time.Minute,
		Timeout: 5 * time.Minute,
		Collect: c.collect,
	}
}

type diskUsage struct {
	target                     *target.Docker
	size, reclaimable, objects *collectors.Metric
}

// A Usage is what an engine keeps on disk of one kind.
type Usage struct{ Objects, Bytes, Reclaimable float64 }

// The kinds of what an engine keeps.
const (
	KindImages     = "images"
	KindContainers = "containers"
	KindVolumes    = "volumes"
	KindBuildCache = "build_cache"
)

// ReadDiskUsage returns what an engine keeps on disk by kind. It is asked for the
// kinds that are named, or for all; one before API 1.42 looks at everything each time.
func ReadDiskUsage(ctx context.Context, t *target.Docker, kinds ...string) (map[string]Usage, error) {
	names := map[string]types.DiskUsageObject{KindImages: types.ImageObject, KindContainers: types.ContainerObject,
		KindVolumes: types.VolumeObject, KindBuildCache: types.BuildCacheObject}
	var asked []types.DiskUsageObject
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if len(kinds) == 0 || slices.Contains(kinds, k) {
			asked = append(asked, names[k])
		}
	}
	u, err := t.DiskUsage(ctx, asked...)
	if err != nil {
		return nil, err
	}
	images, err := stacks(ctx, t, u.Images)
	if err != nil {
		return nil, err
	}
	return usage(u, images), nil
}

func (c diskUsage) collect(ctx context.Context, w *collectors.Writer) error {
	all, err := ReadDiskUsage(ctx, c.target)
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		w.Set(c.objects, all[kind].Objects, c.target.Name, kind)
		w.Set(c.size, all[kind].Bytes, c.target.Name, kind)
		w.Set(c.reclaimable, all[kind].Reclaimable, c.target.Name, kind)
	}
	if err != nil {
		return err
	}
	_, err = c.target.Images(ctx)
	if refused, ok := errors.AsType[*target.DockerError](err); ok &&
		(refused.Status == http.StatusForbidden || refused.Status == http.StatusMethodNotAllowed) {
		return nil // a proxy lets only the disk usage through: then nothing is pruned either
	}
	return err
}

func usage(u types.DiskUsage, images []stack) map[string]Usage {
	all := make(map[string]Usage)
	set := func(kind string, n int, size, reclaimable int64) {
		all[kind] = Usage{float64(n), float64(size), float64(reclaimable)}
	}
	set(KindImages, len(u.Images), u.LayersSize, reclaimable(images, u.LayersSize))
	var size, free int64
	for _, k := range u.Containers {
		size += k.SizeRw
		if k.State != "running" && k.State != "paused" && k.State != "restarting" {
			free += k.SizeRw
		}
	}
	set(KindContainers, len(u.Containers), size, free)
	size, free = 0, 0
	for _, v := range u.Volumes {
		if v.UsageData == nil || v.UsageData.Size < 0 {
			continue // its driver does not tell
		}
		size += v.UsageData.Size
		if v.UsageData.RefCount == 0 {
			free += v.UsageData.Size
		}
	}
	set(KindVolumes, len(u.Volumes), size, free)
	size, free = 0, 0
	for _, b := range u.BuildCache {
		if b.Shared {
			continue // it is another entry's
		}
		size += b.Size
		if !b.InUse {
			free += b.Size
		}
	}
	set(KindBuildCache, len(u.BuildCache), size, free)
	return all
}
