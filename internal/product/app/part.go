package app

import (
	"context"
	"fmt"
	"reflect"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// A part is one of those that an upkeep is made of. All are opened in the order of the list,
// and run until the end. A reload prepares all of them before it changes any.
type part struct {
	// open makes the part, by the configuration of the start. Those before it are there.
	open func(ctx context.Context) error

	// prepare makes of a configuration what can fail, and changes nothing; nil: a reload
	// changes nothing here. What the parts before have made is in the draft.
	prepare func(d *draft) (change, error)

	// run blocks until ctx is done; nil: there is nothing to run.
	run func(ctx context.Context) error
}

// A draft is a configuration that is being prepared, with what was made of it so far.
type draft struct {
	config *config.Config
	first  bool // it is the configuration of the start
	same   bool // it is equal to the one in force: only the files that it names may differ

	people    people
	schedules []schedule.Schedule
	made      pieces
}

// A change is what a part has prepared.
type change struct {
	// try puts the change in force where that may still fail, and has then changed nothing. At
	// most one part has it: it is tried before any other change is in force, and also where
	// the configuration is the same.
	try func() error

	use  func() // puts the change in force; it cannot fail
	drop func() // gives up what was made for a change that is not put in force
}

// adopt prepares all parts for a configuration, and then changes all of them or none. The
// caller holds mu.
func (a *App) adopt(c *config.Config, first bool) error {
	d := &draft{config: c, first: first, same: !first && reflect.DeepEqual(c, a.config)}
	changes, err := prepare(a.parts, d)
	if err == nil {
		err = swap(changes, d.same)
	}
	if err != nil {
		for _, one := range changes {
			if one.drop != nil {
				one.drop()
			}
		}
		return err
	}
	if !d.same {
		a.config, a.pieces = c, d.made
	}
	return nil
}

// prepare returns what was prepared, up to the first part that could not be.
func prepare(parts []part, d *draft) (all []change, err error) {
	for _, p := range parts {
		if p.prepare == nil {
			continue
		}
		one, err := p.prepare(d)
		all = append(all, one)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// swap puts changes in force, all or none; where the configuration is the same, only the one
// that is tried.
func swap(all []change, same bool) error {
	var tries []func() error
	for _, one := range all {
		if one.try != nil {
			tries = append(tries, one.try)
		}
	}
	if len(tries) > 1 { // what was tried first could not be undone
		return fmt.Errorf("%d parts of upkeep may fail to change, want one at most", len(tries))
	}
	for _, try := range tries {
		if err := try(); err != nil {
			return err
		}
	}
	for _, one := range all {
		if one.use != nil && !same {
			one.use()
		}
	}
	return nil
}

// open opens all parts in their order, and works by the configuration of the start.
func (a *App) open(ctx context.Context) error {
	for _, p := range a.parts {
		if p.open == nil {
			continue
		}
		if err := p.open(ctx); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.adopt(a.start, true)
	a.reloaded.observe(err)
	return err
}
