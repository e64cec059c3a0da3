package engine

import (
	"encoding/json"
	"sync"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// A Setting is what a configuration says to the engine, as one whole.
type Setting struct {
	Actions  []remediate.Action
	Policies []policy.Policy

	// Schedules make the request of each schedule by its name, from the labels of its
	// subject, or report that the subject is not the schedule's. If the map is nil
	// nothing is known of schedules, and what they asked for stays as it was.
	Schedules map[string]func(labels map[string]string) (r remediate.Request, ok bool)

	Guards []remediate.Guard // nil: those of the engine's Config

	// Freed is called once, when nothing uses the setting before this one any more: no
	// run is in a stage that began under it. It may be nil.
	Freed func()
}

// A setting is a Setting in force. It is never changed, only replaced.
type setting struct {
	Setting
	actions  map[key]remediate.Action
	takers   map[string]int // how many targets take an action
	book     policy.Book
	edition  string          // of the book
	bookText json.RawMessage // the book, as it is kept for replays
}

// A key finds an action: its name and the target that it acts on.
type key struct{ name, target string }

// uses count what is under way by the setting in force when it began. What a setting
// brought with it, like connections to targets, is given up when nothing is left that
// began under it or before: a run's long step goes on with the action that it has.
type uses struct {
	mu    sync.Mutex
	now   int         // how many settings there were
	under map[int]int // what is under way, by the setting in which it began
	freed []freeing   // the oldest first
}

// A freeing waits for the end of all that began under a setting or before it.
type freeing struct {
	setting int
	do      func()
}

// begin counts something that may use the setting in force, until its end is called.
// What begins later never sees a setting that was replaced before.
func (u *uses) begin() (end func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.now
	if u.under == nil {
		u.under = make(map[int]int)
	}
	u.under[n]++
	return func() {
		u.mu.Lock()
		if u.under[n]--; u.under[n] == 0 {
			delete(u.under, n)
		}
		free := u.free()
		u.mu.Unlock()
		call(free)
	}
}

// replace says that another setting is in force, and what is to be done when nothing
// uses the one before any more.
func (u *uses) replace(freed func()) {
	u.mu.Lock()
	if freed != nil {
		u.freed = append(u.freed, freeing{u.now, freed})
	}
	u.now++
	free := u.free()
	u.mu.Unlock()
	call(free)
}

// free returns what is due. The caller holds mu.
func (u *uses) free() (due []func()) {
	for len(u.freed) > 0 {
		for n := range u.under {
			if n <= u.freed[0].setting {
				return due
			}
		}
		due = append(due, u.freed[0].do)
		u.freed = u.freed[1:]
	}
	return due
}

func call(all []func()) {
	for _, do := range all {
		do()
	}
}
