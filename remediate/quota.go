package remediate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// What a step has taken is in its Kept under these names.
const (
	keptRows  = "taken_rows"
	keptBytes = "taken_bytes"
	keptExact = "taken_exactly" // is there where they are what was taken, and not what was reserved
)

const (
	// quotaParts is in how many parts at most a bound is reserved: so often the journal
	// is written, and so small a part is lost where a process is killed.
	quotaParts = 16

	leastRows, leastBytes = 256, 1 << 20
)

// Taken returns what a step has taken of what its run may remove, or had reserved when
// its process ended without a word.
func (s Step) Taken() (a Amount, err error) {
	for name, to := range map[string]*float64{keptRows: &a.Rows, keptBytes: &a.Bytes} {
		text := s.Kept[name]
		if text == "" {
			continue
		}
		if *to, err = strconv.ParseFloat(text, 64); err != nil || !(*to >= 0) {
			return a, fmt.Errorf("step: %s is %q, which is no amount", name, text)
		}
	}
	return a, nil
}

// Exact reports whether Taken is what was really taken. It is the most that can have
// been where a try has not ended by itself.
func (s Step) Exact() bool { return s.Kept[keptExact] != "" }

// TakenBeside returns what the other steps of a plan have taken.
func (p Plan) TakenBeside(step int) (sum Amount, err error) {
	for i, s := range p.Steps {
		if i == step {
			continue
		}
		a, err := s.Taken()
		if err != nil {
			return sum, err
		}
		sum = sum.plus(a)
	}
	return sum, nil
}

func (a Amount) plus(b Amount) Amount {
	return Amount{Rows: a.Rows + b.Rows, Bytes: a.Bytes + b.Bytes}
}

// A Quota counts what one step takes of what its run may remove, over all its tries.
// The journal records it before it is taken: if a process is killed, what was
// reserved counts as taken, and so a run never removes more than it may. Where
// nothing bounds the run it is counted for people, who read how much has gone.
type Quota struct {
	fence    Fence
	before   Amount // what earlier tries took
	exact    bool   // before is what they took, and not what they had reserved
	taken    Amount // by this one
	reserved Amount // of the step in all, as the journal has it
	settled  bool   // the journal has what was taken
}

// Quota returns what is left for a step.
func (f Fence) Quota(s Step) (*Quota, error) {
	before, err := s.Taken()
	exact := s.Exact() || before == Amount{}
	return &Quota{fence: f, before: before, exact: exact, reserved: before, settled: exact}, err
}

// Anew forgets what earlier tries of the step took: it takes one thing, which is there
// still, and is counted whole.
func (q *Quota) Anew() { q.before, q.exact = Amount{}, true }

// Bounded reports whether anything bounds the run.
func (q *Quota) Bounded() bool {
	return q.fence.Most != nil && (q.fence.Most.Rows > 0 || q.fence.Most.Bytes > 0)
}

// Gone returns what the run has taken until now.
func (q *Quota) Gone() Amount { return q.fence.Taken.plus(q.before).plus(q.taken) }

// Fits reports whether so much more may go.
func (q *Quota) Fits(more Amount) bool {
	if !q.Bounded() {
		return true
	}
	sum, most := q.Gone().plus(more), q.fence.Most
	return (most.Rows <= 0 || sum.Rows <= most.Rows) && (most.Bytes <= 0 || sum.Bytes <= most.Bytes)
}

// Rows returns how many rows more may go, where each has so many bytes; without a
// bound it returns less than zero.
func (q *Quota) Rows(each float64) int64 {
	if !q.Bounded() {
		return -1
	}
	left, gone := math.Inf(1), q.Gone()
	if q.fence.Most.Rows > 0 {
		left = q.fence.Most.Rows - gone.Rows
	}
	if q.fence.Most.Bytes > 0 {
		left = min(left, (q.fence.Most.Bytes-gone.Bytes)/max(each, 1))
	}
	return int64(max(left, 0))
}

// Reserve makes sure that the journal says of so much more that it is taken, and of
// some beyond it.
func (q *Quota) Reserve(ctx context.Context, more Amount) error {
	need := q.before.plus(q.taken).plus(more)
	switch most := q.fence.Most; {
	case need.Rows <= q.reserved.Rows && need.Bytes <= q.reserved.Bytes:
		return nil
	case q.Bounded():
		need.Rows = ahead(need.Rows, most.Rows, q.fence.Taken.Rows, leastRows)
		need.Bytes = ahead(need.Bytes, most.Bytes, q.fence.Taken.Bytes, leastBytes)
	default: // twice as much each time: the journal is written seldom
		need.Rows, need.Bytes = doubled(need.Rows, leastRows), doubled(need.Bytes, leastBytes)
	}
	return q.write(ctx, need, false)
}

// ahead is some more than is needed, within what is left for the step.
func ahead(need, most, beside, least float64) float64 {
	if most <= 0 {
		return need // counted for people
	}
	return max(need, min(need+max(most/quotaParts, least), most-beside))
}

func doubled(need, least float64) float64 {
	if need <= 0 {
		return 0
	}
	return max(2*need, least)
}

// Exactly has the journal say, before it is done, that this try takes so much.
func (q *Quota) Exactly(ctx context.Context, a Amount) error {
	q.taken = a
	return q.write(context.WithoutCancel(ctx), q.before.plus(q.taken), false)
}

// Take counts what is taken now.
func (q *Quota) Take(a Amount) { q.taken = q.taken.plus(a) }

// Return counts back what was not taken after all.
func (q *Quota) Return(a Amount) { q.taken = q.taken.plus(Amount{Rows: -a.Rows, Bytes: -a.Bytes}) }

// Unsure says that what is counted may not have been taken.
func (q *Quota) Unsure() { q.exact = false }

// Settle writes what was really taken, at the end of a try, also of one that was
// stopped.
func (q *Quota) Settle(ctx context.Context) error {
	return q.write(context.WithoutCancel(ctx), q.before.plus(q.taken), q.exact)
}

// Stopped is Settle for a try that ended with an error, nil where it did not. What
// nothing bounds is written for people then, and not where the step is done.
func (q *Quota) Stopped(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrFenced):
		return err // the run is another's
	case err == nil && !q.Bounded():
		return nil
	}
	return errors.Join(err, q.Settle(ctx))
}

func (q *Quota) write(ctx context.Context, a Amount, exact bool) error {
	if a == q.reserved && (exact == q.settled || a == Amount{}) {
		return nil
	}
	kept := map[string]string{keptRows: strconv.FormatFloat(a.Rows, 'f', -1, 64),
		keptBytes: strconv.FormatFloat(a.Bytes, 'f', -1, 64)}
	why := fmt.Sprintf("up to %s count as removed by this step", &a)
	switch {
	case exact && a == Amount{}:
		kept[keptExact], why = "yes", "nothing was removed by this step"
	case exact:
		kept[keptExact], why = "yes", fmt.Sprintf("%s were removed by this step", &a)
	}
	if q.fence.Keep != nil {
		if err := q.fence.Keep(ctx, kept, why); err != nil {
			return fmt.Errorf("write down what is removed: %w", err)
		}
	}
	q.reserved, q.settled = a, exact
	return nil
}
