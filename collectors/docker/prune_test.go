package docker_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors/docker"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// noise is as many bytes as no other file has.
func noise(t *testing.T, r *rand.ChaCha8, kilobytes int) []byte {
	t.Helper()
	text := make([]byte, kilobytes<<10)
	if _, err := r.Read(text); err != nil {
		t.Fatal(err)
	}
	return text
}

// load gives the engine images by their names, of layers by theirs, the lowest first. Each layer has a file of
// another size.
func load(t *testing.T, d *sandbox.Docker, r *rand.ChaCha8, images map[string]string) {
	t.Helper()
	type entry struct {
		Config           string
		RepoTags, Layers []string
	}
	var manifest []entry
	files, digests := make(map[string][]byte), make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(images)) {
		one := entry{Config: name + ".json", RepoTags: []string{name + ":latest"}}
		var ids []string
		for layer := range strings.FieldsSeq(images[name]) {
			file := layer + ".tar"
			if files[file] == nil {
				tar, err := sandbox.Tar(map[string][]byte{layer: noise(t, r, 10+3*len(digests))})
				if err != nil {
					t.Fatal(err)
				}
				files[file], digests[layer] = tar, fmt.Sprintf("sha256:%x", sha256.Sum256(tar))
			}
			one.Layers, ids = append(one.Layers, file), append(ids, digests[layer])
		}
		text, err := json.Marshal(map[string]any{"architecture": runtime.GOARCH, "os": "linux",
			"created": "2026-01-02T03:04:05Z", "config": map[string]any{"Entrypoint": []string{"/" + name}},
			"rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
		if err != nil {
			t.Fatal(err)
		}
		files[one.Config] = text
		manifest = append(manifest, one)
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	files["manifest.json"] = text
	archive, err := sandbox.Tar(files)
	if err == nil {
		_, err = d.Run(t.Context(), archive, "load")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ask has the engine do something over its socket, and returns what it says.
func ask(t *testing.T, d *sandbox.Docker, path string, query url.Values, body []byte) []byte {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(d.Host, "unix://"))
	}}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://docker/v1.41/"+path+"?"+query.Encode(),
		bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-tar")
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s %v", path, res.Status, text, err)
	}
	return text
}

// pruned has the engine prune, as its own client asks it to, and returns what it says was freed.
func pruned(t *testing.T, d *sandbox.Docker, what, filters string) float64 {
	t.Helper()
	text := ask(t, d, what+"/prune", url.Values{"all": {"true"}, "filters": {filters}}, nil)
	var said struct{ SpaceReclaimed *float64 }
	if json.Unmarshal(text, &said) != nil || said.SpaceReclaimed == nil {
		t.Fatalf("%s: %s", what, text)
	}
	return *said.SpaceReclaimed
}

func TestReclaimable(t *testing.T) {
	d := servertest.Docker(t)
	t.Run("is what a prune frees", func(t *testing.T) { reclaimableIsFreed(t, d) })
	t.Run("is never too much", func(t *testing.T) { reclaimableUntold(t, d) })
	t.Run("is exported as it is, with all that is odd", func(t *testing.T) { oddIsExported(t, d) })
}

