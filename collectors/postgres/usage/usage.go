// Package usage tells which indexes of PostgreSQL no query has used, here and on the standbys, and since when
// that is known.
package usage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// indexesSQL lists every index of a database that upkeep may come to think of, and
// whether a query has used it.
const indexesSQL = `
select n.nspname, c.relname, c.oid::int8, pg_stat_get_numscans(c.oid) > 0
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'i'
   and c.relpersistence <> 't'
   and n.nspname <> all (array['pg_catalog', 'information_schema', 'pg_toast'])`

type indexRow struct {
	Schema, Index string
	OID           int64
	Used          bool
}

// Indexes is what is known of the use of a database's indexes.
type Indexes struct {
	Begun   time.Time // when the server's own statistics began
	Since   time.Time // since when scans are known to be counted, here and on the standbys that are asked
	Why     string    // what happened then
	Counted bool      // they are counted now; else nothing is unused
	Unasked []string  // standbys whose use of indexes is not known, for people
	Asked   int       // standbys that were asked
	Standby bool      // the server is one itself: then nothing else is said
	Unused  []Unused
}

// Read finds the unused indexes of a database that q asks, and asks the
// server's standbys about it too: where one does not answer, nothing is said, and the
// error is a *StandbyError. What the server does not tell is kept in a note, from one
// look to the next: when an index was first seen, which standbys there were, and what
// took the count back.
func Read(ctx context.Context, t *target.Postgres, database string, q target.Querier, now time.Time) (u Indexes,
	err error) {
	server, err := readNode(ctx, t, q)
	if err != nil || server.evidence.Recovery {
		return Indexes{Standby: server.evidence.Recovery}, err
	}
	indexes, err := target.Rows[indexRow](ctx, q, indexesSQL)
	if err != nil {
		return u, err
	}
	rows, err := target.Rows[unusedRow](ctx, q, unusedSQL)
	if err != nil {
		return u, err
	}
	used := make(map[usedIndexRow]bool)
	asked, err := askStandbys(ctx, server, database, used)
	if err != nil {
		return u, err
	}
	book, err := look(ctx, t, database, lookAt(server, asked, indexes, used, now))
	if err != nil {
		return u, err
	}
	return book.usage(server, asked, rows, used), nil
}

// lookAt is one look as the book takes it. An index that one standby alone uses is used.
func lookAt(server usageNode, asked []usageNode, indexes []indexRow, used map[usedIndexRow]bool,
	now time.Time) usageLook {
	e := server.evidence
	l := usageLook{
		System: e.System, Timeline: e.Timeline, Database: e.Database, Now: now, Loaded: e.Loaded, Counted: e.Counts,
		Indexes: make(map[int64]bool, len(indexes)), Standbys: standbysOf(server, asked),
		Listed: server.target.StandbysListed,
	}
	if e.Now.After(l.Now) {
		l.Now = e.Now // nothing was seen earlier than either clock says
	}
	for _, n := range asked {
		l.Counted = l.Counted && n.evidence.Counts
		if n.evidence.Loaded.After(l.Loaded) {
			l.Loaded = n.evidence.Loaded
		}
	}
	for _, i := range indexes {
		l.Indexes[i.OID] = i.Used || used[usedIndexRow{i.Schema, i.Index}]
	}
	return l
}

// look writes a look into the book of a database, and returns the book.
func look(ctx context.Context, t *target.Postgres, database string, l usageLook) (book usageBook, err error) {
	err = t.Notes.Change(ctx, "indexes of "+database+" on "+t.Name, func(old []byte) ([]byte, error) {
		var worth bool
		if book, worth = parseBook(old).after(l); !worth {
			return nil, nil
		}
		return json.Marshal(book)
	})
	if err != nil {
		return book, fmt.Errorf("what was seen of indexes before: %w", err)
	}
	return book, nil
}

// usage says what is known after a look.
func (b usageBook) usage(server usageNode, asked []usageNode, rows []unusedRow, used map[usedIndexRow]bool) Indexes {
	names := make(map[string]bool)
	all := []moment{{time.UnixMilli(b.Begun), b.Why}, server.evidence.since("")}
	for _, n := range asked {
		names[n.target.Name] = true
		all = append(all, n.evidence.since(" of standby "+n.target.Name))
	}
	begun := latest(all...)
	u := Indexes{Begun: server.evidence.since("").At, Since: begun.At, Why: begun.Why, Counted: !b.Off,
		Unasked: b.unasked(names), Asked: len(asked)}
	if b.Off {
		return u
	}
	for _, r := range rows {
		seen, known := b.Indexes[r.OID]
		if seen.Used || !known || used[usedIndexRow{r.Schema, r.Index}] {
			continue
		}
		since := latest(begun, moment{time.UnixMilli(seen.Since),
			"upkeep first saw the index then, or its counter went back to 0"})
		u.Unused = append(u.Unused, Unused{r.Schema, r.Table, r.Index, r.SizeBytes, since.At, since.Why})
	}
	return u
}

// Of returns what is said of one index, nil for nothing.
func (u Indexes) Of(schema, index string) *Unused {
	i := slices.IndexFunc(u.Unused, func(r Unused) bool { return r.Schema == schema && r.Index == index })
	if i < 0 {
		return nil
	}
	return &u.Unused[i]
}
