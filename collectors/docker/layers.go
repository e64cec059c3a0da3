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
}

// stacks asks for the layers of those images that share some.
func stacks(ctx context.Context, t *target.Docker, images []*image.Summary) ([]stack, error) {
	all := make([]stack, len(images))
	asks := true
	for n, i := range images {
		all[n] = stack{size: i.Size, shared: max(i.SharedSize, 0), used: i.Containers > 0}
		if !asks || all[n].shared == 0 {
			continue
		}
		layers, err := t.ImageLayers(ctx, i.ID)
		switch {
		case err == nil:
			all[n].layers = layers
		case target.Refused(err, http.StatusForbidden, http.StatusMethodNotAllowed):
			asks = false // a proxy lets only the disk usage through
		case !target.Gone(err):
			return nil, err
		}
	}
	return all, nil
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
		n := 0
		for j, other := range all {
			if j != i {
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

// reclaimable returns what is freed when all images go that no container uses: what the others do not
// keep, and at least what only they have.
func reclaimable(all []stack, layers int64) int64 {
	var alone int64
	for _, s := range all {
		if !s.used {
			alone += s.size - s.shared
		}
	}
	if !slices.ContainsFunc(all, func(s stack) bool { return s.used }) {
		return layers
	}
	return max(layers-kept(all), alone, 0)
}
