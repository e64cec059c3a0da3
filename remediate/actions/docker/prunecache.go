package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/remediate"
)

// cacheArgs are the arguments of a step that prunes the build cache.
type cacheArgs struct {
	engineArgs

	Age time.Duration `arg:"until"`
}

func (a prune) planCache(ctx context.Context, s settings) (p remediate.Plan, err error) {
	known, err := a.target.Supports(ctx, cacheSince)
	if err != nil {
		return p, err
	}
	if !known {
		return p, remediate.Refuse(remediate.ReasonUnfit,
			"the engine is older than API %s and would remove the whole build cache, however young: docker builder "+
				"prune does it by hand", cacheSince)
	}
	engine, err := a.clock(ctx)
	if err != nil {
		return p, err
	}
	c, err := a.cache(ctx, s.age)
	if err != nil {
		return p, err
	}
	switch {
	case c.unused == 0:
		return p, remediate.Refuse(remediate.ReasonNothing, "nothing of the build cache is unused")
	case c.going == 0:
		return p, remediate.Refuse(remediate.ReasonNothing,
			"%s of the build cache are unused, and all of it was used in the last %s",
			remediate.Quantity("_bytes", c.unused), model.Duration(s.age))
	}
	p.Amount = &remediate.Amount{Bytes: c.bytes, OfBytes: c.all}
	p.Facts = append(p.Facts, fmt.Sprintf("%d of %d entries of the build cache go, with %s", c.going, c.entries,
		remediate.Quantity("_bytes", c.bytes)),
		fmt.Sprintf("%s of it are unused; what was used in the last %s stays", remediate.Quantity("_bytes", c.unused),
			model.Duration(s.age)),
		"what goes is built anew when it is needed again, which takes its time")
	until := s.age.String() // the engine knows no days
	p.Steps = []remediate.Step{remediate.StepOf("docker builder prune --filter until="+until,
		cacheArgs{engineArgs{engine}, s.age})}
	return p, nil
}

// cached is what the build cache has.
type cached struct {
	entries, going     int
	all, unused, bytes float64 // bytes is what goes
}

// cache reads what of the build cache would go now.
func (a prune) cache(ctx context.Context, age time.Duration) (c cached, err error) {
	u, err := a.target.DiskUsage(ctx, types.BuildCacheObject)
	if err != nil {
		return c, privilege(err)
	}
	for _, b := range u.BuildCache {
		c.entries++
		size := float64(b.Size)
		if b.Shared {
			size = 0 // it is another entry's
		}
		c.all += size
		if b.InUse {
			continue
		}
		c.unused += size
		last := b.CreatedAt
		if b.LastUsedAt != nil {
			last = latest(last, *b.LastUsedAt)
		}
		if time.Since(last) >= age {
			c.going++
			c.bytes += size
		}
	}
	return c, nil
}

// applyCache has the engine prune what is old now, which may be more than when the
// plan was made: how much is read again right before.
func (a prune) applyCache(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[cacheArgs](s)
	if err != nil {
		return err
	}
	if args.Age <= 0 {
		return fmt.Errorf("step: until is %s", args.Age)
	}
	if known, err := a.target.Supports(ctx, cacheSince); err != nil || !known {
		return cmp.Or(err, errors.New("the engine has become an older one, which would remove the whole build cache"))
	}
	engine, err := a.clock(ctx)
	if err != nil {
		return err
	}
	if err := elsewhere(engine, args.Engine); err != nil {
		return err
	}
	c, err := a.cache(ctx, args.Age)
	if err != nil {
		return err
	}
	q, err := f.Quota(s)
	if err == nil {
		err = within(q, f, c.bytes)
	}
	if err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	// Also where the answer is lost.
	if err := q.Exactly(ctx, remediate.Amount{Bytes: c.bytes}); err != nil {
		return err
	}
	return privilege(a.target.Changes().PruneBuildCache(ctx, args.Age.String()))
}
