package rows_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// stormAge is the age from which on rows go.
const stormAge = 180 * 24 * time.Hour

// A world is one seed: a database, the storm's connection to it, and the model.
type world struct {
	t       *testing.T
	seed    int
	rng     *rand.Rand
	version int
	scene   scene
	beside  bool   // the storm runs beside the batches, and not between them
	role    string // who acts; "" for the superuser
	now     time.Time

	url, database string
	conn          *pgx.Conn
	server        *target.Postgres
	store         depot.Store
	repack        bool

	model *model
	// admitted are tables that a step has said that our constraint is left on, by their oids.
	admitted map[int64]bool
	next     int64 // id
	serial   int   // for names
	hazards  []hazard
	decks    map[string]int // how far each action is in its deck
	left     int            // statements
	still    bool           // no storm blows
	history  []string
	tally    *tally

	mu      sync.Mutex   // of what the hook reads
	running string       // the action that is at work
	checks  atomic.Int64 // how often it asked its fence
	pending []string     // kinds that committed meanwhile
	tokens  chan struct{}
	touched map[int64]int // by id: when the storm last put the row where it is
	invalid []string      // indexes
}

// A hazard is something that keeps an action from its work, and how it is undone.
type hazard struct {
	name string
	undo func(q *gust) error
}

// The names of the tables.
const (
	srcName = "public.src"
	dstName = "public.dst"
)

func newWorld(t *testing.T, s *sky, seed int) *world {
	t.Helper()
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(uint64(seed), 11)), scene: scenes()[seed%len(scenes())],
		beside: seed%3 == 2,
		now:    time.Now().UTC().Truncate(time.Second), model: newModel(), admitted: make(map[int64]bool), next: 1,
		left: 24, tally: newTally(), repack: s.repack, touched: make(map[int64]int), decks: make(map[string]int),
	}
	w.url, w.database = s.database(t, seed)
	var err error
	if w.conn, err = pgx.Connect(t.Context(), w.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.conn.Close(context.Background()) })
	if w.rng.IntN(2) == 0 {
		w.role = "mover"
	}
	if err := w.conn.QueryRow(t.Context(), "select current_setting('server_version_num')::int / 10000").
		Scan(&w.version); err != nil {
		t.Fatal(err)
	}
	w.setUp(s)
	w.note("seed %d, PostgreSQL %d, scene %q, storm beside %t, role %q", seed, w.version, w.scene.name, w.beside,
		w.role)
	return w
}

// setUp makes the tables, and the server as the actions see it.
func (w *world) setUp(s *sky) {
	entry := target.Archive{Database: w.database, Schema: "public", Table: "src", Column: "at", After: stormAge}
	switch w.scene.to {
	case "table":
		entry.To = target.Destination{Schema: "public", Table: "dst"}
	case "nothing":
		entry.Purge = true
	default:
		w.store = depot.Folder(folderOf(w.t))
		entry.To.Label = "a folder"
		if w.rng.IntN(2) == 0 {
			b := s.bucket()
			var err error
			w.store, err = depot.Bucket(depot.BucketConfig{Endpoint: b.Endpoint, Region: b.Region, Bucket: b.Bucket,
				Prefix: w.database + "/", ID: says(b.ID), Secret: says(b.Secret)})
			if err != nil {
				w.t.Fatal(err)
			}
			entry.To.Label = "a bucket"
		}
		entry.To.Store = w.store
	}
	url := w.url
	if w.role != "" {
		url = strings.Replace(url, "upkeep@", w.role+"@", 1)
	}
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url, Archives: []target.Archive{entry}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	w.server = p
	if w.repack = w.repack && w.role == "" && w.rng.IntN(4) > 0; w.repack {
		w.must("create extension pg_repack")
	}
	w.must("set timezone = 'UTC'; set storm.me = 'yes'; set jit = off")
	w.must(stormFunctions)
	if w.role != "" {
		w.must("grant create, temporary on database " + w.database +
			" to mover; grant usage on schema other to mover; grant all on audit to mover")
	}
	w.tables()
}

// stormFunctions are the triggers' functions: each leaves the storm's own sessions
// alone. The audit tells who deleted.
const stormFunctions = `
create schema other;
create table public.audit (id bigint, by text);
create table public.bystander (key int primary key, note text);
insert into public.bystander select i, 'note ' || i from generate_series(1, 50) i;
create function public.mangle() returns trigger language plpgsql as $$ begin if coalesce(current_setting('storm.me', true), '') <> 'yes' then new.body := 'mangled'; end if; return new; end $$;
create function public.vanish() returns trigger language plpgsql as $$ begin if coalesce(current_setting('storm.me', true), '') <> 'yes' and new.id % 5 = 0 then return null; end if; return new; end $$;
create function public.tell() returns trigger language plpgsql security definer as $$ begin if coalesce(current_setting('storm.me', true), '') <> 'yes' then insert into public.audit values (old.id, tg_name); end if; return old; end $$;
grant all on public.audit to public`

// stormColumns are those that each table begins with, in two orders.
const (
	stormColumns = "id bigint not null, at timestamptz not null, body text, n int, amount numeric, pad text"
	dstColumns   = "pad text, id bigint not null, amount numeric, n int, body text, at timestamptz not null"
)

