// Package demo shows the whole loop on private servers: it starts a PostgreSQL
// and a Redis in a temporary folder, makes them sick with real data, runs upkeep
// on them with short clocks, and tells what happens as it happens.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// Options says how the demo is run.
type Options struct {
	Out     io.Writer
	Version string
	Listen  string        // address of the console
	Once    bool          // end when every alert has been resolved
	Timeout time.Duration // of the way to there
	Log     io.Writer     // upkeep's own log; nil: into a file of the folder
	Ready   func(Servers) // called when the servers are sick and upkeep answers; may be nil
}

// ErrNotResolved says that not every alert had been resolved in time.
var ErrNotResolved = errors.New("not every alert was resolved in time")

// Run runs the demo until ctx is done or, with Once, until every alert has
// resolved. Everything that it started has ended and its folder is gone when it
// returns.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "upkeep-demo-")
	if err != nil {
		return err
	}
	// The servers run as another user when we are root, and must reach their folders.
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	line := newTimeline(o.Out)
	line.say("starting a private PostgreSQL and Redis in %s", dir)
	pg, err := sandbox.StartPostgres(ctx, sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Settings: map[string]string{"synchronous_commit": "off", "max_wal_size": "4GB", "shared_buffers": "256MB"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pg.Stop()) }()
	redis, err := sandbox.StartRedis(ctx, sandbox.RedisOptions{Dir: filepath.Join(dir, "redis"),
		Args: []string{"--save", ""}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, redis.Stop()) }()

	servers, err := sicken(ctx, line, pg.URL, redis.URL)
	if err != nil {
		return err
	}
	before, err := examine(ctx, servers)
	if err != nil {
		return err
	}
	return care(ctx, o, dir, servers, before, line)
}

// care runs upkeep on the sick servers and tells what it does.
func care(ctx context.Context, o Options, dir string, servers Servers, before findings, line *timeline) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a, err := start(ctx, o, dir, servers)
	if err != nil {
		return err
	}
	servers.Console = "http://" + a.Addr()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() { cancel(); err = errors.Join(err, <-done) }()

	line.say("upkeep runs; the console is at %s", servers.Console)
	if o.Ready != nil {
		o.Ready(servers)
	}
	limited, stop := context.WithTimeoutCause(ctx, o.Timeout, ErrNotResolved)
	defer stop()
	token, err := a.AdminToken()
	if err != nil {
		return err
	}
	line.token = token
	if err := line.follow(limited, servers.Console); err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C
		}
		return err
	}
	after, err := examine(ctx, servers)
	if err != nil {
		return err
	}
	line.summary(before, after)
	if o.Once {
		return nil
	}
	link, err := a.LoginLink()
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "See for yourself:\n  psql '%s'\n  redis-cli -u %s\n  upkeep runs --url %s --data-dir %s\n  "+
		"%s (logs a browser in, once)\n\n", servers.Postgres, servers.Redis, servers.Console, dataDir(dir), link.URL)
	line.say("all alerts are resolved. The console runs at %s until Ctrl-C", servers.Console)
	return stays(ctx, done)
}

// stays waits for Ctrl-C, or for upkeep to stop by itself. It leaves what it takes out of done.
func stays(ctx context.Context, done chan error) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		done <- nil
		return fmt.Errorf("upkeep stopped: %w", err)
	}
}

func dataDir(dir string) string { return filepath.Join(dir, "data") }

// start makes an upkeep with short clocks.
func start(ctx context.Context, o Options, dir string, servers Servers) (*app.App, error) {
	rules, err := shortRules(filepath.Join(dir, "rules"))
	if err != nil {
		return nil, err
	}
	c, err := config.Parse("demo", configuration(o.Listen, dataDir(dir), servers), app.Known())
	if err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		f, err := os.Create(filepath.Join(dir, "upkeep.log"))
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = f.Close() }) // the folder is removed
		log = f
	}
	return app.New(ctx, c, app.Options{Version: o.Version, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Rules: rules})
}

// configuration is what a user would write, with short clocks.
func configuration(listen, data string, servers Servers) []byte {
	return fmt.Appendf(nil, `data_dir: %q
web:
  listen: %q
targets:
  postgres:
    - {name: demo-postgres, url: %q}
  redis:
    - {name: demo-redis, url: %q}
collectors:
  interval: 1s
embedded:
  enabled: true
  scrape_interval: 1s
  evaluation_interval: 1s
  group_wait: 100ms
  group_interval: 1s
  resend_delay: 1s
engine:
  reconcile_interval: 2s
  resolve_after: 10s
policies:
  - {name: dead rows, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, mode: auto, cooldown: 5m}
  - {name: index bloat, match: ['alertname="PostgresIndexBloat"'], action: postgres/reindex, mode: auto, cooldown: 5m}
  - {name: old snapshot, match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave, mode: auto, cooldown: 5m}
`, data, listen, servers.Postgres, servers.Redis)
}
