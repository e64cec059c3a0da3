package rows

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A watch compares the tables of a step with what its plan relied on.
//
// It asks in a session of its own, whose snapshot is of the moment: a batch in
// REPEATABLE READ sees the catalog as it was, while its statements work by the
// catalog as it is. What the batch has used is locked until its commit, so that the
// answer holds.
type watch struct {
	c       *pgx.Conn
	reader  relation.Reader
	plan    relation.Contract
	durable bool // rows that are moved are safe in a crash, and must stay so
}

// The limits of the session that a watch asks in. Nothing it asks waits for a table;
// while rows are held, an answer from the catalogs must not take longer either.
const watchLimits = "set row_security = off; set jit = off; set plan_cache_mode = force_generic_plan; set " +
	"default_transaction_isolation = 'read committed'; set statement_timeout = '10s'; set lock_timeout = '1s'"

// watching opens the session of a watch and compares everything that the plan
// relied on.
func watching(ctx context.Context, t *target.Postgres, application string, s Step) (w *watch, err error) {
	plan, err := relation.Parse(s.Args.Contract)
	if err != nil {
		return nil, remediate.Refuse(remediate.ReasonChanged,
			"the plan does not say what its tables were like, so that they cannot be compared: plan again")
	}
	w = &watch{plan: plan}
	if w.c, err = session.Open(ctx, t, session.Request{Database: s.Args.Database, Application: application,
		Server: session.Planned(s.Step)}); err != nil {
		return nil, err
	}
	if err = w.begin(ctx); err != nil {
		w.close(ctx)
		return nil, err
	}
	return w, nil
}

func (w *watch) close(ctx context.Context) {
	_ = w.c.Close(context.WithoutCancel(ctx)) // it has only read
}

func (w *watch) begin(ctx context.Context) (err error) {
	if _, err := w.c.Exec(ctx, watchLimits, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	// Servers before 14 do not know it.
	if _, err := w.c.Exec(ctx, "select set_config(name, '0', false) from pg_settings where name = "+
		"'idle_session_timeout'",
		pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if w.reader, err = relation.NewReader(ctx, w.c); err != nil {
		return err
	}
	now, err := w.reader.Read(ctx, w.c, w.plan.OIDs())
	if err != nil {
		return err
	}
	if err := w.plan.Check(now); err != nil {
		return err
	}
	w.plan = now // the same, and with the names of things
	return nil
}

// check compares some relations with what the plan relied on. One that the plan did
// not know is a partition that rows were put into and that was attached since: it
// must be fit for them.
func (w *watch) check(ctx context.Context, oids ...int64) error {
	now, err := w.reader.Read(ctx, w.c, oids)
	if err != nil {
		return err
	}
	if err := w.plan.Only(oids...).Check(now); err != nil {
		return err
	}
	for oid, r := range now.Relations {
		if _, known := w.plan.Relations[oid]; known {
			continue
		}
		if refusal, ok := remediate.Refused(fitInto(r, w.durable)); ok {
			return remediate.Refuse(remediate.ReasonChanged,
				"%s was attached since the plan was made, and %s: nothing more was done; look at it, and plan again",
				r.Name, refusal.Detail)
		}
	}
	return nil
}

// knows reports whether the plan relied on a relation.
func (w *watch) knows(oid int64) bool {
	_, ok := w.plan.Relations[oid]
	return ok
}

// fitInto refuses a relation that rows cannot be put into without harm.
func fitInto(r relation.Relation, durable bool) error {
	if err := r.Unfit(relation.Insert); err != nil {
		return err
	}
	if durable && r.Unlogged() {
		return remediate.Refuse(remediate.ReasonUnfit,
			"%s is unlogged: a crash of the server would empty it: alter table %s set logged", r.Name, r.Name)
	}
	return nil
}

// A sideState is the state of one side of a movement with all of its parts, and what is relied on of
// them.
type sideState struct {
	Tree     []relation.Node
	Contract relation.Contract
}

// sideOf reads one side of a movement.
func sideOf(ctx context.Context, q read.Querier, reader relation.Reader, oid int64) (s sideState, err error) {
	if s.Tree, err = relation.ReadTree(ctx, q, oid); err != nil {
		return s, err
	}
	oids := make([]int64, len(s.Tree))
	for i, n := range s.Tree {
		oids[i] = n.OID
	}
	s.Contract, err = reader.Read(ctx, q, oids)
	return s, err
}

// each calls a function for the relation itself and each of its parts, in the order
// of their names.
func (s sideState) each(f func(n relation.Node, r relation.Relation) error) error {
	for _, n := range s.Tree {
		if r, ok := s.Contract.Relations[n.OID]; ok && !n.Above {
			if err := f(n, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// gives refuses a side that rows cannot be deleted from without harm, and reports
// whether a crash leaves its rows.
func (s sideState) gives() (durable bool, err error) {
	return durable, s.each(func(_ relation.Node, r relation.Relation) error {
		durable = durable || r.Kind() == "r" && !r.Unlogged()
		return r.Unfit(relation.Delete)
	})
}

// takes refuses a side that rows cannot be put into without harm.
func (s sideState) takes(durable bool) error {
	return s.each(func(_ relation.Node, r relation.Relation) error { return fitInto(r, durable) })
}

// below lists the relation itself and its parts.
func (s sideState) below() (oids []int64) {
	for _, n := range s.Tree {
		if !n.Above {
			oids = append(oids, n.OID)
		}
	}
	return oids
}

// Leaves are the parts with rows of their own.
func (s sideState) Leaves() (all []relation.Node) {
	for _, n := range s.Tree {
		if n.Kind == "r" && !n.Above {
			all = append(all, n)
		}
	}
	return all
}

// published names the publications by which subscribers lose what is deleted.
func (s sideState) published() string {
	var all []string
	_ = s.each(func(_ relation.Node, r relation.Relation) error {
		all = append(all, r.Publishes(relation.Delete)...)
		return nil
	})
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// subscribed reports whether a logical subscription fills a part of it.
func (s sideState) subscribed() (is bool) {
	_ = s.each(func(_ relation.Node, r relation.Relation) error {
		is = is || r.Subscribed()
		return nil
	})
	return is
}
