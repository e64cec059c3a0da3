package engine

import (
	"fmt"

	"github.com/ai-micro-service/upkeep/remediate"
)

// refusal says where a refusal leads: to wait, to ask, or to the end.
func (e *Engine) refusal(run remediate.Run, r *remediate.Refusal) move {
	switch {
	case r == nil:
		return move{}
	case r.Reason == remediate.ReasonApproval:
		return e.ask(run, r)
	case r.Until.IsZero():
		return end(r.Detail, r.Reason)
	}
	return move{to: remediate.Waiting, why: r.Detail, reason: r.Reason, due: r.Until}
}

// end returns the end of a run that is stopped on purpose.
func end(why, reason string) move {
	return move{to: remediate.StoppedBy(reason), why: why, reason: reason}
}

func steps(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

// withdraw says where a refusal leads a run that may have begun to act.
func (e *Engine) withdraw(run remediate.Run, r *remediate.Refusal) move {
	m := e.refusal(run, r)
	if r == nil {
		return m
	}
	if m.to == remediate.Waiting && run.State == remediate.Waiting && r.Reason == run.Reason {
		return move{stay: true, due: m.due}
	}
	m.why += so(run)
	return m
}

// halted returns the next state of a run that was stopped in the middle of a step.
func (e *Engine) halted(run remediate.Run, r *remediate.Refusal) move {
	stopped := *r
	stopped.Detail = fmt.Sprintf("stopped in step %d: %s", run.Begun, r.Detail)
	return e.withdraw(run, &stopped)
}

// so says how far a run has come that has begun to act.
func so(run remediate.Run) string {
	if run.Begun == 0 {
		return ""
	}
	done := "none of"
	if run.Done > 0 {
		done = fmt.Sprintf("%d of", run.Done)
	}
	return fmt.Sprintf("; %s %s done%s, no further step was started", done, steps(len(run.Plan.Steps)),
		begun(run)+removed(run))
}

// removed says how much the step has removed that a run was stopped in.
func removed(run remediate.Run) string {
	if run.Begun <= run.Done || run.Begun > len(run.Plan.Steps) {
		return ""
	}
	s := run.Plan.Steps[run.Begun-1]
	gone, err := s.Taken()
	switch {
	case err != nil || gone == remediate.Amount{}:
		return ""
	case s.Exact():
		return fmt.Sprintf(", step %d has removed %s", run.Begun, &gone)
	}
	return fmt.Sprintf(", step %d has removed %s at most", run.Begun, &gone)
}

// interrupted reports whether a run has a step that has begun and has not ended.
func interrupted(run remediate.Run) bool {
	return run.State != remediate.Applied && run.Begun > run.Done && run.Begun <= len(run.Plan.Steps)
}

// begun says that a step has begun of which it is not known that it is done.
func begun(run remediate.Run) string {
	if !interrupted(run) {
		return ""
	}
	return fmt.Sprintf(", step %d was begun", run.Begun)
}
