package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	read "github.com/ai-micro-service/upkeep/collectors/docker"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// mostImages is how many images a plan has at most: what people can still read.
	// What is left is in the next plan.
	mostImages = 100

	// cacheSince is the first version of the API in which the build cache is pruned by
	// age. An engine that does not know the condition prunes everything.
	cacheSince = "1.39"

	// rollback begins the names of images that are kept to go back to.
	rollback = "upkeep-rollback/"

	// keepLabel is the label of images that stay.
	keepLabel = "upkeep.keep"
)

// Prune removes images, or entries of the build cache, that nobody uses.
func Prune(t *target.Docker) remediate.Action {
	return remediate.Action{
		Name:   "docker/prune",
		Target: t.Name,
		Doc: `Prune removes images that no container uses, or entries of the build cache, which is what the label type says: images or build_cache.

An image goes when no container has it, running or not, when it was neither made nor
tagged in the time that the parameter age says, and when it is not among the newest
of its repository that the parameter keep leaves, which are those to go back to;
images without a name count together, by service where Compose has made them. Images
with the label upkeep.keep, or named upkeep-rollback/…, stay, and so does one that
has several names, which would have to be taken one by one. The plan names each of them, with its size, and how
to get it back where it came from a registry. Each is removed by its ID and without
force: the engine itself refuses one that a container has by then, and that one stays.

Of the build cache goes what was not used for as long as age says; an engine that
cannot be told so (before API 1.39) is refused, since it would remove everything. Containers
and volumes are never removed: they have data that somebody may miss.

How much an image gives back is less than its size where others share its layers.
Rights: GET, DELETE /images/* and POST /build/prune on the engine's socket.`,
		Lowers:    "upkeep_docker_disk_reclaimable_bytes",
		Risk:      remediate.Guarded,
		Subject:   []string{"server", "type"},
		Exclusive: []string{"server"},
		Params: []remediate.Param{
			{Name: "age", Type: remediate.Duration, Default: "7d", Doc: "How long an image was neither made nor tagged, or an entry of the cache not used."},
			{Name: "keep", Type: remediate.Int, Default: "2", Doc: "How many images of a repository that nobody uses stay, the newest."},
		},
		Timeout: 10 * time.Minute,
		Remedy:  prune{t},
	}
}

type prune struct{ target *target.Docker }

// An image is what the engine says of one.
type image struct {
	ID          string `json:"Id"`
	RepoTags    []string
	RepoDigests []string
	Created     int64 // seconds since 1970
	Size        float64
	Labels      map[string]string
}

// names are those that people gave it.
func (i image) names() []string {
	return slices.DeleteFunc(slices.Clone(i.RepoTags), func(n string) bool { return n == "" || strings.HasPrefix(n, "<none>") })
}

// repositories are where it has names, or came from.
func (i image) repositories() (all []string) {
	for _, n := range i.names() {
		all = append(all, repository(n))
	}
	if len(all) == 0 {
		for _, d := range i.RepoDigests {
			name, _, _ := strings.Cut(d, "@")
			all = append(all, name)
		}
	}
	all = slices.DeleteFunc(all, func(n string) bool { return n == "<none>" })
	slices.Sort(all)
	return slices.Compact(all)
}

// repository is a name without its tag. A colon before a slash is a registry's port.
func repository(name string) string {
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i]
	}
	return name
}

// family is whose successors and predecessors are one: of each some stay.
func (i image) family() string {
	if all := i.repositories(); len(all) > 0 {
		return all[0]
	}
	return "\x00" + i.Labels["com.docker.compose.project"] + "\x00" + i.Labels["com.docker.compose.service"]
}

// String is how people know it.
func (i image) String() string { return cmp.Or(strings.Join(i.names(), ", "), "without a name") }

// settings are the parameters of a request.
type settings struct {
	age  time.Duration
	keep int
}

