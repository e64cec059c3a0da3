package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
)

// undoWithin is how long a run's end waits for what its last step left to be undone:
// long enough for a server that starts, or a session that ends.
const undoWithin = 2 * time.Minute

// errNoUndo says that a step leaves nothing that its action could undo.
var errNoUndo = errors.New("nothing to undo")

// ending completes the move that ends a run in a step that has begun and has not ended:
// what the step left is undone first, and the end says what came of it. Any other move
// it returns as it is, with what the step itself says that it left.
func (e *Engine) ending(ctx context.Context, c *carried, m move, fault error) (move, error) {
	half, left := errors.AsType[*remediate.LeftError](fault)
	said := m
	if left && !strings.Contains(m.why, half.Detail) {
		said.why += "; " + half.Detail
	}
	if m.stay || !m.to.Ended() || !interrupted(c.run) {
		return said, nil
	}
	if busy, err := e.others(ctx, c.run); err != nil {
		return m, fmt.Errorf("run %d: %w", c.run.ID, err)
	} else if busy {
		return move{stay: true, due: e.now().Add(tick)}, nil // its end wakes this one
	}
	if so := so(c.run); m.to.Stopped() && c.run.State != remediate.Allowed && !strings.Contains(m.why, so) {
		m.why, said.why = m.why+so, said.why+so
	}
	s := c.run.Plan.Steps[c.run.Begun-1]
	found, err := e.undo(ctx, c, s)
	switch {
	case errors.Is(err, remediate.ErrFenced) || ctx.Err() != nil:
		return m, fmt.Errorf("run %d: undo step %d: %w", c.run.ID, c.run.Begun, errors.Join(err, context.Cause(ctx)))
	case errors.Is(err, errNoUndo):
		return said, nil
	case err != nil:
		what := s.Left
		if left {
			what = half.Detail
		}
		m.why += fmt.Sprintf("; what step %d left is not undone: %v; %s", c.run.Begun, err, what)
		m.notification = e.mendable(c.run, m)
	case found != "":
		m.why += fmt.Sprintf("; of step %d: %s", c.run.Begun, found)
	}
	return m, nil
}

// others reports whether another run acts on the subject of one that does not act: its
// work must not be undone with what this one left.
func (e *Engine) others(ctx context.Context, run remediate.Run) (bool, error) {
	if run.State == remediate.Allowed {
		return false, nil
	}
	w, err := e.c.Journal.Working(ctx, run)
	if err != nil {
		return false, err
	}
	subject := e.exclusive(run.Request)
	for _, other := range w.Acting {
		if subject != "" && other.Exclusive == subject && other.State == remediate.Allowed {
			return true, nil
		}
	}
	return false, nil
}

// undo has the action undo what a step left, and tries again after a fault that may pass.
func (e *Engine) undo(ctx context.Context, c *carried, s remediate.Step) (found string, err error) {
	r := c.run.Request
	a, ok := e.setting.Load().actions[key{r.Action, r.Subject["server"]}]
	if !ok && s.Left == "" {
		return "", errNoUndo // as far as its plan says it leaves nothing
	}
	if !ok {
		return "", fmt.Errorf("the configuration has no target %q that takes %s", r.Subject["server"], r.Action)
	}
	u, ok := a.Executor.(remediate.Undoer)
	if !ok {
		return "", errNoUndo
	}
	if c.run.Lost >= 2*maxLost {
		return "", errors.New("upkeep was stopped repeatedly during it")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, undoWithin, fmt.Errorf("it took longer than %s", undoWithin))
	defer cancel()
	// the right alone: it is no work that the rules of now could hold
	f := remediate.Fence{Token: c.fence.Token, Held: c.fence.Held}
	for try := 1; ; try++ {
		found, err = e.undoes(ctx, a, u, f, s)
		if _, refused := remediate.Refused(err); err == nil || refused || errors.Is(err, remediate.ErrFenced) ||
			try == maxTries {
			return found, err
		}
		select {
		case <-ctx.Done():
			return found, err
		case <-time.After(time.Second << try):
		}
	}
}

func (e *Engine) undoes(ctx context.Context, a remediate.Action, u remediate.Undoer, f remediate.Fence,
	s remediate.Step) (found string, err error) {
	defer e.survive(a, &err)
	return u.Undo(ctx, f, s)
}

// mendable notifies people of what a run has left that they must repair.
func (e *Engine) mendable(run remediate.Run, m move) *remediate.Notification {
	return &remediate.Notification{
		Key: fmt.Sprintf("left/%d", run.ID), Kind: remediate.NotificationPage, Run: run.ID,
		Incident: run.Request.Incident, At: e.now(), Labels: about(run),
		Title: fmt.Sprintf("Run %d has ended with an incomplete step: %s", run.ID, run.Request.Action),
		Text:  visible.Text(m.why),
	}
}