// Reclaimable is what a prune frees, to the byte, of an engine whose images share layers in every
// way: bases that are tagged and that are not, families in use, half in use and not in use.
func reclaimableIsFreed(t *testing.T, d *sandbox.Docker) {
	r := rand.NewChaCha8([32]byte{18})
	uses := func(images ...string) {
		t.Helper()
		for _, i := range images {
			run(t, d, "create", "--network", "none", "--name", "of-"+i, i)
		}
	}
	e := engine(t, d.Host)
	same := func(kind, what, filters string) {
		t.Helper()
		before, err := docker.ReadDiskUsage(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if freed := pruned(t, d, what, filters); freed != before[kind].Reclaimable {
			t.Errorf("%s: %.0f of %.0f bytes are reclaimable, and the prune frees %.0f", kind, before[kind].Reclaimable,
				before[kind].Bytes, freed)
		}
	}
	const unused = `{"dangling":{"false":true}}` // all that no container uses, with names too

	load(t, d, r, map[string]string{
		// Two families in use on bases of their own, of which one has a name; what is on and beside them is not in use.
		"one-a": "one one-a", "one-b": "one one-b", "one-c": "one one-a one-c",
		"two": "two", "two-a": "two two-a", "two-b": "two two-b", "two-c": "two two-c",
		// A family that nothing uses, and one of which the middle is used.
		"three": "three", "three-a": "three three-a", "three-b": "three three-b",
		"four": "four", "four-a": "four four-a", "four-b": "four four-a four-b",
		"five": "five",
	})
	uses("one-a", "one-b", "two-a", "two-b", "four-a")
	same(docker.KindImages, "images", unused)
	same(docker.KindImages, "images", unused) // what bases in use share is no longer counted

	// A stopped container has written, and volumes have files.
	for _, c := range []string{"of-one-a", "of-two-b"} {
		tar, err := sandbox.Tar(map[string][]byte{"written": noise(t, r, 50)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Run(t.Context(), tar, "cp", "-", c+":/"); err != nil {
			t.Fatal(err)
		}
	}
	run(t, d, "volume", "create", "kept")
	run(t, d, "volume", "create", "free")
	run(t, d, "create", "--network", "none", "--volume", "kept:/kept", "--name", "keeps", "four-a")
	for _, v := range []string{"kept", "free"} {
		path := run(t, d, "volume", "inspect", "--format", "{{.Mountpoint}}", v)
		if err := os.WriteFile(filepath.Join(path, "data"), noise(t, r, 20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	same(docker.KindVolumes, "volumes", "{}")
	same(docker.KindContainers, "containers", "{}")
	same(docker.KindImages, "images", unused) // nothing uses them now

	files, err := sandbox.Tar(map[string][]byte{"a": noise(t, r, 30),
		"Dockerfile": []byte("FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY --from=one /a /b\n")})
	if err != nil {
		t.Fatal(err)
	}
	text := ask(t, d, "build", url.Values{"version": {"2"}, "t": {"built"}}, files) // by BuildKit, which has a cache
	if !strings.Contains(string(text), "Successfully tagged") {
		t.Fatalf("build: %s", text)
	}
	run(t, d, "rmi", "built") // what the cache shares with an image the prune counts too, though the image keeps it
	same(docker.KindBuildCache, "build", "{}")
}

// Where it is not known what images share, less is reclaimable than a prune frees, and never more.
func reclaimableUntold(t *testing.T, d *sandbox.Docker) {
	r := rand.NewChaCha8([32]byte{19})
	load(t, d, r, map[string]string{"base": "base", "left": "base left", "left-a": "base left left-a",
		"left-b": "base left left-b", "right": "base right", "right-a": "base right right-a", "right-b": "base right right-b"})
	for _, name := range []string{"left-a", "left-b", "right-a"} {
		run(t, d, "create", "--network", "none", name)
	}
	silent := servertest.Before(t, d, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/images/") || strings.HasSuffix(r.URL.Path, "/images/json") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	told, err := docker.ReadDiskUsage(t.Context(), engine(t, d.Host))
	if err != nil {
		t.Fatal(err)
	}
	untold, err := docker.ReadDiskUsage(t.Context(), engine(t, silent))
	if err != nil {
		t.Fatal(err)
	}
	freed := pruned(t, d, "images", `{"dangling":{"false":true}}`)
	if is := told[docker.KindImages].Reclaimable; is != freed {
		t.Errorf("%.0f bytes are reclaimable, and the prune frees %.0f", is, freed)
	}
	if is := untold[docker.KindImages].Reclaimable; is <= 0 || is > freed {
		t.Errorf("behind a proxy %.0f bytes are reclaimable, and the prune frees %.0f", is, freed)
	}
}
