package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// whole checks what no single key can tell.
func (d *decoder) whole(c *Config, n *yaml.Node) {
	if !filepath.IsAbs(c.DataDir) {
		c.DataDir = filepath.Join(d.dir, c.DataDir)
	}
	if c.Web.TokenFile != "" && c.Web.TokenEnv != "" {
		d.fault(at(n, "web", "token_env"), "web has both token_file and token_env; one was expected")
	}
	if c.Embedded.Enabled && c.Alertmanager.URL != "" {
		d.fault(at(n, "alertmanager", "url"), "alertmanager.url is for your own Alertmanager, and embedded mode has one; set embedded.enabled to false or leave the url out")
	}
	if len(c.Targets.Postgres)+len(c.Targets.Redis)+len(c.Targets.Host) == 0 && len(d.faults) == 0 {
		d.fault(n, "no target is named; at least one is expected:\n%s", beginning)
	}
	d.servers("postgres", []string{"postgres", "postgresql"}, c.Targets.Postgres, n)
	d.servers("redis", []string{"redis", "rediss", "unix"}, c.Targets.Redis, n)
	names := make(map[string]bool)
	for i, h := range c.Targets.Host {
		if names[h.Name] {
			d.fault(at(n, "targets", "host", i, "name"), "a second host is called %q; each needs a name of its own", h.Name)
		}
		names[h.Name] = true
		if !filepath.IsAbs(h.Root) {
			d.fault(at(n, "targets", "host", i, "root"), "root is %q; an absolute path was expected", h.Root)
		}
	}
	d.policies(c, n)
}

func (d *decoder) servers(kind string, schemes []string, all []Target, n *yaml.Node) {
	names := make(map[string]bool)
	for i, t := range all {
		if t.Name != "" && names[t.Name] {
			d.fault(at(n, "targets", kind, i, "name"), "a second %s server is called %q; each needs a name of its own", kind, t.Name)
		}
		names[t.Name] = true
		if t.PasswordFile != "" && t.PasswordEnv != "" {
			d.fault(at(n, "targets", kind, i, "password_env"), "%s %s has both password_file and password_env; one was expected", kind, t.Name)
		}
		if t.URL == "" {
			continue // said already
		}
		place := at(n, "targets", kind, i, "url")
		u, err := url.Parse(t.URL)
		switch {
		case err != nil || !slices.Contains(schemes, u.Scheme):
			// The URL itself is not shown: where it does not parse, nobody knows
			// whether there is a password in it.
			d.fault(place, "the url of %s %s is none; one that begins with %s:// was expected", kind, t.Name, strings.Join(schemes, ":// or "))
		case hasPassword(u):
			d.fault(place, "the url of %s %s has a password in it; put it into a file and name that in password_file, or name an environment variable in password_env", kind, t.Name)
		}
	}
}

func hasPassword(u *url.URL) bool {
	if _, in := u.User.Password(); in {
		return true
	}
	return slices.ContainsFunc([]string{"password", "sslpassword"}, u.Query().Has)
}

func (d *decoder) policies(c *Config, n *yaml.Node) {
	names := make(map[string]bool)
	for i, p := range c.Policies {
		if p.Name != "" && names[p.Name] {
			d.fault(at(n, "policies", i, "name"), "a second policy is called %q; each needs a name of its own", p.Name)
		}
		names[p.Name] = true
		if p.Action != "" && !slices.Contains(d.known.Actions, p.Action) {
			d.fault(at(n, "policies", i, "action"), "policy %q names no action that there is: %q; %s", p.Name, p.Action, expected(p.Action, d.known.Actions))
		}
	}
}

// at returns the node at a path of keys and indexes, or the nearest above it.
func at(n *yaml.Node, path ...any) *yaml.Node {
	for _, step := range path {
		next := child(resolve(n), step)
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

func child(n *yaml.Node, step any) *yaml.Node {
	switch step := step.(type) {
	case int:
		if n.Kind == yaml.SequenceNode && step < len(n.Content) {
			return n.Content[step]
		}
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// Restartless returns an error that names everything that differs from old and
// is taken up at a start only.
func (c *Config) Restartless(old *Config) error {
	var faults []error
	differs := func(key string, same bool) {
		if !same {
			faults = append(faults, fmt.Errorf("%s has changed; that needs a restart", key))
		}
	}
	differs("data_dir", c.DataDir == old.DataDir)
	differs("log", c.Log == old.Log)
	differs("web", c.Web == old.Web)
	differs("alertmanager", c.Alertmanager == old.Alertmanager)
	differs("engine", c.Engine == old.Engine)
	now, before := c.Embedded, old.Embedded
	now.RuleFiles, before.RuleFiles = nil, nil // these are read again
	differs("embedded (but for rule_files)", fmt.Sprint(now) == fmt.Sprint(before))
	return errors.Join(faults...)
}
