package inbox

import (
	"strings"
	"sync"
)

const (
	// shownNames is how many alerts are counted one by one: an alert's name may be made up by
	// who sends it.
	shownNames = 50

	// shownName is how many bytes of a name are shown.
	shownName = 128

	// others is the name under which the rest is counted.
	others = "other"
)

// clipped is a name that is not longer than shown.
func clipped(name string) string {
	if len(name) <= shownName {
		return name
	}
	return strings.ToValidUTF8(name[:shownName], "") + "…"
}

// names are those that counters know; more of them are counted as others.
type names struct {
	mu  sync.Mutex
	all map[string]bool
}

// of returns the name under which an alert is counted.
func (n *names) of(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	name = clipped(name)
	if n.all[name] {
		return name
	}
	if len(n.all) >= shownNames {
		return others
	}
	if n.all == nil {
		n.all = make(map[string]bool)
	}
	n.all[name] = true
	return name
}
