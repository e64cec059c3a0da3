package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// mostClockDifference is how far the clocks of the engine and of upkeep may be apart:
// less than any age that makes sense, and more than machines with a time server are.
const mostClockDifference = 5 * time.Minute

// imageArgs are the arguments of a step that removes an image.
type imageArgs struct {
	engineArgs

	Image  string         `arg:"image"` // its ID
	Names  string         `arg:"names"`
	Tagged string         `arg:"tagged"`
	Age    model.Duration `arg:"age"` // the settings of the request
	Keep   int            `arg:"keep"`
	Bytes  int64          `arg:"bytes"` // of this image and of those before
}

func (a prune) planImages(ctx context.Context, s settings) (p remediate.Plan, err error) {
	if err := a.mayRemove(ctx); err != nil {
		return p, err
	}
	engine, err := a.clock(ctx)
	if err != nil {
		return p, err
	}
	k, err := a.read(ctx, "")
	if err != nil {
		return p, err
	}
	going, facts := k.choose(s, time.Now())
	p.Facts = facts
	if len(going) == 0 {
		return p, remediate.Refuse(remediate.ReasonNothing, "no image may go: %s", strings.Join(facts, "; "))
	}
	if len(going) > mostImages {
		p.Facts = append(p.Facts, fmt.Sprintf("%d more may go, the next time", len(going)-mostImages))
		going = going[:mostImages]
	}
	p.Amount = &remediate.Amount{}
	for _, i := range k.images {
		p.Amount.OfBytes += k.size(i)
	}
	for _, i := range going {
		p.Amount.Bytes += k.size(i)
		p.Facts = append(p.Facts, fmt.Sprintf("%s (%s) has %s, with what it shares", short(i.ID), i,
			remediate.Quantity("_bytes", i.Size)))
		step := remediate.StepOf("docker image rm "+i.ID, imageArgs{
			engineArgs{engine}, i.ID, strings.Join(i.Names(), " "), i.tag(), model.Duration(s.age), s.keep,
			int64(p.Amount.Bytes),
		})
		step.Undo = i.undo()
		p.Steps = append(p.Steps, step)
	}
	p.Facts = append(p.Facts, fmt.Sprintf("%d images go, with %s at most", len(going),
		remediate.Quantity("_bytes", p.Amount.Bytes)))
	return p, nil
}

// undo says how to get an image back; "" where it came from no registry.
func (i image) undo() string {
	if len(i.RepoDigests) == 0 {
		return ""
	}
	digests := slices.Sorted(slices.Values(i.RepoDigests))
	from := digests[0]
	words := []string{"docker pull " + from}
	for _, n := range i.Names() {
		words = append(words, "docker tag "+from+" "+n)
	}
	return strings.Join(words, " && ")
}

// clock returns who the engine is, and refuses one whose clock differs from ours: ages
// could not be compared. A proxy before the engine that does not let the question
// through leaves both unknown.
func (a prune) clock(ctx context.Context) (engine string, err error) {
	e, err := a.target.Engine(ctx)
	if err != nil {
		return "", privilege(err)
	}
	if d := time.Since(e.Time); !e.Time.IsZero() && d.Abs() > mostClockDifference {
		return "", remediate.Refuse(remediate.ReasonClock,
			"the engine's clock says %s, and upkeep's %s: ages cannot be compared", e.Time.UTC().Format(time.RFC3339),
			time.Now().UTC().Format(time.RFC3339))
	}
	return e.ID, nil
}

// nothing is an image that no engine has.
const nothing = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// mayRemove asks the engine to remove an image that is not there: a proxy before it
// that lets nothing be removed says so now.
func (a prune) mayRemove(ctx context.Context) error {
	if err := a.target.Changes().RemoveImage(ctx, nothing); !target.Gone(err) {
		return privilege(err)
	}
	return nil
}

// short is an ID as people write it.
func short(id string) string {
	_, hash, _ := strings.Cut(id, ":")
	return hash[:min(12, len(hash))]
}

// read returns what the engine has, with the times at which images were tagged: of all
// unused images, or only of the family of one image.
func (a prune) read(ctx context.Context, family string) (k kit, err error) {
	all, err := a.target.Images(ctx)
	if err != nil {
		return k, privilege(err)
	}
	k = kitOf(all)
	want := func(image) bool { return true }
	if i, ok := k.find(family); family != "" && ok {
		want = func(other image) bool { return other.family() == i.family() }
	}
	for n := range k.images {
		i := &k.images[n]
		if i.InUse || !want(*i) {
			continue
		}
		tagged, err := a.target.ImageTagged(ctx, i.ID)
		if err != nil && !target.Gone(err) { // one that is gone is not removed either
			return k, privilege(err)
		}
		i.tagged = tagged
	}
	return k, nil
}

// applyImage removes one image, if it may go still: what the plan found is a while
// ago.
func (a prune) applyImage(ctx context.Context, f remediate.Fence, step remediate.Step) error {
	args, err := remediate.ArgsOf[imageArgs](step)
	if err != nil {
		return err
	}
	id := args.Image
	if !strings.HasPrefix(id, "sha256:") { // a name could be another image's by now
		return fmt.Errorf("step: %q is no image's ID", id)
	}
	if args.Age <= 0 || args.Keep < 0 {
		return fmt.Errorf("step: age %s, keep %d", args.Age, args.Keep)
	}
	if err := summed(f, float64(args.Bytes)); err != nil {
		return err
	}
	engine, err := a.clock(ctx)
	if err != nil {
		return err
	}
	if err := elsewhere(engine, args.Engine); err != nil {
		return err
	}
	k, err := a.read(ctx, id)
	if err != nil {
		return err
	}
	going, _ := k.choose(settings{time.Duration(args.Age), args.Keep}, time.Now())
	n := slices.IndexFunc(going, func(i image) bool { return i.ID == id })
	if err := f.Check(ctx); err != nil {
		return err
	}
	if n < 0 || len(k.children[id]) > 0 {
		return nil // it is gone, or somebody has begun to need it: it stays
	}
	if args.Names != strings.Join(going[n].Names(), " ") || args.Tagged != going[n].tag() {
		return nil // somebody has given it a name, or taken one: that is another image to people
	}
	err = a.target.Changes().RemoveImage(ctx, id)
	refused, ok := errors.AsType[*target.DockerError](err)
	switch {
	case target.Gone(err):
		return nil
	case ok && refused.Status == http.StatusConflict:
		return nil // the same, a moment later
	}
	return privilege(err)
}

// summed refuses what would be more than the run may remove: bytes are those of the
// step and of all before it, whether these have gone or not, so that nothing is left
// to be counted over the tries.
func summed(f remediate.Fence, bytes float64) error {
	q, err := f.Quota(remediate.Step{})
	if err != nil {
		return err
	}
	return within(q, f, bytes)
}

// within refuses what would be more than the run may remove.
func within(q *remediate.Quota, f remediate.Fence, bytes float64) error {
	if q.Fits(remediate.Amount{Bytes: bytes}) {
		return nil
	}
	return remediate.Refuse(remediate.ReasonAmount, "with this step %s go, and the run may remove %s",
		remediate.Quantity("_bytes", q.Gone().Bytes+bytes), remediate.Quantity("_bytes", f.Most.Bytes))
}
