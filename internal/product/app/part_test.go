package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// where returns what each part of an upkeep works by, as a reload could change it.
func where(a *App) string {
	var collectors, actions, coming []string
	for _, s := range a.scraper.Status() {
		collectors = append(collectors, s.Collector+" "+s.Server)
	}
	for _, x := range a.engine.Actions() {
		actions = append(actions, x.Name+" "+x.Target+" "+x.At)
	}
	for _, c := range a.scheduler.Coming(3) {
		coming = append(coming, c.Schedule)
	}
	slices.Sort(collectors)
	slices.Sort(actions)
	return fmt.Sprint(collectors, actions, coming, a.engine.Policies(), a.names(),
		a.announced(remediate.NotificationActed), len(a.config.Targets.Redis))
}

// A part that cannot be prepared, or the one that cannot be changed, leaves all of them as
// they were; and what was made for the change is closed.
func TestPartsAllOrNone(t *testing.T) {
	const one = "targets: {redis: [{name: a, url: 'redis://127.0.0.1:1'}]}\n"
	const two = `targets: {redis: [{name: a, url: 'redis://127.0.0.1:2'}, {name: b, url: 'redis://127.0.0.1:1'}]}
policies: [{name: p, match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave}]
schedules: [{name: s, cron: '0 3 * * *', action: redis/bgsave, subject: {server: a}}]
notify: [{name: n, kind: webhook, url_env: X, on: [acted]}]
`
	text := one
	dir := t.TempDir()
	load := func() (*config.Config, error) {
		return config.Parse("test", fmt.Appendf(nil, "data_dir: %q\nweb: {listen: '127.0.0.1:0'}\nembedded: "+
			"{enabled: false}\n%s", dir, text), Known())
	}
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), c, Options{Version: "test", Logger: slog.New(slog.DiscardHandler), Load: load})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	before := where(a)
	text = two
	again := func() error { // without the pause between two reloads
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.again()
	}
	parts := a.parts
	fault := errors.New("it cannot")
	for name, failing := range map[string]part{
		"prepare": {prepare: func(*draft) (change, error) { return change{}, fault }},
		"try":     {prepare: func(*draft) (change, error) { return change{try: func() error { return fault }}, nil }},
	} {
		for at := range len(parts) + 1 {
			a.parts = slices.Insert(slices.Clone(parts), at, failing)
			var made pieces
			watched := part{prepare: func(d *draft) (change, error) { made = d.made; return change{}, nil }}
			a.parts = slices.Insert(a.parts, min(at, 3), watched)
			if err := again(); !errors.Is(err, fault) {
				t.Fatalf("%s of part %d fails: %v", name, at, err)
			}
			if now := where(a); now != before {
				t.Errorf("%s of part %d fails: it was\n%s\nand is\n%s", name, at, before, now)
			}
			for _, p := range made {
				if a.pieces.find(p.id) == p {
					t.Errorf("%s of part %d fails: %s of the refused configuration is in use", name, at, p.id)
				}
			}
		}
	}
	a.parts = parts
	if err := again(); err != nil {
		t.Fatal(err)
	}
	if now := where(a); now == before || !strings.Contains(now, "redis/bgsave b redis://127.0.0.1:1") ||
		!strings.Contains(now, "[s s s] [p]") {
		t.Errorf("the whole configuration is not in force: %s", now)
	}
}

// Two parts that may fail to change could leave one changed and one not.
func TestOnePartIsTried(t *testing.T) {
	changed := 0
	try := change{try: func() error { changed++; return nil }}
	if err := swap([]change{try, try}, false); err == nil || changed != 0 {
		t.Errorf("%v, and %d were changed", err, changed)
	}
}

// What a reload reads again of files is changed also where the configuration is the same.
func TestSameConfigurationIsTried(t *testing.T) {
	var did []string
	all := []change{
		{use: func() { did = append(did, "use") }},
		{try: func() error { did = append(did, "try"); return nil }, use: func() { did = append(did, "use") }},
	}
	if err := swap(all, true); err != nil || !slices.Equal(did, []string{"try"}) {
		t.Errorf("%v %v", did, err)
	}
	if err := swap(all, false); err != nil || !slices.Equal(did, []string{"try", "try", "use", "use"}) {
		t.Errorf("%v %v", did, err)
	}
}

// A part runs with the others, and all end where one of them fails.
func TestPartsRunTogether(t *testing.T) {
	c, err := config.Parse("test", fmt.Appendf(nil, "data_dir: %q\nweb: {listen: '127.0.0.1:0'}\ntargets: {host: "+
		"[{name: here}]}\nembedded: {enabled: false}\n", t.TempDir()), Known())
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), c, Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	fault := errors.New("it ended")
	a.parts = append(a.parts, part{run: func(context.Context) error { return fault }})
	if err := a.Run(t.Context()); !errors.Is(err, fault) {
		t.Errorf("Run: %v", err)
	}
}

// The reference of the configuration names where each source delivers.
func TestReferenceNamesSources(t *testing.T) {
	page := config.Reference()
	for _, s := range webhook.Sources() {
		if !strings.Contains(page, s.Path) {
			t.Errorf("docs/config.md does not name %s", s.Path)
		}
	}
}
