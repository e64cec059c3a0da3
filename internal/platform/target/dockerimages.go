package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Image is what an engine says of one image, and what is remembered of it.
type Image struct {
	ID          string
	ParentID    string // the image that it was built from, where it was built here
	RepoTags    []string
	RepoDigests []string
	Created     int64 // seconds since 1970, as its builder says
	Size        float64
	Labels      map[string]string

	// InUse says that a container has it, running or not.
	InUse bool

	Sighting
}

// Names returns the names that people gave it.
func (i Image) Names() []string {
	names := slices.DeleteFunc(slices.Clone(i.RepoTags),
		func(n string) bool { return n == "" || strings.HasPrefix(n, "<none>") })
	slices.Sort(names)
	return names
}

// Images returns every image of the engine, those too that are only a stage of a
// build, and remembers what it has seen.
func (d *Docker) Images(ctx context.Context) ([]Image, error) {
	engine, err := d.Engine(ctx)
	if err != nil {
		return nil, err
	}
	there, err := d.ImageList(ctx, true)
	if err != nil {
		return nil, err
	}
	all := make([]Image, len(there))
	for n, i := range there {
		all[n] = Image{ID: i.ID, ParentID: i.ParentID, RepoTags: i.RepoTags, RepoDigests: i.RepoDigests,
			Created: i.Created, Size: float64(i.Size), Labels: i.Labels}
	}
	// Containers are listed after the images: one that is made meanwhile is seen.
	list, err := d.list(ctx)
	if err != nil {
		return nil, err
	}
	uses := make(map[string]bool)
	for _, c := range list {
		uses[c.ImageID] = true
	}
	used := make(map[string]time.Time)
	now := time.Now()
	containers, _ := d.Containers(ctx) // one that cannot be read is in use all the same
	for _, c := range containers {
		if at := c.used(now); at.After(used[c.ImageID]) {
			used[c.ImageID] = at
		}
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
		all[i].InUse = uses[all[i].ID]
	}
	seen, err := d.seen.look(engine.ID, now, ids, used)
	for i := range all {
		all[i].Sighting = seen[all[i].ID]
	}
	return all, err
}

// used is when the container last needed its image.
func (c Container) used(now time.Time) time.Time {
	switch c.State {
	case "running", "paused", "restarting":
		return now
	}
	at := c.Created
	for _, t := range []time.Time{c.Started, c.Finished} {
		if t.After(at) {
			at = t
		}
	}
	if at.After(now) {
		return now
	}
	return at
}

// An Engine is what an engine says of itself.
type Engine struct {
	ID   string
	Time time.Time
}

// Engine asks the engine who it is and what time it has. A proxy before it that does
// not let the question through leaves both unknown.
func (d *Docker) Engine(ctx context.Context) (e Engine, err error) {
	i, err := d.info(ctx)
	if refused, ok := errors.AsType[*DockerError](err); ok &&
		(refused.Status == http.StatusForbidden || refused.Status == http.StatusMethodNotAllowed) {
		return Engine{}, nil
	}
	if err != nil {
		return e, err
	}
	e.ID = i.ID
	if i.SystemTime != "" {
		if e.Time, err = time.Parse(time.RFC3339Nano, i.SystemTime); err != nil {
			return e, fmt.Errorf("docker: the engine's time: %w", err)
		}
	}
	return e, nil
}
