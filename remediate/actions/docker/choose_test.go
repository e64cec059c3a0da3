package docker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/docker"
)

// load loads an image whose builder says that it was made at some time, as one does
// whose builds are the same each time, and returns its ID.
func load(t *testing.T, d *sandbox.Docker, created time.Time, names ...string) string {
	t.Helper()
	layer, err := sandbox.Tar(map[string][]byte{"noise": noise(1 << 10)})
	if err != nil {
		t.Fatal(err)
	}
	sum := func(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "created": created.UTC().Format(time.RFC3339),
		"config": map[string]any{"Cmd": []string{"/noise"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum(layer)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": sum(config) + ".json", "RepoTags": []string{},
		"Layers": []string{"layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	image, err := sandbox.Tar(map[string][]byte{sum(config) + ".json": config, "layer.tar": layer,
		"manifest.json": manifest})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Run(t.Context(), image, "load"); err != nil {
		t.Fatal(err)
	}
	id := "sha256:" + sum(config)
	for _, n := range names {
		run(t, d, "tag", id, n) // which the engine notes the time of, and not that of a load
	}
	return id
}

func remembering(t *testing.T, d *sandbox.Docker, file string) *target.Docker {
	t.Helper()
	e, err := target.NewDocker(target.DockerConfig{Name: "engine", Host: d.Host, Root: "/", Sightings: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func goes(p remediate.Plan) (ids []string) {
	for _, s := range p.Steps {
		ids = append(ids, s.Args["image"])
	}
	return ids
}

// What was tagged last is newest, whatever its builder says of when it was made.
func TestPruneOrdersByTag(t *testing.T) {
	d := servertest.Docker(t)
	a := docker.Prune(engine(t, d.Host))
	for name, made := range map[string]func(n int) time.Time{
		"epoch":  func(int) time.Time { return time.Unix(0, 0) },
		"future": func(n int) time.Time { return time.Date(2090-n, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		t.Run(name, func(t *testing.T) {
			var v []string
			for n := range 6 {
				v = append(v, load(t, d, made(n), fmt.Sprintf("%s:v%d", name, n+1)))
			}
			run(t, d, "create", "--network", "none", name+":v6")
			run(t, d, "tag", v[0], name+":again") // the oldest is to be the newest
			run(t, d, "rmi", name+":v1")
			time.Sleep(1100 * time.Millisecond)
			p, err := plan(t, a, "images", map[string]string{"age": "1s", "keep": "2"})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := goes(p), v[1:4]; !slices.Equal(got, want) {
				t.Errorf("the plan removes\n%v, want v2, v3 and v4, which are\n%v", got, want)
			}
			if p.Amount == nil || p.Amount.Bytes <= 0 || p.Amount.OfBytes <= p.Amount.Bytes {
				t.Errorf("the amount is %+v", p.Amount)
			}
			applyAll(t, a, p)
			left := strings.Join(images(t, d), " ")
			for n, id := range v {
				if strings.Contains(left, id) != (n == 0 || n > 3) {
					t.Errorf("v%d is left: %v", n+1, strings.Contains(left, id))
				}
			}
		})
	}
}

// What nothing is known of is as old as upkeep has seen it, also after a restart of
// upkeep; and what comes later is as old as that.
func TestPruneRemembers(t *testing.T) {
	d := servertest.Docker(t)
	file := filepath.Join(t.TempDir(), "folder of its own", "images.json")
	params := map[string]string{"age": "3s", "keep": "0"}
	epoch, real := load(t, d, time.Unix(0, 0)), load(t, d, time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC))
	p, err := plan(t, docker.Prune(remembering(t, d, file)), "images", params)
	if err != nil || !slices.Equal(goes(p), []string{real}) {
		t.Fatalf("the first plan removes %v (%v), want the image of 2024, %s", goes(p), err, real)
	}
	seen := time.Now()
	time.Sleep(3100 * time.Millisecond)
	late := load(t, d, time.Date(2023, 5, 6, 7, 8, 9, 0, time.UTC))
	if p, err = plan(t, docker.Prune(remembering(t, d, file)), "images", params); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(slices.Values(goes(p))),
		slices.Sorted(slices.Values([]string{epoch, real})); !slices.Equal(got, want) {
		t.Errorf("the plan removes\n%v, want those that were there before,\n%v", got, want)
	}
	// A container that is gone by now has used it.
	k := run(t, d, "create", "--network", "none", epoch)
	if _, err := remembering(t, d, file).Images(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, d, "rm", k)
	// As old as what was there first: however busy the machine is, what was used or came later is younger.
	first := map[string]string{"age": fmt.Sprintf("%dms", time.Since(seen).Milliseconds()), "keep": "0"}
	p, err = plan(t, docker.Prune(remembering(t, d, file)), "images", first)
	if err != nil || !slices.Equal(goes(p), []string{real}) {
		t.Errorf("the plan removes %v (%v), want what no container had, %s", goes(p), err, real)
	}
	time.Sleep(3100 * time.Millisecond)
	p, err = plan(t, docker.Prune(remembering(t, d, file)), "images", params)
	if err != nil || len(p.Steps) != 3 || !slices.Contains(goes(p), late) {
		t.Errorf("the plan removes %v (%v), want all three", goes(p), err)
	}
}

// Between the plan and a step the world goes on.
func TestPruneLooksAgain(t *testing.T) {
	d := servertest.Docker(t)
	a := docker.Prune(engine(t, d.Host))
	params := map[string]string{"age": "1s", "keep": "1"}
	for _, test := range []struct {
		name   string
		change func(t *testing.T, shop string, ids []string)
		stays  bool
	}{
		{"nothing", func(*testing.T, string, []string) {}, false},
		{"used", func(t *testing.T, _ string, ids []string) { run(t, d, "create", "--network", "none", ids[0]) }, true},
		{"tagged-the-same", func(t *testing.T, shop string, ids []string) { run(t, d, "tag", ids[0], shop+":1") },
			true},
		{"tagged", func(t *testing.T, shop string, ids []string) { run(t, d, "tag", ids[0], shop+":back") }, true},
		{"tag-moved", func(t *testing.T, shop string, ids []string) { run(t, d, "tag", ids[1], shop+":1") }, true},
		{"successor-used", func(t *testing.T, _ string, ids []string) {
			run(t, d, "create", "--network", "none",
				ids[1])
		}, true},
		{"successor-gone", func(t *testing.T, _ string, ids []string) { run(t, d, "rmi", ids[1]) }, true},
		{"loaded-again", func(t *testing.T, shop string, _ []string) {
			file := filepath.Join(d.Dir, "saved.tar")
			run(t, d, "save", "--output", file, shop+":1")
			run(t, d, "rmi", shop+":1")
			run(t, d, "load", "--input", file)
		}, true},
		{"built-from", func(t *testing.T, shop string, _ []string) {
			build(t, d, "child", "1", "FROM "+shop+":1\nCOPY noise /\n")
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ids := []string{load(t, d, time.Unix(0, 0), test.name+":1"), load(t, d, time.Unix(0, 0), test.name+":2")}
			time.Sleep(1100 * time.Millisecond)
			p, err := plan(t, a, "images", params)
			if err != nil {
				t.Fatal(err)
			}
			// of earlier cases
			p.Steps = slices.DeleteFunc(p.Steps, func(s remediate.Step) bool {
				return !slices.Contains(ids,
					s.Args["image"])
			})
			if !slices.Equal(goes(p), ids[:1]) {
				t.Fatalf("%v, want %s", goes(p), ids[0])
			}
			test.change(t, test.name, ids)
			applyAll(t, a, p)
			if _, err := d.Run(t.Context(), nil, "image", "inspect", ids[0]); (err == nil) != test.stays {
				t.Errorf("it is there: %v, want %v", err == nil, test.stays)
			}
		})
	}
}

// An image that others were built from stays while one of them does, and what the plan
// does not name stays.
func TestPruneBuilt(t *testing.T) {
	d := servertest.Docker(t)
	a := docker.Prune(engine(t, d.Host))
	const shared = "FROM scratch\nLABEL stage=1\n"
	build(t, d, "one:1", "1", shared+"COPY noise /\n")
	build(t, d, "two:1", "1", shared+"COPY noise /\n")
	stage := run(t, d, "inspect", "--format", "{{.Parent}}", "one:1")
	if stage == "" || stage != run(t, d, "inspect", "--format", "{{.Parent}}", "two:1") {
		t.Fatal("the images share no stage: the test shows nothing")
	}
	params := map[string]string{"age": "1s", "keep": "0"}
	used := run(t, d, "create", "--network", "none", "two:1", "/noise")
	all := func() []string { return strings.Fields(run(t, d, "images", "--all", "--quiet", "--no-trunc")) }
	one := run(t, d, "inspect", "--format", "{{.Id}}", "one:1")
	_, _ = plan(t, a, "images", params) // has a look, from which on the age counts
	time.Sleep(1100 * time.Millisecond)
	p, err := plan(t, a, "images", params)
	if err != nil || !slices.Equal(goes(p), []string{one}) {
		t.Fatalf("%v %v, want %s", goes(p), err, one)
	}
	applyAll(t, a, p)
	if left := all(); !slices.Contains(left, stage) || slices.Contains(left, one) {
		t.Errorf("left are %v", left)
	}
	run(t, d, "rm", used)
	time.Sleep(1100 * time.Millisecond)
	if p, err = plan(t, a, "images", params); err != nil || len(p.Steps) < 2 || goes(p)[1] != stage {
		t.Fatalf("%v %v, want what was built and then its stage %s", goes(p), err, stage)
	}
	f := hold()
	f.Most = &remediate.Amount{Bytes: 1}
	refuses(t, a.Apply(t.Context(), f, p.Steps[0]), remediate.ReasonAmount, "the run may remove")
	moved := p.Steps[0]
	moved.Args = maps.Clone(moved.Args)
	moved.Args["engine"] = "another"
	refuses(t, a.Apply(t.Context(), hold(), moved), remediate.ReasonTarget, "another engine")
	// The child alone, as a run does that ends there.
	if err := a.Apply(t.Context(), hold(), p.Steps[0]); err != nil {
		t.Fatal(err)
	}
	if left := all(); !slices.Contains(left, stage) {
		t.Error("an image is gone whose step was not applied")
	}
	applyAll(t, a, p)
	if left := all(); slices.Contains(left, stage) {
		t.Errorf("left are %v", left)
	}
}

// A world is what a history has made of an engine, as a model remembers it.
type world struct {
	d        *sandbox.Docker
	random   *rand.Rand
	images   map[string]*known
	tags     map[string]string // by name
	used     map[string]string // the images of containers
	count    int
	removed  int
	lookedAt func()
}

// known is what the model knows of an image.
type known struct {
	touched time.Time // not later than that it was loaded, tagged or used
	order   int       // of what was touched last
}

func (w *world) touch(id string, began time.Time) {
	w.count++
	w.images[id] = &known{began, w.count}
}

func (w *world) names(id string) (all []string) {
	for n, of := range w.tags {
		if of == id {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

func (w *world) inUse(id string) bool {
	return slices.Contains(slices.Collect(maps.Values(w.used)), id)
}

func (w *world) family(id string) string {
	if all := w.names(id); len(all) > 0 {
		return strings.Split(all[0], ":")[0]
	}
	return ""
}

func (w *world) any() (string, bool) {
	ids := slices.Sorted(maps.Keys(w.images))
	if len(ids) == 0 {
		return "", false
	}
	return ids[w.random.IntN(len(ids))], true
}

// act does something to the engine, and to the model.
func (w *world) act(t *testing.T) {
	t.Helper()
	began := time.Now()
	name := fmt.Sprintf("%c:%d", 'a'+w.random.IntN(2), w.random.IntN(4))
	id, some := w.any()
	switch n := w.random.IntN(10); {
	case n < 4 || !some:
		made := []time.Time{time.Unix(0, 0), time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC), began.Add(-time.Hour), began}[w.random.IntN(5)]
		var names []string
		if w.random.IntN(6) > 0 {
			names = []string{name}
		}
		id = load(t, w.d, made, names...)
		w.touch(id, began)
		for _, n := range names {
			w.tags[n] = id
		}
	case n < 6:
		run(t, w.d, "tag", id, name)
		w.tags[name] = id
		w.touch(id, began)
	case n < 8:
		k := run(t, w.d, "create", "--network", "none", id)
		w.used[k] = id
		w.touch(id, began)
		w.lookedAt() // as the collector does, or the use would be forgotten with the container
	default:
		for _, k := range slices.Sorted(maps.Keys(w.used)) {
			run(t, w.d, "rm", k)
			delete(w.used, k)
			break
		}
	}
}

// check holds against the model what a step has removed.
func (w *world) check(t *testing.T, step remediate.Step, keep int, age time.Duration) {
	t.Helper()
	now := time.Now()
	left := strings.Fields(run(t, w.d, "images", "--quiet", "--no-trunc"))
	for id, k := range w.images {
		if slices.Contains(left, id) {
			continue
		}
		switch {
		case id != step.Args["image"]:
			t.Errorf("%s is gone, and its step was %s", id, step.Do)
		case w.inUse(id):
			t.Errorf("%s is gone, and a container has it", id)
		case len(w.names(id)) > 1:
			t.Errorf("%s is gone, and had the names %v", id, w.names(id))
		case now.Sub(k.touched) < age:
			t.Errorf("%s is gone, and was touched %s ago", id, now.Sub(k.touched))
		}
		newer := 0
		for other, o := range w.images {
			if other != id && !w.inUse(other) && w.family(other) == w.family(id) && o.order > k.order {
				newer++
			}
		}
		if newer < keep {
			t.Errorf("%s is gone, and only %d unused images of %q are newer, want %d", id, newer, w.family(id), keep)
		}
		for _, n := range w.names(id) {
			delete(w.tags, n)
		}
		delete(w.images, id)
		w.removed++
	}
}

// Whatever becomes of the images before a plan, and between it and its steps: none
// goes that is in use, young, or among the newest.
func TestPruneHistories(t *testing.T) {
	const keep, age, seeds, rounds = 1, time.Second, 1, 4 // more of them find the same
	d := servertest.Docker(t)
	removed := 0
	for seed := range uint64(seeds) {
		e := remembering(t, d, filepath.Join(t.TempDir(), "images.json"))
		a := docker.Prune(e)
		w := &world{d: d, random: rand.New(rand.NewPCG(seed, 11)), images: make(map[string]*known),
			tags: make(map[string]string), used: make(map[string]string)}
		w.lookedAt = func() {
			if _, err := e.Images(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.lookedAt()
		for range rounds {
			for range 6 {
				w.act(t)
			}
			w.lookedAt()
			time.Sleep(age + 100*time.Millisecond)
			p, err := plan(t, a, "images", map[string]string{"age": "1s", "keep": fmt.Sprint(keep)})
			if _, refused := remediate.Refused(err); err != nil && !refused {
				t.Fatal(err)
			}
			for _, s := range p.Steps {
				if w.random.IntN(2) == 0 {
					w.act(t)
				}
				ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
				if err := a.Apply(ctx, hold(), s); err != nil {
					t.Errorf("%s: %v", s.Do, err)
				}
				cancel()
				w.check(t, s, keep, age)
			}
		}
		removed += w.removed
		for k := range w.used {
			run(t, d, "rm", k)
		}
		for id := range w.images {
			run(t, d, "rmi", "--force", id)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d images were removed", removed)
	if removed < seeds {
		t.Error("too few images were removed: the test shows nothing")
	}
}
