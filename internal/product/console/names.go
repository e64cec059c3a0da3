package console

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// Names are those that the configuration in force has, and all actions.
type Names struct {
	Targets, Policies, Actions, Schedules []string

	Kinds   map[string][]string        // of each target
	Windows map[string]schedule.Window // by their names
}

// Loaded is the configuration in force, with the targets that it names.
type Loaded struct {
	Config  *config.Config
	Targets target.Set
}

// An ActionLine is what an action is, and who takes it.
type ActionLine struct {
	Name      string            `json:"name"`
	Summary   string            `json:"summary"`
	Targets   []string          `json:"targets"`   // that take it
	Risk      string            `json:"risk"`      // safe, guarded or destructive
	Lowers    []string          `json:"lowers"`    // metrics, by the parameters
	Labels    []string          `json:"labels"`    // each says on what it works, and is needed
	Exclusive []string          `json:"exclusive"` // those that no other run may work on meanwhile
	Params    []ParamLine       `json:"params"`
	Asks      bool              `json:"asks"`     // every run needs approval
	Windowed  bool              `json:"windowed"` // it runs in a maintenance window only
	Timeout   string            `json:"timeout"`  // of one step
	Effects   map[string]string `json:"effects"`  // lock, blocks, wal, disk and undo
}

// A ParamLine is a parameter of an action.
type ParamLine struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Default string `json:"default,omitempty"`
	Doc     string `json:"doc"`
}

// actionLines describes actions, each once.
func actionLines(all []remediate.Action) []ActionLine {
	byName := make(map[string]*ActionLine)
	for _, a := range all {
		l := byName[a.Name]
		if l == nil {
			summary, _, _ := strings.Cut(strings.Join(strings.Fields(a.Doc), " "), ". ")
			summary = strings.TrimSuffix(summary, ".") + "."
			l = &ActionLine{Name: a.Name, Summary: summary, Risk: a.Risk.String(), Lowers: slices.Compact(a.Metrics()),
				Labels: a.Subject, Exclusive: a.Exclusive, Asks: a.Asks, Windowed: a.Windowed,
				Timeout: model.Duration(a.Timeout).String(),
				Effects: map[string]string{"lock": a.Effects.Lock, "blocks": a.Effects.Blocks, "wal": a.Effects.WAL,
					"disk": a.Effects.Disk, "undo": a.Effects.Undo}}
			for _, p := range a.Params {
				l.Params = append(l.Params, ParamLine{p.Name, string(p.Type), p.Default, p.Doc})
			}
			byName[a.Name] = l
		}
		l.Targets = append(l.Targets, a.Target)
	}
	lines := []ActionLine{}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		l := *byName[name]
		slices.Sort(l.Targets)
		lines = append(lines, l)
	}
	return lines
}

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
