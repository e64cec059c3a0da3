package docker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A kit is all the images of an engine, and how they were built from each other.
type kit struct {
	images   []image
	children map[string][]string // by the ID of the parent
	twins    map[int64]int       // how many images say that they were made in a second
}

func kitOf(all []target.Image) kit {
	k := kit{children: make(map[string][]string), twins: make(map[int64]int)}
	for _, i := range all {
		k.images = append(k.images, image{Image: i})
		k.twins[i.Created]++
		if i.ParentID != "" {
			k.children[i.ParentID] = append(k.children[i.ParentID], i.ID)
		}
	}
	slices.SortFunc(k.images, func(x, y image) int { return strings.Compare(x.ID, y.ID) })
	return k
}

func (k kit) find(id string) (image, bool) {
	n := slices.IndexFunc(k.images, func(i image) bool { return i.ID == id })
	if n < 0 {
		return image{}, false
	}
	return k.images[n], true
}

// stage tells an image that is only a stage of a build of others.
func (k kit) stage(i image) bool { return len(i.Names()) == 0 && len(k.children[i.ID]) > 0 }

// size is what an image adds to a sum of sizes. That of a stage is in the size of
// what was built from it.
func (k kit) size(i image) float64 {
	if k.stage(i) {
		return 0
	}
	return i.Size
}

// oldest is before there were engines: what says that it was made earlier says nothing.
func oldest() time.Time { return time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC) }

// credible reports whether something can have happened then.
func credible(at, now time.Time) bool { return at.After(oldest()) && !at.After(now) }

// moments are when an image was last made, tagged or used, and when it came to the
// engine as far as that was seen; zero where nothing is known. Builds that are to be
// the same each time say that they were made in 1970, or at another constant time.
func (k kit) moments(i image, now time.Time) (touched, seen time.Time) {
	latest := func(at time.Time) {
		if at.After(touched) {
			touched = at
		}
	}
	made := time.Unix(i.Created, 0)
	dated := credible(made, now) && k.twins[i.Created] == 1
	if credible(made, now) {
		latest(made) // a constant time is a bound all the same
	}
	if credible(i.tagged, now) {
		latest(i.tagged)
	}
	latest(i.Used)
	// What was tagged came no later. What was not may have come at any time, and so may
	// what was tagged by a clock that was wrong.
	switch {
	case credible(i.tagged, now):
	case i.Before && dated && i.tagged.IsZero():
	default:
		seen = i.First
	}
	return touched, seen
}

// newest returns the images to go back to: of each family the n that were touched
// last, and the n that are newest when it counts too when they were first seen. Of
// those that are equally new none is older.
func (k kit) newest(of []image, n int, now time.Time) map[string]bool {
	families := make(map[string][]image)
	for _, i := range of {
		families[i.family()] = append(families[i.family()], i)
	}
	stay := make(map[string]bool)
	for _, all := range families {
		for _, when := range []func(image) time.Time{
			func(i image) time.Time { touched, _ := k.moments(i, now); return touched },
			func(i image) time.Time { return latest(k.moments(i, now)) },
		} {
			slices.SortStableFunc(all, func(x, y image) int { return when(y).Compare(when(x)) })
			for at, i := range all {
				if at < n || n > 0 && when(i).Equal(when(all[n-1])) {
					stay[i.ID] = true
				}
			}
		}
	}
	return stay
}

// choose returns the images that may go, the oldest first and what was built from an
// image before it, and what was found of the others.
func (k kit) choose(s settings, now time.Time) (going []image, facts []string) {
	var unused, stages []image
	count := make(map[string]int)
	for _, i := range k.images {
		switch {
		case i.InUse:
			count["are used by containers"]++
		case i.marked():
			count["are meant to stay, by their label or name"]++
		case k.stage(i):
			stages = append(stages, i)
		default:
			unused = append(unused, i)
		}
	}
	young := func(i image) bool {
		touched, seen := k.moments(i, now)
		return now.Sub(latest(touched, seen)) < s.age
	}
	spared := k.newest(unused, s.keep, now)
	for _, i := range unused {
		switch {
		case spared[i.ID]:
			count[fmt.Sprintf("are among the %d newest unused ones of their repository", s.keep)]++
		case len(i.Names()) > 1:
			count["have several names, and are left to people"]++
		case young(i):
			count[fmt.Sprintf("were made, tagged, used or first seen less than %s ago", model.Duration(s.age))]++
		default:
			going = append(going, i)
		}
	}
	for _, i := range stages {
		if !young(i) {
			going = append(going, i)
		}
	}
	slices.SortStableFunc(going, func(x, y image) int {
		return latest(k.moments(x, now)).Compare(latest(k.moments(y, now)))
	})
	going, needed := k.leaves(going)
	if needed > 0 {
		count["are what images that stay were built from"] = needed
	}
	if facts = counted(count); len(facts) == 0 && len(going) == 0 {
		facts = []string{"no image can be removed"}
	}
	return going, facts
}

// counted says how many images stay for each reason.
func counted(count map[string]int) (facts []string) {
	for _, why := range slices.Sorted(maps.Keys(count)) {
		facts = append(facts, fmt.Sprintf("%d images %s", count[why], why))
	}
	return facts
}

// leaves puts images in an order in which each goes after all that were built from it,
// and leaves out those of which something stays. Needed counts those of them that are
// no mere stages.
func (k kit) leaves(all []image) (ordered []image, needed int) {
	gone := make(map[string]bool)
	for len(all) > 0 {
		var rest []image
		for _, i := range all {
			if slices.ContainsFunc(k.children[i.ID], func(id string) bool { return !gone[id] }) {
				rest = append(rest, i)
				continue
			}
			gone[i.ID] = true
			ordered = append(ordered, i)
		}
		if len(rest) == len(all) {
			break
		}
		all = rest
	}
	for _, i := range all {
		if !gone[i.ID] && !k.stage(i) {
			needed++
		}
	}
	return ordered, needed
}

// marked tells an image that people want to keep.
func (i image) marked() bool {
	_, labelled := i.Labels[keepLabel]
	return labelled || slices.ContainsFunc(i.Names(), func(n string) bool { return strings.HasPrefix(n, rollback) })
}

// An image is one that an engine has, with what is asked for of it alone.
type image struct {
	target.Image
	tagged time.Time // when it was last given a name here; zero where it never was
}

// tag is when it was last given a name, for a comparison.
func (i image) tag() string { return i.tagged.UTC().Format(time.RFC3339Nano) }

// repositories are where it has names, or came from.
func (i image) repositories() (all []string) {
	for _, n := range i.Names() {
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
func (i image) String() string { return cmp.Or(strings.Join(i.Names(), ", "), "without a name") }

// latest is the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