// tables makes the source and the destination.
func (w *world) tables() {
	if !w.scene.parts {
		w.must("create table public.src (" + stormColumns + ", primary key (id))")
	} else {
		w.must("create table public.src (" + stormColumns + ", primary key (id, at)) partition by range (at)")
		for name, days := range map[string][2]int{"public.src_new": {100, -3000}, "public.src_mix": {200, 100},
			"public.src_old2": {400, 200}, "public.src_old1": {600, 400}} {
			w.must("create table " + name + " partition of public.src for values from (" + w.moment(days[0]) +
				") to (" + w.moment(days[1]) + ")")
		}
	}
	if w.rng.IntN(2) == 0 {
		w.must("create index on public.src (at)")
	}
	switch {
	case w.scene.to != "table":
	case w.scene.alike:
		w.must("create table public.dst (" + stormColumns + ", primary key (id, at)) partition by range (at)")
		w.must("create table public.dst_mix partition of public.dst for values from (" + w.moment(200) + ") to (" +
			w.moment(100) + ")")
	case w.scene.parts && w.rng.IntN(2) == 0:
		w.must("create table public.dst (" + dstColumns + ", primary key (id, at)) partition by hash (id)")
		w.must("create table public.dst_1 partition of public.dst for values with (modulus 2, remainder 0)")
		w.must("create table public.dst_2 partition of public.dst for values with (modulus 2, remainder 1)")
	case w.scene.parts:
		w.must("create table public.dst (" + dstColumns + ", primary key (id, at))")
	default:
		w.must("create table public.dst (" + dstColumns + ", primary key (id))")
	}
	if w.role != "" {
		w.must("do $$ declare r regclass; begin for r in select oid from pg_class where relnamespace = " +
			"'public'::regnamespace and relkind in ('r', 'p') and relname ~ '^(src|dst)' loop execute format('alter " +
			"table %s owner to mover', r); end loop; end $$")
	}
	if w.scene.parts {
		w.insert("set up", 250, 595, 405)
		w.insert("set up", 250, 395, 205)
	}
	w.insert("set up", 400, 198, 182)
	w.insert("set up", 150, 178, 105)
	w.insert("set up", 100, 90, 1)
	w.must("analyze")
}

// moment is a literal so many days ago.
func (w *world) moment(days int) string {
	return "'" + w.now.Add(-time.Duration(days)*24*time.Hour).Format("2006-01-02 15:04:05") + "+00'"
}

// must runs what cannot fail.
func (w *world) must(sql string) {
	w.t.Helper()
	if _, err := w.conn.Exec(w.t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

// A gust is one transaction of the storm. What it did to the model is done when it
// has committed.
type gust struct {
	*world
	pgx.Tx
	then []func()
	said []string
}

// later is done when the transaction has committed.
func (q *gust) later(f func()) { q.then = append(q.then, f) }

// do runs one statement.
func (q *gust) do(format string, args ...any) error {
	sql := fmt.Sprintf(format, args...)
	q.said = append(q.said, sql)
	_, err := q.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// ids runs one statement that returns ids, and perhaps a text.
func (q *gust) ids(format string, args ...any) (ids []int64, texts []string, err error) {
	sql := fmt.Sprintf(format, args...)
	rows, err := q.Query(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, nil, err
	}
	for rows.Next() {
		var id int64
		var text *string
		to := []any{&id, &text}
		if err := rows.Scan(to[:len(rows.FieldDescriptions())]...); err != nil {
			rows.Close()
			return nil, nil, err
		}
		ids = append(ids, id)
		if text == nil {
			text = new(string)
		}
		texts = append(texts, *text)
	}
	q.said = append(q.said, fmt.Sprintf("%s -- %d", sql, len(ids)))
	return ids, texts, rows.Err()
}

// own gives a new table to who acts.
func (q *gust) own(name string) error {
	if q.role == "" {
		return nil
	}
	return q.do("alter table %s owner to mover", name)
}

// hazard is undone later, when the transaction has committed.
func (q *gust) hazard(name string, undo func(*gust) error) {
	q.later(func() { q.world.hazards = append(q.world.hazards, hazard{name, undo}) })
}

// patience is how long a statement of the storm waits for a lock. Between two
// batches, no other statement can proceed meanwhile.
func (w *world) patience() string {
	if w.beside || w.running == "" {
		return "2s"
	}
	return "30ms"
}

// blow runs one transaction of the storm and reports whether it committed.
func (w *world) blow(name string, f func(q *gust) error) bool {
	ctx := context.Background()
	tx, err := w.conn.Begin(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	q := &gust{world: w, Tx: tx}
	_, err = tx.Exec(ctx, "set local lock_timeout = '"+w.patience()+"'; set local statement_timeout = '20s'",
		pgx.QueryExecModeSimpleProtocol)
	if err == nil {
		err = f(q)
	}
	if err == nil {
		err = tx.Commit(ctx)
	} else if rollback := tx.Rollback(ctx); rollback != nil {
		w.t.Fatal(rollback)
	}
	w.tell(name, q.said, err)
	if err != nil {
		return false
	}
	for _, f := range q.then {
		f()
	}
	return true
}

// tell writes down what became of a statement.
func (w *world) tell(name string, said []string, err error) {
	end := "done"
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		end = refused.Code + " " + refused.Message
	} else if err != nil {
		end = err.Error()
	}
	at := ""
	if w.running != "" {
		at = fmt.Sprintf(" [%s, check %d]", w.running, w.checks.Load())
	}
	w.note("  %s%s: %s: %s", name, at, strings.Join(said, "; "), end)
}

// heal undoes hazards, the latest first, at most n of them.
func (w *world) heal(n int) {
	for ; n > 0 && len(w.hazards) > 0; n-- {
		h := w.hazards[len(w.hazards)-1]
		w.hazards = w.hazards[:len(w.hazards)-1]
		w.blow("undo "+h.name, h.undo)
	}
}
