package docker

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/image"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A stack is an image as the layers that it is made of, the lowest first. Images share layers from
// the lowest up: what they have in common is the beginning of both.
type stack struct {
	layers       []string // nil where the engine does not say
	size, shared int64    // shared is what other images have too
	used         bool     // by a container, running or not
	unlisted     bool     // the engine's disk usage does not have it
}

// stacks asks for the layers of those images that share some.
func stacks(ctx context.Context, t *target.Docker, images []*image.Summary) ([]stack, error) {
	hidden, err := unlisted(ctx, t, images)
	if err != nil {
		return nil, err
	}
	all := make([]stack, len(images))
	asks := true
	for n, i := range images {
		all[n] = stack{size: i.Size, shared: max(i.SharedSize, 0), used: i.Containers > 0}
		if !asks || all[n].shared == 0 && len(hidden) == 0 {
			continue
		}
		layers, _, err := t.ImageLayers(ctx, i.ID)
		switch {
		case err == nil:
			all[n].layers = layers
		case proxied(err):
			asks = false
		case !target.Gone(err):
			return nil, err
		}
	}
	return append(all, hidden...), nil
}

// unlisted returns the images of containers that are not among those of the disk usage. The engine leaves out, there
// and in what images share, one that has lost its name while another was made of it: by a build or a commit.
func unlisted(ctx context.Context, t *target.Docker, images []*image.Summary) (all []stack, err error) {
	listed := make(map[string]bool)
	for _, i := range images {
		listed[i.ID] = true
	}
	ids, err := t.ImagesInUse(ctx)
	if proxied(err) {
		return nil, nil
	}
	for _, id := range ids {
		if listed[id] || id == "" {
			continue
		}
		layers, size, err := t.ImageLayers(ctx, id)
		switch {
		case err == nil:
			all = append(all, stack{layers: layers, size: size, used: true, unlisted: true})
		case !target.Gone(err) && !proxied(err): // a container's image may be removed by force
			return nil, err
		}
	}
	return all, err
}

// proxied reports whether a proxy lets only the disk usage through.
func proxied(err error) bool {
	return target.Refused(err, http.StatusForbidden, http.StatusMethodNotAllowed)
}

// common returns how many layers two images share.
func common(a, b stack) (n int) {
	for n < min(len(a.layers), len(b.layers)) && a.layers[n] == b.layers[n] {
		n++
	}
	return n
}

// first names the first layers of an image.
func (s stack) first(n int) string { return strings.Join(s.layers[:n], " ") }

// kept returns how many bytes of layers the images in use keep. The engine does not say how large a layer
// is, but how large an image is, and how much of it others share: where the shared part of an image ends,
// and where an image ends, the size from the lowest layer up to there is known. Where two images in use part at
// another place, less is taken for shared than is: what is kept may be too much, and never too little.
func kept(all []stack) (bytes int64) {
	upTo := make(map[string]int64)
	for i, s := range all {
		if s.unlisted {
			upTo[s.first(len(s.layers))] = s.size
			continue
		}
		n := 0
		for j, other := range all {
			if j != i && !other.unlisted { // with which the engine says that it shares
				n = max(n, common(s, other))
			}
		}
		if n > 0 {
			upTo[s.first(n)] = s.shared
			upTo[s.first(len(s.layers))] = s.size
		}
	}
	for i, s := range all {
		if !s.used {
			continue
		}
		n := 0
		for _, before := range all[:i] {
			if before.used {
				n = max(n, common(s, before))
			}
		}
		bytes += s.size
		for ; n > 0; n-- {
			if size, known := upTo[s.first(n)]; known {
				bytes -= size
				break
			}
		}
	}
	return bytes
}

// below returns how much of an image those may keep that the disk usage does not have.
func (s stack) below(all []stack) (bytes int64) {
	for _, other := range all {
		if other.unlisted && (s.layers == nil || common(s, other) > 0) {
			bytes = max(bytes, min(s.size, other.size))
		}
	}
	return bytes
}

// reclaimable returns what is freed when all images go that no container uses: what the others do not
// keep, and at least what only they have.
func reclaimable(all []stack, layers int64) int64 {
	var alone int64
	for _, s := range all {
		if !s.used {
			alone += s.size - max(s.shared, s.below(all))
		}
	}
	if !slices.ContainsFunc(all, func(s stack) bool { return s.used }) {
		return layers
	}
	return max(layers-kept(all), alone, 0)
}
