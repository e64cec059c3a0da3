package engine

import "sync"

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
