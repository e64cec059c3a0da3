// Package receivers reads Alertmanager's own configuration file and makes what notifies
// people by it: receivers of every kind that Alertmanager has. Its errors name file and
// line, and hold no secret.
package receivers

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
)

// Own is the name of the receiver that delivers to upkeep; a file has none of that name.
const Own = "upkeep"

// Load reads a file. Paths in it start at its folder. Every receiver and every template
// is made once, so that what could not be made is an error here and not at night.
func Load(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("alertmanager configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("alertmanager configuration: %w", err)
	}
	parse := func(text string) (*config.Config, error) { return load(text, dir) }
	c, err := parse(string(text))
	if err != nil {
		return nil, located(path, text, err, func(part string) error { _, err := parse(part); return err })
	}
	f := &File{Path: path, Config: c}
	if f.sum, err = f.fingerprint(text); err != nil {
		return nil, err
	}
	return f, nil
}

// load is what a file must pass.
func load(text, dir string) (*config.Config, error) {
	if !compat.IsValidLabelName("in.utf-8") { // the library begins with the classic parser, and its command does not
		compat.InitFromFlags(slog.New(slog.DiscardHandler), featurecontrol.NoopFlags{})
	}
	c, err := config.Load(text)
	if err != nil {
		return nil, err
	}
	absolute(reflect.ValueOf(c), dir)
	for i, t := range c.Templates {
		if !filepath.IsAbs(t) {
			c.Templates[i] = filepath.Join(dir, t)
		}
	}
	f := &File{Config: c}
	tmpl, err := f.Templates(new(url.URL))
	if err == nil {
		_, err = f.OwnTemplates(new(url.URL))
	}
	if err != nil {
		return nil, err
	}
	for _, r := range c.Receivers {
		if r.Name == Own {
			return nil, fmt.Errorf("receiver %q is the one that upkeep adds itself; give this one another name", Own)
		}
		if _, err := f.Integrations(r.Name, tmpl, slog.New(slog.DiscardHandler)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// fingerprint changes with the file and with the texts of its templates. Secrets in
// files of their own are read at each notification, and need not be in it.
func (f *File) fingerprint(text []byte) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	h.Write(text)
	for _, pattern := range f.Config.Templates {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return sum, fmt.Errorf("%s: templates %q: %w", f.Path, pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return sum, fmt.Errorf("%s: templates: %w", f.Path, err)
			}
			fmt.Fprintf(h, "\x00%s\x00%d\x00", file, len(text))
			h.Write(text)
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Same reports whether two files say the same; none says the same as none.
func (f *File) Same(other *File) bool {
	if f == nil || other == nil {
		return f == other
	}
	return f.Path == other.Path && f.sum == other.sum
}

// Names returns the names of the receivers in their order.
func (f *File) Names() (names []string) {
	for _, r := range f.Config.Receivers {
		names = append(names, r.Name)
	}
	return names
}

// Integrations makes what a receiver notifies by. Their errors hold no secret, an answer
// 429 may be tried again, and a notification that is under way when its context is
// cancelled may end.
func (f *File) Integrations(name string, t *template.Template, log *slog.Logger) ([]notify.Integration, error) {
	for _, r := range f.Config.Receivers {
		if r.Name != name {
			continue
		}
		all, err := receiver.BuildReceiverIntegrations(r, t, log)
		if err != nil {
			return nil, fmt.Errorf("receiver %q: %w", name, err)
		}
		hidden := secretsOf(reflect.ValueOf(r))
		for i := range all {
			all[i] = Careful(all[i], name, hidden.read)
		}
		return all, nil
	}
	return nil, fmt.Errorf("%s has no receiver %q; it has %s", f.Path, name, strings.Join(f.Names(), ", "))
}

// Templates returns Alertmanager's templates with those of the file over them, for alerts.
func (f *File) Templates(external *url.URL) (*template.Template, error) {
	return f.templates(external, "")
}

// OwnTemplates returns the templates for upkeep's own notifications: Alertmanager's names
// with texts that have the summary and the links in them, and those of the file over them.
func (f *File) OwnTemplates(external *url.URL) (*template.Template, error) {
	return f.templates(external, ownTemplates)
}

func (f *File) templates(external *url.URL, between string) (*template.Template, error) {
	t, err := template.FromGlobs(nil)
	if err != nil {
		return nil, err
	}
	if err := t.Parse(strings.NewReader(between)); err != nil {
		return nil, err
	}
	var faults []error
	for _, pattern := range f.Config.Templates {
		if err := t.FromGlob(pattern); err != nil {
			faults = append(faults, fmt.Errorf("templates %q: %w", pattern, err))
		}
	}
	t.ExternalURL = external
	return t, errors.Join(faults...)
}
