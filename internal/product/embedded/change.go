package embedded

import (
	"errors"
	"fmt"

	promconfig "github.com/prometheus/prometheus/config"
)

// A Change is other parts that were found good.
type Change struct {
	e     *Embedded
	parts Parts
	made  *promconfig.Config
}

// Prepare makes of other parts all that can fail, and changes nothing.
func (e *Embedded) Prepare(p Parts) (*Change, error) {
	if err := CheckRules(p.Rules, p.RuleFiles); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.config
	c.Parts = p
	made, err := promConfig(c)
	if err == nil {
		err = connectable(made)
	}
	if err != nil {
		return nil, err
	}
	if open := e.parts.Load(); open != nil {
		if _, err := open.alert.prepare(p.Routing); err != nil {
			return nil, fmt.Errorf("embedded alertmanager: %w", err)
		}
	}
	return &Change{e, p, made}, nil
}

// Use puts a change in the place of what is in use. What has not changed is left alone: a
// notification that is under way is not sent twice. Where a file has become wrong since it
// was prepared, all that was in use stays. It may be called at any time: after the end
// it is an error.
func (c *Change) Use() error {
	e := c.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return errors.New("the embedded Prometheus and Alertmanager have ended")
	}
	if open := e.parts.Load(); open != nil {
		if err := open.use(c, e.config.Parts); err != nil {
			return err
		}
	}
	e.config.Parts = c.parts
	return nil
}

func (p *parts) use(c *Change, before Parts) error {
	next, err := p.alert.prepare(c.parts.Routing)
	if err != nil {
		return fmt.Errorf("embedded alertmanager: %w", err)
	}
	old, changed := p.prom.own.Load(), c.parts.ScrapeConfigs != before.ScrapeConfigs ||
		c.parts.RemoteWrite != before.RemoteWrite
	if changed {
		err = p.prom.apply(c.made)
	}
	if err == nil {
		err = p.prom.load(c.parts.Rules, c.parts.RuleFiles) // what it does not take changes nothing
	}
	if err != nil && changed {
		return errors.Join(err, p.prom.apply(old))
	}
	if err != nil {
		return err
	}
	if changed {
		p.prom.writer.use(c.made)
	}
	p.alert.reroute(next)
	return nil
}
