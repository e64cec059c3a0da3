package target

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// A Container is what an engine says of one container.
type Container struct {
	ID, Name       string
	Service        string // of Compose; the name where it is not Compose's
	Project        string // of Compose; "" where it is not Compose's
	Image, ImageID string
	State          string // created, running, paused, restarting, removing, exited or dead
	Health         string // healthy, unhealthy or starting; "" without a health check
	OOMKilled      bool   // the last time that it ended
	ExitCode       int
	Restarts       int64 // by its restart policy
	Created        time.Time
	Started        time.Time // zero where it never was
	Finished       time.Time // zero where it never has
	LogDriver      string
	LogPath        string // on the engine's machine; "" where the driver keeps no such file
	LogRotated     bool   // its log has a limit
}

// Containers returns every container of the engine, in the order of their names.
// One that goes away meanwhile is left out.
func (d *Docker) Containers(ctx context.Context) ([]Container, error) {
	list, err := d.list(ctx)
	if err != nil {
		return nil, err
	}
	var all []Container
	var faults []error
	for _, l := range list {
		i, err := d.inspect(ctx, l.ID)
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			if !Gone(err) {
				faults = append(faults, err)
			}
			continue
		}
		all = append(all, containerOf(i))
	}
	slices.SortFunc(all, func(a, b Container) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.ID, b.ID))
	})
	return all, errors.Join(faults...)
}

// Container describes one container by its ID.
func (d *Docker) Container(ctx context.Context, id string) (Container, error) {
	i, err := d.inspect(ctx, id)
	if err != nil {
		return Container{}, err
	}
	return containerOf(i), nil
}

func containerOf(i container.InspectResponse) Container {
	at := func(text string) time.Time {
		t, _ := time.Parse(time.RFC3339Nano, text) // zero where the engine does not say
		return t
	}
	c := Container{
		ID: i.ID, Name: strings.TrimPrefix(i.Name, "/"), Service: i.Config.Labels["com.docker.compose.service"],
		Project: i.Config.Labels["com.docker.compose.project"],
		Image:   i.Config.Image, ImageID: i.Image, State: string(i.State.Status), OOMKilled: i.State.OOMKilled,
		ExitCode: i.State.ExitCode,
		Restarts: int64(i.RestartCount), Created: at(i.Created), Started: at(i.State.StartedAt),
		Finished: at(i.State.FinishedAt), LogDriver: i.HostConfig.LogConfig.Type, LogPath: i.LogPath,
	}
	if c.Service == "" {
		c.Service = c.Name
	}
	if h := i.State.Health; h != nil && h.Status != "none" {
		c.Health = string(h.Status)
	}
	// The driver local rotates by default, json-file only if configured.
	size, set := i.HostConfig.LogConfig.Config["max-size"]
	c.LogRotated = set && size != "" && size != "-1" || c.LogDriver == "local" && !set
	return c
}
