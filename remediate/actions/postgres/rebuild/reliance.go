package rebuild

import (
	"context"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
)

// A reliance is what work on one table relies on.
type reliance struct {
	reader   relation.Reader
	contract relation.Contract
}

// relianceOn is what there is to rely on now.
func relianceOn(ctx context.Context, q read.Querier, oid int64) (r reliance, err error) {
	if r.reader, err = relation.NewReader(ctx, q); err != nil {
		return r, err
	}
	r.contract, err = r.reader.Read(ctx, q, []int64{oid})
	return r, err
}

// relianceOf is what a step relies on, once that was compared with what is there. A
// step of a plan that was made before plans said so relies on what is there.
func relianceOf(ctx context.Context, q read.Querier, s repackStep) (r reliance, err error) {
	if r, err = relianceOn(ctx, q, s.Args.OID); err != nil || s.Args.Contract == "" {
		return r, err
	}
	now := r.contract
	if r.contract, err = relation.Parse(s.Args.Contract); err != nil {
		return r, err
	}
	return r, r.contract.Check(now)
}

// holds refuses where something is not as it was.
func (r reliance) holds(ctx context.Context, q read.Querier) error {
	oids := make([]int64, 0, len(r.contract.Relations))
	for oid := range r.contract.Relations {
		oids = append(oids, oid)
	}
	now, err := r.reader.Read(ctx, q, oids)
	if err != nil {
		return err
	}
	return r.contract.Check(now)
}
