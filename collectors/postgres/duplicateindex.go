package postgres

import (
	"context"
	_ "embed"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed duplicateindex.sql
var duplicateIndexSQL string

// DuplicateIndex reports the indexes that another index makes superfluous.
func DuplicateIndex(t *target.Postgres) collectors.Collector {
	c := duplicateIndex{target: t, size: gauge("index_duplicate_bytes",
		"Size of an index that another index of its table covers: identical, or redundant because its keys are a "+
			"prefix of the other's.", "database", "schema", "table", "index", "covered_by", "kind")}
	return collectors.Collector{
		Name:   "postgres/duplicateindex",
		Target: t.Name,
		Doc: `DuplicateIndex reports the indexes that another index of the same table makes superfluous.

Reads pg_index of every database and compares access method, columns and
expressions, operator classes and their parameters, collations, directions,
predicates, included columns, storage parameters and tablespaces, and of unique
indexes whether rows are checked at once. identical: all are the same. redundant: a B-tree
index whose keys are the first of another's, and which holds nothing that the other
does not. Of identical ones the one that enforces or backs something stays, or the
younger, which the planner prefers. An index that is unique, backs a constraint, names rows for replication,
belongs to a partitioned index or is of an extension is never reported. A redundant index can still be
worth its space where it is much smaller. Rights: CONNECT on each database. Cost: one
pass over the catalogs of each database; no file is looked at.`,
		Metrics: []*collectors.Metric{c.size},
		Every:   10 * time.Minute,
		Timeout: time.Minute,
		Limit:   1000,
		Collect: c.collect,
	}
}

type duplicateIndex struct {
	target *target.Postgres
	size   *collectors.Metric
}

// A DuplicateIndexRow is one index that another makes superfluous.
type DuplicateIndexRow struct {
	Schema, Table, Index string
	SizeBytes            float64
	CoveredBy            string
	Kind                 string // identical or redundant
}

// indexTraits is what makes an index what it is: one row of duplicateindex.sql.
type indexTraits struct {
	Schema, Table, Index string
	OID, Relation        int64
	SizeBytes            float64
	Method               string
	Unique, Needed       bool // Needed: for something else than queries
	OneNull              bool // a unique one takes nulls for equal
	AtOnce               bool // a unique one is checked with each row, not at the end of a statement or transaction
	Predicate            string
	Columns              []string // keys and then included columns
	Keys                 int32
	Order                []string // of each key
	Storage              string   // its tablespace and its storage parameters
}

func (c duplicateIndex) collect(ctx context.Context, w *collectors.Writer) error {
	all, err := readEach(ctx, c.target, func(q Querier) ([]DuplicateIndexRow, error) {
		return ReadDuplicateIndex(ctx, q)
	})
	kept, rest := collectors.Largest(all, w.Limit(), func(r in[DuplicateIndexRow]) float64 { return r.Row.SizeBytes })
	for _, r := range kept {
		w.Set(c.size, r.Row.SizeBytes, c.target.Name, r.Database, r.Row.Schema, r.Row.Table, r.Row.Index,
			r.Row.CoveredBy, r.Row.Kind)
	}
	w.Cut(len(rest))
	return err
}

// ReadDuplicateIndex returns the superfluous indexes of one database, each with
// one index that makes it so and that is not superfluous itself.
func ReadDuplicateIndex(ctx context.Context, q Querier) (all []DuplicateIndexRow, err error) {
	rows, err := target.Rows[indexTraits](ctx, q, duplicateIndexSQL)
	if err != nil {
		return nil, err
	}
	for len(rows) > 0 {
		n := slices.IndexFunc(rows, func(r indexTraits) bool { return r.Relation != rows[0].Relation })
		if n < 0 {
			n = len(rows)
		}
		all = append(all, superfluous(rows[:n])...)
		rows = rows[n:]
	}
	return all, nil
}

// superfluous finds them among the indexes of one table, in the order of their
// age. What was found is no reason for another: of three identical ones two go.
//
// Of two that are equally good the planner takes the younger (by number). That one
// stays, so that no plan changes, and so that the one that stays is not the one that
// no query has used.
func superfluous(table []indexTraits) (found []DuplicateIndexRow) {
	gone := make(map[int64]bool)
	for _, kind := range []struct {
		name   string
		covers func(by, it indexTraits) bool
	}{{"identical", identical}, {"redundant", redundant}} {
		for _, it := range table { // the older goes
			if gone[it.OID] || it.Needed {
				continue
			}
			by := slices.IndexFunc(table, func(by indexTraits) bool {
				return by.OID != it.OID && !gone[by.OID] &&
					kind.covers(by, it)
			})
			if by >= 0 {
				gone[it.OID] = true
				found = append(found, DuplicateIndexRow{it.Schema, it.Table, it.Index, it.SizeBytes, table[by].Index,
					kind.name})
			}
		}
	}
	// What covers an identical one may have turned out redundant itself.
	for i := range found {
		for j := 0; j < len(found); j++ {
			if found[j].Index == found[i].CoveredBy {
				found[i].CoveredBy, found[i].Kind, j = found[j].CoveredBy, "redundant", -1
			}
		}
	}
	return found
}

// identical reports whether by says everything that it says. A unique index says
// more than one that is not, and one that is checked at once more than that of a
// deferrable constraint: only it serves ON CONFLICT and lets the planner rely on it.
func identical(by, it indexTraits) bool {
	return (!it.Unique || by.Unique && by.OneNull == it.OneNull && by.AtOnce == it.AtOnce) && by.Method == it.Method &&
		by.Predicate == it.Predicate && by.Keys == it.Keys &&
		slices.Equal(by.Columns, it.Columns) && slices.Equal(by.Order, it.Order) && by.Storage == it.Storage
}

// redundant reports whether the keys of it are the first of by's, and by has its
// included columns too. Uniqueness of the first keys is nothing that by says.
func redundant(by, it indexTraits) bool {
	if it.Unique || by.Method != "btree" || it.Method != "btree" || by.Predicate != it.Predicate || by.Keys < it.Keys {
		return false
	}
	if !slices.Equal(by.Columns[:it.Keys], it.Columns[:it.Keys]) || !slices.Equal(by.Order[:it.Keys], it.Order) {
		return false
	}
	return !slices.ContainsFunc(it.Columns[it.Keys:], func(included string) bool {
		return !slices.Contains(by.Columns,
			included)
	})
}