func settingsOf(params map[string]string) (s settings, err error) {
	age, err := model.ParseDuration(cmp.Or(params["age"], "7d"))
	if err != nil || age <= 0 {
		return s, remediate.Refuse(remediate.ReasonSubject, "the parameter age is %q, want a duration like 7d", params["age"])
	}
	keep, err := strconv.Atoi(cmp.Or(params["keep"], "2"))
	if err != nil || keep < 0 {
		return s, remediate.Refuse(remediate.ReasonSubject, "the parameter keep is %q, want how many images stay, like 2", params["keep"])
	}
	return settings{time.Duration(age), keep}, nil
}

// Plan implements remediate.Remedy.
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
		return p, remediate.Refuse(remediate.ReasonUnfit, "%s have data that somebody may miss: look through them by hand (docker system df --verbose)", kind)
	default:
		return p, remediate.Refuse(remediate.ReasonGone, "an engine keeps no %q; it keeps images and build_cache", kind)
	}
}

func (a prune) planImages(ctx context.Context, s settings) (p remediate.Plan, err error) {
	if err := a.mayRemove(ctx); err != nil {
		return p, err
	}
	going, facts, err := a.unused(ctx, s)
	if err != nil {
		return p, err
	}
	p.Facts = facts
	if len(going) == 0 {
		return p, remediate.Refuse(remediate.ReasonNothing, "no image may go: %s", strings.Join(facts, "; "))
	}
	if len(going) > mostImages {
		p.Facts = append(p.Facts, fmt.Sprintf("%d more may go, the next time", len(going)-mostImages))
		going = going[:mostImages]
	}
	for _, i := range going {
		p.Facts = append(p.Facts, fmt.Sprintf("%s (%s) has %s, with what it shares", short(i.ID), i, remediate.Quantity("_bytes", i.Size)))
		step := remediate.Step{Do: "docker image rm " + i.ID, Args: map[string]string{"image": i.ID}}
		if len(i.RepoDigests) > 0 {
			step.Undo = "docker pull " + i.RepoDigests[0]
		}
		p.Steps = append(p.Steps, step)
	}
	return p, nil
}

// nothing is an image that no engine has.
const nothing = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// mayRemove asks the engine to remove an image that is not there: a proxy before it
// that lets nothing be removed says so now.
func (a prune) mayRemove(ctx context.Context) error {
	if err := a.target.Delete(ctx, "images", nothing); !target.Gone(err) {
		return privilege(err)
	}
	return nil
}

// short is an ID as people write it.
func short(id string) string {
	_, hash, _ := strings.Cut(id, ":")
	return hash[:min(12, len(hash))]
}

// unused returns the images that may go, the oldest first, and what was found
// of the others.
func (a prune) unused(ctx context.Context, s settings) (going []image, facts []string, err error) {
	users, err := a.users(ctx)
	if err != nil {
		return nil, nil, err
	}
	var all []image
	if err := a.target.Get(ctx, &all, nil, "images", "json"); err != nil {
		return nil, nil, privilege(err)
	}
	slices.SortFunc(all, func(x, y image) int { return cmp.Or(cmp.Compare(y.Created, x.Created), cmp.Compare(x.ID, y.ID)) })
	var used, young, kept, meant, several int
	spared := make(map[string]int)
	for _, i := range all {
		_, labelled := i.Labels[keepLabel]
		switch {
		case users[i.ID]:
			used++
			continue
		case labelled || slices.ContainsFunc(i.names(), func(n string) bool { return strings.HasPrefix(n, rollback) }):
			meant++
			continue
		case spared[i.family()] < s.keep:
			spared[i.family()]++
			kept++
			continue
		case len(i.names()) > 1:
			several++
			continue
		}
		tagged, err := a.tagged(ctx, i)
		switch {
		case target.Gone(err):
			continue
		case err != nil:
			return nil, nil, err
		case time.Since(tagged) < s.age:
			young++
			continue
		}
		going = append(going, i)
	}
	slices.Reverse(going)
	for _, f := range []struct {
		n   int
		why string
	}{
		{used, "are used by containers"},
		{young, fmt.Sprintf("were made or tagged less than %s ago", model.Duration(s.age))},
		{kept, fmt.Sprintf("are among the %d newest unused ones of their repository", s.keep)},
		{meant, "are meant to stay, by their label or name"},
		{several, "have several names, and are left to people"},
	} {
		if f.n > 0 {
			facts = append(facts, fmt.Sprintf("%d images %s", f.n, f.why))
		}
	}
	if len(facts) == 0 && len(going) == 0 {
		facts = []string{"there is none"}
	}
	return going, facts, nil
}

