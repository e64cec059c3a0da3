package app

import (
	"fmt"
	"reflect"

	"github.com/ai-micro-service/upkeep/internal/product/config"
)

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
