package objects

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// grounds are what work with a store relies on: a table, its parts, what is above it,
// and how all of them are defined.
type grounds struct {
	reader relation.Reader
	tree   []relation.Node
	now    relation.Contract
}

// readGrounds reads them as they are now.
func readGrounds(ctx context.Context, q read.Querier, oid int64) (g grounds, err error) {
	if g.reader, err = relation.NewReader(ctx, q); err != nil {
		return g, err
	}
	if g.tree, err = relation.ReadTree(ctx, q, oid); err != nil {
		return g, err
	}
	oids := make([]int64, len(g.tree))
	for i, n := range g.tree {
		oids[i] = n.OID
	}
	g.now, err = g.reader.Read(ctx, q, oids)
	return g, err
}

// fit refuses a table, or a part of it, for which an operation does more than the
// statement says.
func (g grounds) fit(o relation.Operation) error {
	for _, n := range g.tree {
		r, ok := g.now.Relations[n.OID]
		switch {
		case n.Above:
			continue
		case !ok:
			return fmt.Errorf("%s: %w", n.Name(), remediate.ErrGone)
		case n.Pending:
			return remediate.Refuse(remediate.ReasonUnfit,
				"the detachment of %s was begun and not finished: finish it, alter table … detach partition %s "+
					"finalize", n.Name(), n.Name())
		}
		if err := r.Unfit(o); err != nil {
			return err
		}
	}
	return nil
}

// durable refuses a table, or a part of it, that a crash of the server empties: rows
// that come back there count as back.
func (g grounds) durable() error {
	for _, n := range g.tree {
		if r := g.now.Relations[n.OID]; !n.Above && n.Kind == "r" && r.Unlogged() {
			return remediate.Refuse(remediate.ReasonUnfit,
				"%s is unlogged: a crash would empty it, and its rows would count as back: alter table %[1]s set "+
					"logged", n.Name())
		}
	}
	return nil
}

// largeTime is how long a plan looks for rows that are too large for an object.
const largeTime = 10 * time.Second

// tooLarge refuses a table of which a row that would go is too large for an object,
// and reports whether there was time to look at all of them. Rows that fit into a page
// need no look.
func tooLarge(ctx context.Context, m rows.Movement, q read.Querier, tree []relation.Node, kind string) (known bool,
	err error) {
	limited, cancel := context.WithTimeout(ctx, largeTime)
	defer cancel()
	for _, n := range tree {
		if n.Kind != "r" || n.Above {
			continue
		}
		err := largest(limited, m, q, n, kind)
		if limited.Err() != nil && ctx.Err() == nil {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// asideSQL is the size of what a table keeps beside its pages: a row that is too large
// is there, at least in part.
const asideSQL = "select coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) from pg_class c where c.oid = " +
	"$1::int8::oid"

// largest looks at the rows of one table.
func largest(ctx context.Context, m rows.Movement, q read.Querier, n relation.Node, kind string) error {
	aside, err := session.One(ctx, q, pgx.RowTo[int64], asideSQL, n.OID)
	if err != nil || aside == 0 {
		return err
	}
	w, err := readWidths(ctx, q, n.OID)
	if err != nil {
		return err
	}
	if kind == "date" {
		kind = "timestamp"
	}
	sql := fmt.Sprintf("select t.ctid::text, (%s) >> 20 from only %s t where t.%s < (clock_timestamp() - "+
		"make_interval(secs => $1))::%s and (%s) > %d limit 1",
		w.text, n.Name(), pgx.Identifier{m.Column}.Sanitize(), kind, w.text, int64(rowMost))
	type row struct {
		ID   string
		Size int64
	}
	r, err := session.One(ctx, q, pgx.RowToStructByPos[row], sql, m.Age.Seconds())
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case errors.Is(tooWide(err), errWide):
		return remediate.Refuse(remediate.ReasonUnfit,
			"%s has a row past its age that is too large for an object: the server cannot write it as text; move it "+
				"by hand, or delete it", n.Name())
	case err != nil:
		return fmt.Errorf("how large the rows of %s are: %w", n.Name(), discreet(err))
	}
	return remediate.Refuse(remediate.ReasonUnfit,
		"%s has a row past its age that is too large for an object: the one with the ctid %s has %d MiB as text, and "+
			"%d can be moved; move it by hand, or delete it", n.Name(),
		r.ID, r.Size,
		rowMost>>20)
}
