package guard

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Window is a span of time that comes again, in which a run may act.
type Window interface {
	Open(at time.Time) bool
	Next(at time.Time) time.Time // when it is open next; zero when not as far as can be foreseen
}

// WithinWindow makes a run wait until one of its policy's windows is open.
func WithinWindow(windows map[string]Window) remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonWindow,
		Doc: "Window makes the run wait until one of the maintenance windows is open that its policy, or the person " +
			"who asks for it, names. " +
			"An action that needs a window is refused if none is named. A window that is not configured ends " +
			"the run. " +
			"It also applies while the run acts: when the window closes, no further step starts, and the run " +
			"continues in the next window.",
		Early: true, Exact: true, During: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			names := p.Run.Request.Terms.Windows
			switch {
			case p.Action.Windowed && len(names) == 0:
				return remediate.Refuse(remediate.ReasonWindow,
					"%s needs a maintenance window; name one in the policy, or with --window", p.Action.Name)
			case len(names) == 0:
				return nil
			}
			if err := known(windows, names); err != nil {
				return err
			}
			var next time.Time
			for _, name := range names {
				if windows[name].Open(p.Now) {
					return nil
				}
				if at := windows[name].Next(p.Now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
					next = at
				}
			}
			if next.IsZero() {
				return remediate.Refuse(remediate.ReasonWindow,
					"%s never opens again; correct its times in the configuration", strings.Join(names, ", "))
			}
			return &remediate.Refusal{
				Reason: remediate.ReasonWindow,
				Detail: fmt.Sprintf("%s is closed and opens at %s", strings.Join(names, ", "),
					next.Format(time.RFC3339)),
				Until: next,
			}
		},
	}
}

// known refuses names that no window has, even beside one that is open: who wrote
// them meant something else.
func known(windows map[string]Window, names []string) error {
	for _, name := range names {
		if windows[name] == nil {
			return remediate.Refuse(remediate.ReasonWindow, "unknown window %q; the configuration has %q", name,
				slices.Sorted(maps.Keys(windows)))
		}
	}
	return nil
}
