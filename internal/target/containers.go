package target

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
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

// listed and inspected are the parts of the engine's answers that are read.
type listed struct {
	ID     string `json:"Id"`
	Names  []string
	Labels map[string]string
}

type inspected struct {
	ID    string `json:"Id"`
	Name  string
	Image string

	Created time.Time
	State   struct {
		Status                string
		OOMKilled             bool
		ExitCode              int
		StartedAt, FinishedAt time.Time
		Health                *struct{ Status string }
	}
	RestartCount int64
	LogPath      string
	Config       struct {
		Image  string
		Labels map[string]string
	}
	HostConfig struct {
		LogConfig struct {
			Type   string
			Config map[string]string
		}
	}
}

// Containers returns every container of the engine, in the order of their names.
// One that goes away meanwhile is left out.
func (d *Docker) Containers(ctx context.Context) ([]Container, error) {
	var list []listed
	if err := d.Get(ctx, &list, url.Values{"all": {"1"}}, "containers", "json"); err != nil {
		return nil, err
	}
	var all []Container
	var faults []error
	for _, l := range list {
		var i inspected
		if err := d.Get(ctx, &i, nil, "containers", l.ID, "json"); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			if !Gone(err) {
				faults = append(faults, err)
			}
			continue
		}
		all = append(all, i.container())
	}
	slices.SortFunc(all, func(a, b Container) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all, errors.Join(faults...)
}

func (i inspected) container() Container {
	c := Container{
		ID: i.ID, Name: strings.TrimPrefix(i.Name, "/"), Service: i.Config.Labels["com.docker.compose.service"], Project: i.Config.Labels["com.docker.compose.project"],
		Image: i.Config.Image, ImageID: i.Image, State: i.State.Status, OOMKilled: i.State.OOMKilled, ExitCode: i.State.ExitCode,
		Restarts: i.RestartCount, Created: i.Created, Started: i.State.StartedAt, Finished: i.State.FinishedAt, LogDriver: i.HostConfig.LogConfig.Type, LogPath: i.LogPath,
	}
	if c.Service == "" {
		c.Service = c.Name
	}
	if h := i.State.Health; h != nil && h.Status != "none" {
		c.Health = h.Status
	}
	// The driver local rotates unless it is told otherwise, json-file when it is told to.
	size, set := i.HostConfig.LogConfig.Config["max-size"]
	c.LogRotated = set && size != "" && size != "-1" || c.LogDriver == "local" && !set
	return c
}

// LogBytes adds up the sizes of a container's log file and of those that were
// rotated, as they are seen from here.
func (d *Docker) LogBytes(c Container) (float64, error) {
	folder, name := filepath.Split(filepath.Join(d.Root, c.LogPath))
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, e := range entries {
		if e.Name() != name && !strings.HasPrefix(e.Name(), name+".") {
			continue
		}
		info, err := e.Info()
		if err == nil {
			sum += float64(info.Size())
		} else if !errors.Is(err, fs.ErrNotExist) { // rotated meanwhile
			return 0, err
		}
	}
	return sum, nil
}
