package remediate

import (
	"context"
	"errors"
)

// ErrFenced says that another run holds the right to act on the subject.
var ErrFenced = errors.New("the right to act on the subject has passed to another")

// A Fence is the right to act on a subject. Token grows each time the right
// changes hands.
type Fence struct {
	Token int64

	// Held returns nil while the run may go on, ErrFenced after the right has passed
	// on, and a *Refusal where the right is held and the configuration, a pause, a
	// window or a limit of now stops the run.
	Held func(ctx context.Context) error

	// Keep writes what was seen to the journal, before anything is changed, as the
	// step's Kept; nil where nothing is kept. Why says it for people.
	Keep func(ctx context.Context, kept map[string]string, why string) error

	// Most is how much the run may delete, drop or prune; nil where nothing bounds it.
	// Only Rows and Bytes count, and of them those that are not zero. An action that
	// would take more stops before it does, with ReasonAmount. A Quota counts.
	Most *Amount

	// Taken is what the other steps of the run have taken of Most.
	Taken Amount
}

// Note hands what was seen to Keep.
func (f Fence) Note(ctx context.Context, kept map[string]string, why string) error {
	if f.Keep == nil {
		return errors.New("there is no journal to keep what was seen")
	}
	return f.Keep(ctx, kept, why)
}

// Check returns nil while the right is held, and otherwise why not. An action
// calls it last before it changes anything, under whatever lock the target gives.
func (f Fence) Check(ctx context.Context) error {
	if f.Held == nil {
		return ErrFenced
	}
	return f.Held(ctx)
}

// Keeps returns nil while the right is held, whatever the rules of now say. It is asked
// in the place of Check before what the step itself has changed is put back, and while
// a statement goes on that is left to end.
func (f Fence) Keeps(ctx context.Context) error {
	err := f.Check(ctx)
	if _, refused := Refused(err); refused {
		return nil // Held asks for the right first
	}
	return err
}
