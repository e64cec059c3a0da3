package actions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A harness is one scenario: servers that can be made degraded, and an engine that works
// on them with the guards and policies of a configuration. Only its clock is not
// the real one: it may be set forward.
type harness struct {
	urls     map[string]string // where each target is, by its name; "main" and "cache" are there always
	database string            // of the scenario, on main
	archives []map[string]any  // of main, as the configuration has them
	dir      string            // data_dir
	role     string            // a role without rights on main

	store   *store.Store
	journal *journal.Journal
	inbox   *inbox.Inbox
	engine  *engine.Engine
	set     target.Set
	actions []remediate.Action
	guards  []remediate.Guard
	known   map[string]alerts.Rule
	floor   int64              // the last run before what was asked for last
	refused *remediate.Refusal // of what was asked for last, where that made no run

	sessions map[string]*pgx.Conn
	servers  map[string]*sandbox.Postgres
	settings map[string]map[string]string
	caches   map[string]*sandbox.Redis
	engines  map[string]*sandbox.Docker
	text     string         // of the configuration
	stop     func() error   // of the engine
	kept     [][2]string    // questions and what they were answered before
	cleanup  []func() error // in the order in which things were made

	mu sync.Mutex
	by time.Duration // the clock is ahead by so much
}

func newHarness(ctx context.Context) (*harness, error) {
	h := &harness{
		urls: make(map[string]string), sessions: make(map[string]*pgx.Conn),
		servers: make(map[string]*sandbox.Postgres), caches: make(map[string]*sandbox.Redis),
		engines: make(map[string]*sandbox.Docker), known: make(map[string]alerts.Rule),
		settings: make(map[string]map[string]string),
	}
	rules, err := alerts.Parse(alerts.Files())
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		h.known[r.Name] = r
	}
	if h.store, err = store.Open(ctx, store.Options{Memory: true}); err != nil {
		return nil, err
	}
	h.cleanup = append(h.cleanup, h.store.Close)
	// The clock jumps; a lease is not what is looked at here.
	h.journal = journal.New(journal.Config{Store: h.store, Now: h.now, Lease: 10_000 * time.Hour})
	h.inbox = inbox.New(inbox.Config{Store: h.store, Now: h.now, Wake: func() { h.engine.Wake() }})
	h.engine = engine.New(engine.Config{
		Journal: h.journal, Inbox: h.inbox, Now: h.now,
		Guards: func() []remediate.Guard { h.mu.Lock(); defer h.mu.Unlock(); return h.guards },
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.engine.Run(running) }()
	h.stop = func() error { cancel(); return <-ended }
	return h, nil
}

func (h *harness) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.by)
}

func (h *harness) skip(d time.Duration) {
	h.mu.Lock()
	h.by += d
	h.mu.Unlock()
	h.engine.Wake()
}

// configure works by a configuration whose targets are those of the harness. The
// text holds everything else of it.
func (h *harness) configure(text string) error {
	h.text = text
	var b strings.Builder
	b.WriteString(text)
	targets, err := json.Marshal(h.targets())
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "\ndata_dir: %q\ntargets: %s\nembedded: {enabled: false}\n", h.dir, targets)
	c, err := config.Parse("scenario", []byte(b.String()), app.Known())
	if err != nil {
		return fmt.Errorf("%w\n%s", err, b.String())
	}
	set, err := app.Targets(c)
	if err != nil {
		return err
	}
	windows := make(map[string]guard.Window)
	for name, w := range c.Times() {
		windows[name] = w
	}
	actions := catalog.Actions(set)
	h.mu.Lock()
	h.guards = guard.All(guard.Config{Windows: windows, Limits: guard.Limits{All: 4, PerTarget: 2}})
	h.mu.Unlock()
	old := h.set
	h.set, h.actions = set, actions
	if err := h.engine.Use(actions, c.Book(app.Known().Actions).Policies); err != nil {
		return err
	}
	old.Close()
	return nil
}

// targets are those of the configuration.
func (h *harness) targets() map[string][]map[string]any {
	all := make(map[string][]map[string]any)
	for name, u := range h.urls {
		kind, _, _ := strings.Cut(u, ":")
		one := map[string]any{"name": name, "url": u}
		if name == "main" && len(h.archives) > 0 {
			one["archives"] = h.archives
		}
		all[kind] = append(all[kind], one)
	}
	for name, d := range h.engines {
		all["docker"] = append(all["docker"], map[string]any{"name": name, "host": d.Host})
	}
	return all
}

// as is a URL with another user.
func as(raw, role string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	u.User = url.User(role)
	return u.String(), nil
}

// at is a URL with another database.
func at(raw, database string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	u.Path = "/" + database
	return u.String(), nil
}

// until waits for something that is not an error any more.
func until(is func() error) error {
	var err error
	for end := time.Now().Add(servertest.Patience); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		err = is()
		if never, ok := errors.AsType[neverError](err); ok || err == nil {
			return never.error
		}
	}
	return err
}

// run returns a run by its number, or where that is 0 the last one of what was
// asked for last.
func (h *harness) run(ctx context.Context, id int64) (run remediate.Run, err error) {
	if id != 0 {
		return h.journal.Get(ctx, id)
	}
	all, err := h.journal.Recent(ctx, 0, 1)
	if err != nil {
		return run, err
	}
	if len(all) == 0 || all[0].ID <= h.floor {
		return run, errors.New("there is no run")
	}
	return all[0], nil
}

// story is all that a run has said, for people and for tests.
func (h *harness) story(ctx context.Context, run remediate.Run) string {
	var b strings.Builder
	for _, s := range run.Plan.Steps {
		fmt.Fprintln(&b, "step:", s.Do)
	}
	for _, f := range run.Plan.Facts {
		fmt.Fprintln(&b, "fact:", f)
	}
	entries, err := h.journal.Entries(ctx, run.ID)
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	for _, e := range entries {
		fmt.Fprintf(&b, "%s → %s step %d done %v: %s %s %s\n", e.From, e.To, e.Step, e.Done, e.Note, e.Reason, e.Why)
	}
	return b.String()
}

// notifications are the sent notifications of one kind.
func (h *harness) notifications(ctx context.Context, kind remediate.NotificationKind) (all []remediate.Notification,
	err error) {
	rows, err := h.store.Query(ctx, "select notification from notifications order by id")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // read only
	for rows.Next() {
		var n remediate.Notification
		var text []byte
		if err := errors.Join(rows.Scan(&text), json.Unmarshal(text, &n)); err != nil {
			return nil, err
		}
		if n.Kind == kind {
			all = append(all, n)
		}
	}
	return all, rows.Err()
}

// remove removes a folder at the end.
func (h *harness) remove(dir string) {
	h.cleanup = append(h.cleanup, func() error { return os.RemoveAll(dir) })
}
