package remediate

import (
	"context"
	"fmt"
	"time"
)

// An Identifier is a Executor whose steps are for one server, whatever answers at the
// address of its target. An action whose steps return the error of Elsewhere is one.
type Identifier interface {
	// Identified returns nil where the server answers that the step was planned for, and
	// the error of Elsewhere where another one does. It changes nothing.
	Identified(ctx context.Context, s Step) error
}

// An Undoer is a Executor of which a step that is interrupted, by a crash or a stop, can
// leave something half done. The engine asks it before a run ends in such a step: the
// next plan would continue with what was left, but there may be no next plan.
type Undoer interface {
	// Undo takes back what the step has left, and changes nothing else. It works by the
	// step alone, whatever the configuration says by now, on the server of the plan and
	// under the locks of Apply. It returns what it found and did, for people; "" where
	// nothing was left. Undone twice is undone once.
	Undo(ctx context.Context, f Fence, s Step) (found string, err error)
}

// elsewhereAgain is how often a run looks whether the server of its plan answers again.
const elsewhereAgain = 5 * time.Second

// Elsewhere returns a Refusal with ReasonTarget: another server answers at the address of
// the target than the one that the plan was made for. The run is held, and goes on when
// the server of its plan answers again.
func Elsewhere(format string, args ...any) error {
	return &Refusal{Reason: ReasonTarget, Detail: fmt.Sprintf(format, args...), Until: time.Now().Add(elsewhereAgain)}
}

// A LeftError is the error of a step that was stopped or could not go on, and that
// leaves something half done. A run's end says so, whatever ended it.
type LeftError struct {
	Detail string // what is left, and the statement that mends it
	Err    error  // why the step ended
}

func (e *LeftError) Error() string { return e.Err.Error() + "; " + e.Detail }

// Unwrap returns why the step ended.
func (e *LeftError) Unwrap() error { return e.Err }
