package docker

import (
	"context"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Containers reports the state and the health of each container.
func Containers(t *target.Docker) collectors.Collector {
	c := containers{
		target: t,
		up:     gauge("up", "1 when the engine answers, 0 when it does not."),
		info: gauge("container_info", "1, with the Compose service and project of the container and its image.",
			"container", "service", "project", "image"),
		state: gauge("container_state",
			"1, with the state of the container: created, running, paused, restarting, removing, exited or dead.",
			"container", "state").WithoutPanel(collectors.AdHoc),
		running: gauge("container_running", "1 when the container runs, else 0.", "container"),
		unhealthy: gauge("container_unhealthy",
			"1 when the container's health check fails, 0 when it succeeds or has not ended yet; absent without a "+
				"health check, and while the container does not run.", "container"),
		oom: gauge("container_oom_killed",
			"1 when the container was ended the last time since its memory was used up, else 0.", "container"),
		exit: gauge("container_exit_code", "Exit code of the container; absent while it runs or is paused, and "+
			"before it has run.",
			"container"),
		restarts: &collectors.Metric{Name: "upkeep_docker_container_restarts_total", Type: collectors.Counter,
			Help: "Restarts of the container by its restart policy.", Labels: []string{"server", "container"}},
		started: gauge("container_start_timestamp_seconds", "When the container was last started; absent if never.",
			"container"),
		image: gauge("container_image_created_timestamp_seconds",
			"When the image of the container was built; absent when the engine does not know the image any more.",
			"container"),
	}
	return collectors.Collector{
		Name:   "docker/containers",
		Target: t.Name,
		Doc: `Containers reports the state of each container: running, healthy, restarted, OOM-killed, and the age of its image.

Reads the list of containers, each of them, and the list of images. Rights: GET on
the engine's socket; where that is too much, a proxy that lets only GET
/containers, /images, /system/df and /version through. Cost: one question for each
container. An engine that does not answer is the answer 0 of upkeep_docker_up.`,
		Metrics: []*collectors.Metric{c.up, c.info, c.state, c.running, c.unhealthy, c.oom, c.exit, c.restarts,
			c.started, c.image},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Limit:   1000,
		Collect: c.collect,
	}
}

type containers struct {
	target                                                                   *target.Docker
	up, info, state, running, unhealthy, oom, exit, restarts, started, image *collectors.Metric
}

func (c containers) collect(ctx context.Context, w *collectors.Writer) error {
	name := c.target.Name
	all, err := c.target.Containers(ctx)
	if err != nil && all == nil {
		if ctx.Err() != nil && context.Cause(ctx) == context.Canceled { //nolint:errorlint // stopped by us: nothing is known of the engine
			return ctx.Err()
		}
		w.Set(c.up, 0, name)
		return nil
	}
	w.Set(c.up, 1, name)
	kept,
		rest := collectors.Largest(all, w.Limit(),
		func(k target.Container) float64 { return float64(k.Started.Unix()) })
	w.Cut(len(rest))
	built, fault := c.built(ctx, kept)
	for _, k := range kept {
		running := k.State == "running"
		w.Set(c.info, 1, name, k.Name, k.Service, k.Project, k.Image)
		w.Set(c.state, 1, name, k.Name, k.State)
		w.Set(c.running, number(running), name, k.Name)
		w.Set(c.oom, number(k.OOMKilled), name, k.Name)
		w.Set(c.restarts, float64(k.Restarts), name, k.Name)
		// Of one that has stopped the engine says that it is unhealthy.
		if k.Health != "" && (running || k.State == "paused") {
			w.Set(c.unhealthy, number(k.Health == "unhealthy"), name, k.Name)
		}
		// One that could not be started has an exit code, and the state created.
		if !running && k.State != "paused" && (k.State != "created" || k.ExitCode != 0) {
			w.Set(c.exit, float64(k.ExitCode), name, k.Name)
		}
		if !k.Started.IsZero() && k.Started.Year() > 1 {
			w.Set(c.started, float64(k.Started.UnixMilli())/1000, name, k.Name)
		}
		if at, ok := built[k.ImageID]; ok && at > 0 {
			w.Set(c.image, float64(at), name, k.Name)
		}
	}
	if err == nil {
		err = fault
	}
	return err
}

// built returns when the images of containers were built.
func (c containers) built(ctx context.Context, kept []target.Container) (map[string]int64, error) {
	built := make(map[string]int64)
	for _, all := range []bool{false, true} { // the longer list has those too that are no more than parents of others
		images, err := c.target.ImageList(ctx, all)
		if err != nil {
			return built, err
		}
		for _, i := range images {
			built[i.ID] = i.Created
		}
		if !slices.ContainsFunc(kept, func(k target.Container) bool { _, known := built[k.ImageID]; return !known }) {
			break
		}
	}
	return built, nil
}
