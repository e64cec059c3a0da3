package embedded

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/prometheus/common/config"
	promconfig "github.com/prometheus/prometheus/config"
)

// Parts are what a reload may replace.
type Parts struct {
	Rules     fs.FS    // rule files, *.rules.yaml
	RuleFiles []string // patterns of further rule files

	// ScrapeConfigs and RemoteWrite are lists in Prometheus' own syntax, as YAML. Relative
	// paths in them begin at ConfigDir.
	ScrapeConfigs, RemoteWrite string

	Routing Routing // who else is notified of alerts
}

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
// was prepared, all that was in use stays.
func (c *Change) Use() error {
	e := c.e
	e.mu.Lock()
	defer e.mu.Unlock()
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
	old, changed := p.prom.own.Load(), c.parts.ScrapeConfigs != before.ScrapeConfigs || c.parts.RemoteWrite != before.RemoteWrite
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

// connectable reports whether what scrapes and writes by a configuration can be made: a
// certificate that cannot be read is found before anything is changed.
func connectable(c *promconfig.Config) error {
	scrapes, err := c.GetScrapeConfigs()
	if err != nil {
		return fmt.Errorf("scrape_configs: %w", hush(err))
	}
	for _, s := range scrapes {
		if _, err := config.NewClientFromConfig(s.HTTPClientConfig, s.JobName); err != nil {
			return fmt.Errorf("scrape_configs: job_name %q: %w", s.JobName, hush(err))
		}
	}
	for n, r := range c.RemoteWriteConfigs {
		if _, err := writeClient(r); err != nil {
			return fmt.Errorf("remote_write: entry %d: %w", n+1, hush(err))
		}
	}
	return nil
}
