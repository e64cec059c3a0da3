package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Headroom implements remediate.Roomer.
func (a reindex) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

// Plan implements remediate.Executor.
func (a reindex) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a reindex) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	wait, err := session.PatienceOf(r.Params)
	if err != nil {
		return p, err
	}
	db, rel, err := relation.Find(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	if err := a.fit(ctx, db, rel, r, &p); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, fmt.Sprintf("the index has %s; the new one is built beside it",
		session.Bytes(rel.SizeBytes)))
	facts, err := a.mayBegin(ctx, db, rel, wait)
	if err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, facts...)
	who, err := session.Holder(ctx, db)
	if err != nil {
		return p, err
	}
	if who != "" {
		p.Facts = append(p.Facts, who)
	}
	drops, known, facts, err := a.planLeftovers(ctx, db, rel, r)
	if err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, facts...)
	build := remediate.StepOf("REINDEX INDEX CONCURRENTLY "+
		pgx.Identifier{r.Subject["schema"], r.Subject["index"]}.Sanitize(),
		buildArgs{indexArgsOf(r), rel.OID, rel.Node, &wait, known})
	build.Left = fmt.Sprintf("the build may go on on the server, or an invalid index may be left whose name ends "+
		"with _ccnew or _ccold: DROP INDEX CONCURRENTLY %s", pgx.Identifier{r.Subject["schema"], r.Subject["index"] +
		"_ccnew"}.Sanitize())
	p.Steps = append(drops, build)
	return p, nil
}

// mayBegin refuses for now while there is no room, or others are in the way.
func (a reindex) mayBegin(ctx context.Context, db *target.Database, rel relation.Subject, patience time.Duration) (
	facts []string, err error) {
	build, err := building(ctx, db)
	if err != nil {
		return nil, err
	}
	if build != "" {
		return nil, &remediate.Refusal{Reason: session.ReasonHeadroom,
			Detail: "one index of a server is built at a time, and " + build + " builds one",
			Until:  time.Now().Add(session.BuiltAgain)}
	}
	need, err := readRebuild(ctx, db, rel.OID)
	if err != nil {
		return nil, err
	}
	room, err := need.fits(ctx, db)
	if err != nil {
		return nil, err
	}
	others, err := session.ReadBlockers(ctx, db, rel.Table, patience)
	if err != nil {
		return nil, err
	}
	unseen, err := others.Clear()
	if err != nil {
		return nil, err
	}
	facts = append(facts, room)
	if unseen != "" {
		facts = append(facts, unseen)
	}
	return facts, nil
}

// building names a session that builds an index, of whichever database. Another
// role sees that one runs, but not which.
func building(ctx context.Context, q session.Rower) (who string, err error) {
	err = q.QueryRow(ctx, `select 'session ' || pid || ' in database ' || datname || coalesce(' (' || phase || ')', '')
		from pg_stat_progress_create_index where pid <> pg_backend_pid() order by pid limit 1`).Scan(&who)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("whether an index is being built: %w", err)
	}
	return who, nil
}

// fit refuses what REINDEX CONCURRENTLY cannot or must not do, and notes in the plan
// which rights are missing.
func (a reindex) fit(ctx context.Context, db *target.Database, rel relation.Subject, r remediate.Request,
	p *remediate.Plan) error {
	if err := p.NoteMissing(rel.Allowed("reindex")); err != nil {
		return err
	}
	switch {
	case rel.Kind != "i":
		return remediate.Refuse(remediate.ReasonUnfit, "%s is no index with storage of its own", r.Subject["index"])
	case rel.Version >= 140000 && rel.Version < 140004:
		return remediate.Refuse(remediate.ReasonUnfit,
			"PostgreSQL 14.0 to 14.3 can corrupt an index that is built concurrently: update to 14.4 or later")
	case strings.HasPrefix(r.Subject["schema"], "pg_"):
		return remediate.Refuse(remediate.ReasonUnfit, "an index of the catalogs cannot be built concurrently")
	}
	var exclusion, drops bool
	err := db.QueryRow(ctx, `select i.indisexclusion, `+relation.MayDropSQL+`
		from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
			where c.oid = $1::int8::oid`, rel.OID).Scan(&exclusion, &drops)
	switch {
	case err != nil:
		return err
	case exclusion:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the index of an exclusion constraint cannot be built concurrently")
	case !drops:
		return p.NoteMissing(remediate.Refuse(remediate.ReasonPrivilege,
			"role %s may not drop what an interruption leaves: it must own the table or its schema", rel.Role))
	}
	return nil
}

