package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/receivers"
)

// AlertmanagerFile returns the Alertmanager configuration file that is used, or
// nil.
func (c *Config) AlertmanagerFile() *receivers.File { return c.alertmanager }

// Informed returns the places, each with a receiver or a kind: those that are named, or
// the receiver of the file's top route.
func (c *Config) Informed() []Place {
	if len(c.Notify.Places) > 0 || c.alertmanager == nil {
		return c.Notify.Places
	}
	name := c.alertmanager.Config.Route.Receiver
	return []Place{{Name: name, Receiver: name}}
}

// placesAlone expands the short form: a list under notify is its places.
func placesAlone(n *yaml.Node) {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		list := resolve(n.Content[i+1])
		if n.Content[i].Value != "notify" || list.Kind != yaml.SequenceNode {
			continue
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "places", Line: list.Line, Column: list.Column}
		n.Content[i+1] = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: list.Line, Column: list.Column,
			Content: []*yaml.Node{key, list}}
	}
}

// notify checks the places, and reads the file with the receivers.
func (d *decoder) notify(c *Config, n *yaml.Node) {
	file, key := c.Notify.ReceiversFile, "notify.receivers_file"
	switch {
	case c.Embedded.Enabled && file != "":
		d.fault(at(n, "notify", "receivers_file"),
			"notify.receivers_file is for your own Alertmanager, and embedded mode has one; name the file in "+
				"embedded.alertmanager_file")
		return
	case !c.Embedded.Enabled && c.Embedded.AlertmanagerFile != "":
		d.fault(at(n, "embedded", "alertmanager_file"),
			"embedded.alertmanager_file is for embedded mode, which is off; name the file in notify.receivers_file")
		return
	case c.Embedded.Enabled:
		file, key = c.Embedded.AlertmanagerFile, "embedded.alertmanager_file"
	}
	if file != "" {
		var err error
		c.alertmanager, err = receivers.Load(file)
		if unread, ok := errors.AsType[*fs.PathError](err); ok {
			section, name, _ := strings.Cut(key, ".")
			d.fault(at(n, section, name), "%s: %v; name a file that upkeep's user can read", key, unread)
		} else if err != nil {
			d.faults = append(d.faults, err) // with its own file and line
		}
	}
	var names []string
	for i := range c.Notify.Places {
		p := &c.Notify.Places[i]
		names = append(names, p.Name)
		d.place(at(n, "notify", "places", i), p, file != "", key)
		d.receiver(c, at(n, "notify", "places", i), *p)
	}
	d.twice(resolve(at(n, "notify")), "places", "place to notify", names)
}

// place checks that a place has one way to be notified.
func (d *decoder) place(n *yaml.Node, p *Place, file bool, key string) {
	name := strconv.Quote(p.Name)
	if d.faultIn(resolve(n)) {
		return
	}
	switch {
	case p.Kind != "" && p.Receiver != "":
		d.fault(at(n, "kind"), "notify %s has both receiver and kind; one was expected", name)
	case p.Kind != "" && p.URLFile != "" && p.URLEnv != "":
		d.fault(at(n, "url_env"), "notify %s has both url_file and url_env; one was expected", name)
	case p.Kind != "" && p.URL() == nil:
		d.fault(n, "notify %s has neither url_file nor url_env; one was expected", name)
	case p.Kind == "" && p.URL() != nil:
		d.fault(n, "notify %s has a URL and no kind; slack or webhook was expected", name)
	case p.Kind == "" && !file:
		d.fault(n, "notify %s has no kind; slack or webhook was expected, or a file with receivers in %s", name, key)
	case p.Kind == "":
		p.Receiver = cmp.Or(p.Receiver, p.Name)
	}
}

// receiver checks that the receiver of a place is one of the file's.
func (d *decoder) receiver(c *Config, n *yaml.Node, p Place) {
	if p.Receiver == "" || c.alertmanager == nil || slices.Contains(c.alertmanager.Names(), p.Receiver) {
		return
	}
	names := c.alertmanager.Names()
	d.fault(at(n, "receiver"), "notify %s: %s has no receiver %q; %s", strconv.Quote(p.Name), c.alertmanager.Path,
		p.Receiver, expected(p.Receiver, "receivers", names))
}

// Receivers returns the names under which people can be notified: places and receivers.
func (c *Config) Receivers() (names []string) {
	for _, p := range c.Notify.Places {
		names = append(names, p.Name)
	}
	if c.alertmanager != nil {
		for _, name := range c.alertmanager.Names() {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Place returns the place or the receiver of a name.
func (c *Config) Place(name string) (Place, error) {
	for _, p := range c.Notify.Places {
		if p.Name == name {
			return p, nil
		}
	}
	if !slices.Contains(c.Receivers(), name) {
		if len(c.Receivers()) == 0 {
			return Place{}, fmt.Errorf("the configuration has no place to notify: add one to notify, or name an " +
				"Alertmanager configuration file")
		}
		return Place{}, fmt.Errorf("unknown place or receiver %q; the configuration has %s", name,
			strings.Join(c.Receivers(), ", "))
	}
	return Place{Name: name, Receiver: name}, nil
}
