package console

import (
	"fmt"
	"slices"
	"strings"
)

// Names are those that the configuration in force has, and all actions.
type Names struct{ Targets, Policies, Actions, Schedules []string }

// of returns the names of a kind of scope.
func (n Names) of(kind string) (names []string, plural string) {
	switch kind {
	case "target":
		return n.Targets, "targets"
	case "policy":
		return n.Policies, "policies"
	case "action":
		return n.Actions, "actions"
	}
	return nil, ""
}

// Check returns what is wrong with the scope of a pause: a name that nothing has would
// pause nothing.
func (n Names) Check(scope string) error {
	kind, name, named := strings.Cut(scope, "/")
	if !named {
		return nil // all
	}
	names, plural := n.of(kind)
	if slices.Contains(names, name) {
		return nil
	}
	for _, other := range names {
		if strings.EqualFold(strings.TrimSpace(name), other) {
			return fmt.Errorf("unknown %s %q: did you mean %s/%s?", kind, name, kind, other)
		}
	}
	switch {
	case kind == "policy" && slices.Contains(n.Schedules, name):
		return fmt.Errorf("unknown policy %q: it is a schedule; pause its action or its target", name)
	case len(names) == 0:
		return fmt.Errorf("unknown %s %q: the configuration has no %s", kind, name, plural)
	}
	sorted := slices.Sorted(slices.Values(names))
	return fmt.Errorf("unknown %s %q; %s: %s", kind, name, plural, strings.Join(sorted, ", "))
}