// Apply implements remediate.Executor.
//
// lock_timeout counts for each transaction of others that a concurrent build waits
// for too, and when it runs out it leaves an invalid index. So the table's lock is
// taken for a moment beforehand, within seconds, and the build itself waits with
// patience: no session queues behind it.
func (a reindex) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	drop, err := remediate.ArgsOf[dropArgs](s)
	if err != nil {
		return err
	}
	if drop.Drop != "" {
		return a.drop(ctx, f, s, drop)
	}
	build, err := remediate.TypedOf[buildArgs](s)
	if err != nil {
		return err
	}
	return a.build(ctx, f, build)
}

// job is that of a step on an index of a table.
func (a reindex) job(s remediate.Step, at session.Place, wait time.Duration) session.Job {
	return session.Job{Target: a.target, Server: session.Planned(s), Action: "postgres/reindex", Place: at,
		LockTimeout: wait}
}

// drop drops what an earlier build has left.
func (a reindex) drop(ctx context.Context, f remediate.Fence, s remediate.Step, args dropArgs) error {
	wait, err := session.PatienceOf(nil)
	if err != nil {
		return err
	}
	j := a.job(s, args.Place, wait)
	j.Done = func(ctx context.Context, c *pgx.Conn) (bool, error) {
		all, err := leftovers(ctx, c, args.Schema, args.Index)
		return !slices.ContainsFunc(all, func(l leftover) bool { return l.Name == args.Drop && l.OID == args.DropOID }),
			err
	}
	return j.Run(ctx, f, s.Do)
}

// build builds the index anew.
func (a reindex) build(ctx context.Context, f remediate.Fence, s buildStep) error {
	wait, err := session.PatienceOf(nil)
	if s.Args.Patience != nil {
		wait = *s.Args.Patience
	}
	if err != nil {
		return err
	}
	j := a.job(s.Step, s.Args.Place, wait)
	j.Done = func(ctx context.Context, c *pgx.Conn) (bool, error) { return a.done(ctx, c, f, s, wait) }
	began := false
	j.Work = func(ctx context.Context, c *pgx.Conn) error {
		note, err := a.begin(ctx, c, s)
		if err != nil {
			return err
		}
		if err := f.Check(ctx); err != nil { // to note it took its time
			return err
		}
		began = true
		looking, enough := context.WithCancel(context.WithoutCancel(ctx))
		var looks sync.WaitGroup
		// Connected before the build begins, it sees the new index soon after it is made.
		request := session.Request{Database: note.Database, Application: "upkeep postgres/reindex looks on",
			Server: session.Planned(s.Step)}
		if onlooker, err := session.Open(ctx, a.target, request); err == nil {
			looks.Go(func() { a.watch(looking, onlooker, c.PgConn().PID(), note) })
		}
		err = j.Exec(ctx, c, s.Do)
		enough()
		looks.Wait()
		return err
	}
	err = j.Run(ctx, f, s.Do)
	if !began {
		return err
	}
	done, left := a.tidy(ctx, j, f, s)
	if done && left == nil {
		return nil // where there was an error, only its last wait was too long: for those who still used the old one
	}
	return errors.Join(err, left)
}

// done reports whether the index is built anew, and otherwise waits until it can be.
func (a reindex) done(ctx context.Context, c *pgx.Conn, f remediate.Fence, s buildStep, wait time.Duration) (bool,
	error) {
	// One that was interrupted after the new index took the name of the old
	// one is done, and has left that behind.
	done, err := rebuilt(ctx, c, s)
	if err == nil {
		err = f.Check(ctx)
	}
	if err == nil {
		err = a.sweep(ctx, c, f, s)
	}
	if err == nil && done {
		err = a.forget(ctx, c, s)
	}
	if err != nil || done {
		return done, err
	}
	return false, a.ready(ctx, c, f, s, wait)
}

