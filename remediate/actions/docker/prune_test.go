package docker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/docker"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

const megabyte = 1 << 20

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// makeImage makes an image of a megabyte that is like no other, and returns its ID.
func makeImage(t *testing.T, d *sandbox.Docker, name string, changes ...string) string {
	t.Helper()
	image, err := sandbox.Tar(map[string][]byte{"noise": noise(megabyte)})
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Status string }
	query := url.Values{"fromSrc": {"-"}, "repo": {name}, "changes": changes}
	if err := json.Unmarshal(ask(t, d, "images/create", query, image), &made); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.Status, "sha256:") {
		t.Fatalf("an import says %q", made.Status)
	}
	return made.Status
}

// images are the IDs of what "docker images" lists, an image once for each of its names.
func images(t *testing.T, d *sandbox.Docker) (ids []string) {
	t.Helper()
	var all []struct {
		ID       string `json:"Id"`
		RepoTags []string
	}
	if err := json.Unmarshal(ask(t, d, "images/json", nil, nil), &all); err != nil {
		t.Fatal(err)
	}
	for _, image := range all {
		for range max(1, len(image.RepoTags)) {
			ids = append(ids, image.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestPruneImages(t *testing.T) {
	d := servertest.Docker(t)
	e := engine(t, d.Host)
	const many = 3
	made := 0
	actiontest.Run(t, actiontest.Case{
		Action: docker.Prune(e), Subject: map[string]string{"server": "engine", "type": "images"},
		Params: map[string]string{"age": "1s", "keep": "0"}, Limit: megabyte / 2, Child: d.Host,
		Degrade: func(t *testing.T) {
			for len(images(t, d)) < many {
				makeImage(t, d, fmt.Sprintf("shop:%d", made))
				made++
			}
			time.Sleep(1100 * time.Millisecond) // they come to their age
		},
		State:   func(t *testing.T) string { return strings.Join(images(t, d), " ") },
		Effects: func(t *testing.T) int { return (made - len(images(t, d))) / many },
	})
}

func plan(t *testing.T, a remediate.Action, kind string, params map[string]string) (remediate.Plan, error) {
	t.Helper()
	return a.Plan(t.Context(), remediate.Request{Subject: map[string]string{"server": "engine", "type": kind},
		Params: params})
}

func applyAll(t *testing.T, a remediate.Action, p remediate.Plan) {
	t.Helper()
	for _, s := range p.Steps {
		ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
		if err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, s); err != nil {
			t.Errorf("%s: %v", s.Do, err)
		}
		cancel()
	}
}

// What somebody may need stays: what a container has, even one that has ended, what
// is young, what is to go back to, and what people have marked.
func TestPruneKeeps(t *testing.T) {
	d := servertest.Docker(t)
	a := docker.Prune(engine(t, d.Host))
	servertest.Image(t, d, "service:1", "../../../collectors/docker/testdata/service")
	run(t, d, "run", "--detach", "--network", "none", "--name", "ended", "service:1", "fail")
	oldest := makeImage(t, d, "shop:1")
	stays := map[string]string{
		"labelled":            makeImage(t, d, "other:1", "LABEL upkeep.keep=yes"),
		"rollback":            makeImage(t, d, "upkeep-rollback/shop:7"),
		"of two repositories": makeImage(t, d, "one:1"),
	}
	run(t, d, "tag", "one:1", "two/one:1")
	time.Sleep(1100 * time.Millisecond) // an image tells whole seconds
	stays["twice"] = makeImage(t, d, "shop:2")
	run(t, d, "tag", "shop:2", "shop:latest")
	time.Sleep(1100 * time.Millisecond)
	stays["newest of its repository"] = makeImage(t, d, "shop:3")
	makeImage(t, d, "one:0") // so that the one with several names is not the newest
	makeImage(t, d, "two/one:0")
	nameless := makeImage(t, d, "")
	// No tag tells when one without a name came: of two that are first seen together none is older.
	_, err := plan(t, a, "images", map[string]string{"keep": "1"})
	refuses(t, err, remediate.ReasonNothing, "first seen less than 1w ago")
	time.Sleep(1100 * time.Millisecond)
	stays["newest without a name"] = makeImage(t, d, "")

	_, err = plan(t, a, "images", map[string]string{"keep": "1"})
	refuses(t, err, remediate.ReasonNothing, "were made, tagged, used or first seen less than 1w ago")
	params := map[string]string{"age": "1s", "keep": "1"}
	time.Sleep(1100 * time.Millisecond)
	p, err := plan(t, a, "images", params)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range p.Steps {
		got = append(got, s.Args["image"])
	}
	if want := []string{oldest, nameless}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the plan removes\n%v, want\n%v", got, want)
	}
	if facts := strings.Join(p.Facts, "\n"); !strings.Contains(facts, "1 images are used by containers") ||
		!strings.Contains(facts, "2 images are meant to stay") ||
		!strings.Contains(facts, "2 images have several names") {
		t.Errorf("the facts are\n%s", facts)
	}

	// Somebody uses one of them after the plan was made.
	run(t, d, "create", "--network", "none", "--name", "late", "shop:1", "/noise")
	applyAll(t, a, p)
	left := strings.Join(images(t, d), " ")
	for why, id := range stays {
		if !strings.Contains(left, id) {
			t.Errorf("the image that is %s is gone", why)
		}
	}
	if !strings.Contains(left, oldest) {
		t.Error("an image is gone that a container has")
	}
	if strings.Contains(left, nameless) {
		t.Errorf("left are %s", left)
	}
}

func TestPruneRefuses(t *testing.T) {
	d := servertest.Docker(t)
	a := docker.Prune(engine(t, d.Host))
	id := makeImage(t, d, "shop:1")
	for _, kind := range []string{"containers", "volumes"} {
		_, err := plan(t, a, kind, nil)
		refuses(t, err, remediate.ReasonUnfit, "somebody may miss")
	}
	for _, kind := range []string{"", "all", "images?force=1", "../images"} {
		_, err := plan(t, a, kind, nil)
		refuses(t, err, remediate.ReasonGone, "it keeps images and build_cache")
	}
	for name, values := range map[string][]string{"age": {"0s", "never", "-1d"}, "keep": {"-1", "many"}} {
		for _, v := range values {
			_, err := plan(t, a, "images", map[string]string{name: v})
			refuses(t, err, remediate.ReasonSubject, "the parameter "+name)
		}
	}
	_, err := plan(t, a, "build_cache", nil)
	refuses(t, err, remediate.ReasonNothing, "nothing of the build cache is unused")

	// A name in the place of an ID is never sent.
	if err := a.Apply(t.Context(), remediate.Fence{Token: 1, Held: held},
		remediate.Step{Args: map[string]string{"image": "shop:1", "names": "", "tagged": "", "age": "1s", "keep": "0",
			"bytes": "0"}}); err == nil || !strings.Contains(err.Error(), "is no image's ID") {
		t.Error("a name was taken for an ID")
	}
	proxied := docker.Prune(engine(t, servertest.ReadOnly(t, d)))
	_, err = plan(t, proxied, "images", map[string]string{"age": "1s", "keep": "0"})
	refuses(t, err, remediate.ReasonPrivilege, "does not let this through")
	if left := images(t, d); len(left) != 1 || left[0] != id {
		t.Errorf("left are %v", left)
	}
}

// What was built a while ago goes from the build cache, and what is young stays.
func TestPruneBuildCache(t *testing.T) {
	d := servertest.Docker(t)
	a := docker.Prune(engine(t, d.Host))
	build(t, d, "first", "2", "FROM scratch\nCOPY noise /\n")
	_, err := plan(t, a, "build_cache", nil)
	refuses(t, err, remediate.ReasonNothing, "was used in the last 1w")
	size := func() float64 {
		t.Helper()
		v, err := a.Measure(t.Context(), remediate.Request{Subject: map[string]string{"server": "engine",
			"type": "build_cache"}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before := size()
	if before < megabyte {
		t.Fatalf("the build cache has %v bytes", before)
	}
	_, err = plan(t, a, "build_cache", map[string]string{"age": "1h"})
	refuses(t, err, remediate.ReasonNothing, "was used in the last 1h")
	applyAll(t, a, remediate.Plan{Steps: []remediate.Step{{Args: map[string]string{"until": "1h0m0s"}}}})
	if after := size(); after != before {
		t.Errorf("%v bytes, and before %v: what is young has gone", after, before)
	}
	time.Sleep(1100 * time.Millisecond)
	p, err := plan(t, a, "build_cache", map[string]string{"age": "1s"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Amount == nil || p.Amount.Bytes != before {
		t.Errorf("the plan's amount is %+v, and the cache has %v bytes", p.Amount, before)
	}
	f := hold()
	f.Most = &remediate.Amount{Bytes: before - 1}
	refuses(t, a.Apply(t.Context(), f, p.Steps[0]), remediate.ReasonAmount, "the run may remove")
	applyAll(t, a, p)
	applyAll(t, a, p)
	if after := size(); after != 0 {
		t.Errorf("%v bytes are left", after)
	}
	if n := len(images(t, d)); n != 1 {
		t.Errorf("%d images, want the one that was built", n)
	}
}

// build builds an image as a person does, over the engine's socket: there may be no
// client here that can. Version 1 is the classic builder.
func build(t *testing.T, d *sandbox.Docker, name, version, dockerfile string) {
	t.Helper()
	files, err := sandbox.Tar(map[string][]byte{"Dockerfile": []byte(dockerfile), "noise": noise(megabyte)})
	if err != nil {
		t.Fatal(err)
	}
	text := ask(t, d, "build", url.Values{"version": {version}, "t": {name}}, files)
	if !bytes.Contains(text, []byte("Successfully tagged")) {
		t.Fatalf("build: %s", text)
	}
}

// ask asks the engine over its socket: Docker's client takes longer to start than what is
// asked again and again takes the engine. With a body it is a POST.
func ask(t *testing.T, d *sandbox.Docker, path string, query url.Values, body []byte) []byte {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(d.Host, "unix://"))
	}}}
	defer client.CloseIdleConnections()
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	u := url.URL{Scheme: "http", Host: "docker", Path: "/v1.41/" + path, RawQuery: query.Encode()}
	r, err := http.NewRequestWithContext(t.Context(), method, u.String(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-tar")
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read only
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", path, res.Status, err, text)
	}
	return text
}
