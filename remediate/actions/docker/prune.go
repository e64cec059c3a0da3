package docker

import (
	"context"
	"fmt"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/docker"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Prune removes unused images, or unused entries of the build cache.
func Prune(t *target.Docker) remediate.Action {
	return remediate.Action{
		Name:   "docker/prune",
		Target: t.Name,
		Doc: `Prune removes images that no container uses, or entries of the build cache, which is what the label type says: images or build_cache.

An image is removed when no container uses it, running or stopped; when it was not
built, tagged or used within the time in the parameter age; and when it is not among
the newest unused images of its repository, of which the parameter keep leaves some
for a rollback. An image is as new as the latest of three times: built, tagged on this
engine, last used by a container. A build time that is in the future, before 2013 or
the same for several images is ignored: reproducible builds have such times. If the
time of the tag is unknown too, upkeep counts from when it first saw the image. It
keeps that in a file in its data_dir, which docker/diskusage and this action update.
Equally new images stay together. Images without a name are counted together, by
service where Compose built them.

These stay: images with the label upkeep.keep or named upkeep-rollback/…, images with
several names, which would have to be removed one by one, and images from which another
one that stays was built. The plan lists each image with its size, and how to pull it
again if it came from a registry. All of this is checked again right before each image
is removed: one that has a container or another name by then stays, and so does one
that is needed again. Each is removed by its ID, without force and without the images
that it was built from; the engine itself refuses an image that a container uses by
then.

Build cache that was not used for the time in age is removed; an engine without that
filter (before API 1.39) is refused, because it would remove everything. Containers
and volumes are never removed: they may hold data that is still needed. It refuses an
engine whose clock differs from upkeep's by more than 5 minutes.

An image frees less than its size where other images share its layers: the plan's
amount is the sum of the sizes, which is the upper bound.
Rights: GET, DELETE /images/* and POST /build/prune on the engine's socket.`,
		Lowers: "upkeep_docker_disk_reclaimable_bytes",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "no one",
			WAL:    "–",
			Disk:   "frees space",
			Undo:   "pull or build the image again; the plan says how",
		},
		Subject:   []string{"server", "type"},
		Exclusive: []string{"server"},
		Params: []remediate.Param{
			{Name: "age", Type: remediate.Duration, Default: "7d",
				Doc: "Minimum age: time since an image was last built, tagged or used, or since a cache entry was " +
					"last used."},
			{Name: "keep", Type: remediate.Int, Default: "2",
				Doc: "How many unused images of a repository are kept, the newest ones."},
		},
		Timeout:  10 * time.Minute,
		Executor: prune{t},
	}
}

// Plan implements remediate.Executor.
func (a prune) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	s, err := settingsOf(r.Params)
	if err != nil {
		return p, err
	}
	switch kind := r.Subject["type"]; kind {
	case read.KindImages:
		return a.planImages(ctx, s)
	case read.KindBuildCache:
		return a.planCache(ctx, s)
	case read.KindContainers, read.KindVolumes:
		return p, remediate.Refuse(remediate.ReasonUnfit,
			"%s have data that somebody may miss: look through them by hand (docker system df --verbose)", kind)
	default:
		return p, remediate.Refuse(remediate.ReasonGone, "an engine keeps no %q; it keeps images and build_cache", kind)
	}
}

// Apply implements remediate.Executor.
func (a prune) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	if _, cache := s.Args["until"]; cache {
		return a.applyCache(ctx, f, s)
	}
	return a.applyImage(ctx, f, s)
}

// Identified implements remediate.Identifier.
func (a prune) Identified(ctx context.Context, s remediate.Step) error {
	e, err := a.target.Engine(ctx)
	if err != nil {
		return err
	}
	args, err := remediate.ArgsOf[engineArgs](s)
	if err != nil {
		return err
	}
	return elsewhere(e.ID, args.Engine)
}

// Measure implements remediate.Executor.
func (a prune) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	all, err := read.ReadDiskUsage(ctx, a.target, r.Subject["type"])
	if err != nil {
		return 0, privilege(err)
	}
	u, known := all[r.Subject["type"]]
	if !known {
		return 0, fmt.Errorf("an engine keeps no %q: %w", r.Subject["type"], remediate.ErrGone)
	}
	return u.Reclaimable, nil
}