// rebuildKey is the lock of the one rebuild of a database.
func rebuildKey() int64 { return session.LockKey("", "rebuild") }

// ready waits for its turn among the rebuilds, and looks once more at what the plan
// has looked at: a rebuild that must be given up has cost its whole work.
func (a reindex) ready(ctx context.Context, c *pgx.Conn, f remediate.Fence, s buildStep,
	wait time.Duration) error {
	if err := session.TakeLock(ctx, c, f, rebuildKey()); err != nil {
		return fmt.Errorf("the turn to rebuild an index: %w", err)
	}
	for begun := time.Now(); ; {
		build, err := building(ctx, c)
		if err != nil {
			return err
		}
		if build == "" {
			break
		}
		if time.Since(begun) > wait {
			return fmt.Errorf("one index of a server is built at a time, and %s builds one", build)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s builds an index: %w", build, context.Cause(ctx))
		case <-time.After(session.LockPoll):
		}
	}
	need, err := readRebuild(ctx, c, s.Args.OID)
	if err != nil {
		return err
	}
	if _, err := need.fits(ctx, c); err != nil {
		return fmt.Errorf("before the rebuild: %s",
			err) //nolint:errorlint // tried again a little later, and then failed: a step is not refused
	}
	return session.TryLock(ctx, c, s.Args.Schema, s.Args.Table, wait)
}

// tidyWithin is how long the leftovers of a build that was given up are worked on.
const tidyWithin = 10 * time.Second

// tidy drops at once what a build has left, however it ended, if that can be done in a
// moment; else the next attempt finds it, or the next plan for the index. It tells
// whether the index was built anew nevertheless.
func (a reindex) tidy(ctx context.Context, j session.Job, f remediate.Fence, s buildStep) (done bool, err error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), tidyWithin,
		errors.New("what was left could not be dropped in a moment"))
	defer cancel()
	c, err := j.Open(ctx, f, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // what it did is done
	j.LockTimeout = min(j.LockTimeout, tidyWithin/2)
	if err := j.Prepare(ctx, c, f); err != nil {
		return false, err
	}
	if done, err = rebuilt(ctx, c, s); err != nil {
		return false, err
	}
	if err := a.sweep(ctx, c, f, s); err != nil {
		return done, err
	}
	return done, a.forget(ctx, c, s)
}

// rebuilt reports whether the index has another file than before. A concurrent
// build makes another index under the old name.
func rebuilt(ctx context.Context, c *pgx.Conn, s buildStep) (bool, error) {
	var oid, node int64
	err := c.QueryRow(ctx, `select c.oid::int8, c.relfilenode::int8 from pg_class c
		join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2`, s.Args.Schema, s.Args.Index).Scan(&oid, &node)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("index %q: %w", s.Args.Index, remediate.ErrGone)
	}
	return oid != s.Args.OID || node != s.Args.Node, err
}

// Undo implements remediate.Undoer.
func (a reindex) Undo(ctx context.Context, f remediate.Fence, planned remediate.Step) (found string, err error) {
	if drop, err := remediate.ArgsOf[dropArgs](planned); err != nil || drop.Drop != "" {
		return "", err
	}
	s, err := remediate.TypedOf[buildArgs](planned)
	if err != nil {
		return "", err
	}
	j := a.job(planned, s.Args.Place, 5*time.Second)
	err = j.Hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error {
		done, err := rebuilt(ctx, c, s)
		if errors.Is(err, remediate.ErrGone) {
			return nil
		} else if err != nil {
			return err
		}
		own, _, err := a.ours(ctx, c, s)
		if err != nil {
			return err
		}
		if err := a.sweep(ctx, c, f, s); err != nil {
			return err
		}
		switch {
		case done:
			found = "the index is built anew"
		case len(own) > 0:
			found = strconv.Itoa(len(own)) + " invalid index that the build left is dropped"
		}
		return a.forget(ctx, c, s)
	})
	return found, err
}

// Identified implements remediate.Identifier.
func (a reindex) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