// users returns the IDs of the images that containers have, running or not.
func (a prune) users(ctx context.Context) (map[string]bool, error) {
	var all []struct{ ImageID string }
	if err := a.target.Get(ctx, &all, url.Values{"all": {"1"}}, "containers", "json"); err != nil {
		return nil, privilege(err)
	}
	ids := make(map[string]bool)
	for _, c := range all {
		ids[c.ImageID] = true
	}
	return ids, nil
}

// tagged is when an image was made or, where that is later, was given a name here: one
// that was pulled just now may have been made a year ago.
func (a prune) tagged(ctx context.Context, i image) (time.Time, error) {
	var more struct {
		Metadata struct{ LastTagTime time.Time }
	}
	if err := a.target.Get(ctx, &more, nil, "images", i.ID, "json"); err != nil {
		return time.Time{}, err
	}
	made := time.Unix(i.Created, 0)
	if more.Metadata.LastTagTime.After(made) {
		return more.Metadata.LastTagTime, nil
	}
	return made, nil
}

func (a prune) planCache(ctx context.Context, s settings) (p remediate.Plan, err error) {
	known, err := a.target.Speaks(ctx, cacheSince)
	if err != nil {
		return p, err
	}
	if !known {
		return p, remediate.Refuse(remediate.ReasonUnfit, "the engine is older than API %s and would remove the whole build cache, however young: docker builder prune does it by hand", cacheSince)
	}
	all, err := read.ReadDiskUsage(ctx, a.target, read.KindBuildCache)
	if err != nil {
		return p, privilege(err)
	}
	u := all[read.KindBuildCache]
	if u.Reclaimable == 0 {
		return p, remediate.Refuse(remediate.ReasonNothing, "nothing of the build cache is unused")
	}
	p.Facts = append(p.Facts, fmt.Sprintf("%s of the build cache are unused; what was used in the last %s stays", remediate.Quantity("_bytes", u.Reclaimable), model.Duration(s.age)),
		"what goes is built anew when it is needed again, which takes its time")
	until := s.age.String() // the engine knows no days
	p.Steps = []remediate.Step{{Do: "docker builder prune --filter until=" + until, Args: map[string]string{"until": until}}}
	return p, nil
}

// Apply implements remediate.Remedy.
func (a prune) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	if until := s.Args["until"]; until != "" {
		return a.applyCache(ctx, f, until)
	}
	id := s.Args["image"]
	if !strings.HasPrefix(id, "sha256:") { // a name could be another image's by now
		return fmt.Errorf("step: %q is no image's ID", id)
	}
	users, err := a.users(ctx)
	if err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if users[id] {
		return nil // somebody has begun to use it: it stays
	}
	err = a.target.Delete(ctx, "images", id)
	refused, ok := errors.AsType[*target.DockerError](err)
	switch {
	case target.Gone(err):
		return nil
	case ok && refused.Status == http.StatusConflict:
		return nil // the same, a moment later; or an image was made from it
	}
	return privilege(err)
}

func (a prune) applyCache(ctx context.Context, f remediate.Fence, until string) error {
	if known, err := a.target.Speaks(ctx, cacheSince); err != nil || !known {
		return cmp.Or(err, errors.New("the engine has become an older one, which would remove the whole build cache"))
	}
	filters, err := json.Marshal(map[string][]string{"until": {until}})
	if err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	return privilege(a.target.Post(ctx, url.Values{"filters": {string(filters)}}, "build", "prune"))
}

// Measure implements remediate.Remedy.
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

// privilege names the way that a proxy before the engine does not let through.
func privilege(err error) error {
	refused, ok := errors.AsType[*target.DockerError](err)
	if !ok || refused.Status != http.StatusForbidden && refused.Status != http.StatusMethodNotAllowed {
		return err
	}
	return remediate.Refuse(remediate.ReasonPrivilege, "the engine's socket, or the proxy before it, does not let this through: %v", err)
}
