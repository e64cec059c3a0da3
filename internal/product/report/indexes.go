package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func databaseLabels() []string { return []string{"server", "database"} }

func tableLabels() []string { return []string{"server", "database", "schema", "table"} }
func indexLabels() []string { return append(tableLabels(), "index") }

// atEnd reads a value an hour of the last day: the last one counts.
func atEnd(metric string, by []string) string {
	return "max by (" + list(by) + ") (last_over_time(" + metric + "[1d:1h]))"
}

func (b *builder) tableBloat(ctx context.Context) (Figure, error) {
	return b.bloat(ctx, Figure{Title: "Table bloat", About: "The ten tables of which a rewrite would reclaim " +
		"most, on the " +
		"last day of the period."}, "table", tableLabels())
}

func (b *builder) indexBloat(ctx context.Context) (Figure, error) {
	return b.bloat(ctx, Figure{Title: "Index bloat", About: "The ten B-tree indexes of which a rebuild would reclaim " +
		"most, on the last day of the period."}, "index", indexLabels())
}

// bloat shows the bloat of tables or of indexes, and the runs that worked on them.
func (b *builder) bloat(ctx context.Context, f Figure, kind string, by []string) (_ Figure, err error) {
	f.Columns = []Column{{kind, Words}, {"bloat", Bytes}, {"share", Ratio}, {"at the end of " + b.before.Title(),
		Bytes},
		{"change", Bytes}, {"runs of upkeep", Words}}
	if b.Prometheus == nil {
		f.Note = noPrometheus
		return f, nil
	}
	bytes := "upkeep_postgres_" + kind + "_bloat_bytes"
	has := succeeded("postgres/" + kind + "bloat")
	f.Queries = []Query{{Language: "PromQL", Text: atEnd(bytes, by), At: b.period.end}, covers(has)}
	if f.Coverage, err = b.covered(ctx, has); err != nil {
		return f, err
	}
	is, err := b.values(ctx, f.Queries[0].Text, by, b.period.end)
	if err != nil {
		return f, err
	}
	was, err := b.values(ctx, f.Queries[0].Text, by, b.period.From)
	if err != nil {
		return f, err
	}
	ratio, err := b.values(ctx, atEnd("upkeep_postgres_"+kind+"_bloat_ratio", by), by, b.period.end)
	if err != nil {
		return f, err
	}
	order := slices.SortedFunc(maps.Keys(is), func(x, y string) int {
		return cmp.Or(cmp.Compare(*is[y], *is[x]), cmp.Compare(x, y))
	})
	for _, k := range order {
		f.Rows = append(f.Rows, []Cell{{Text: nameOf(k)}, value(Bytes, is[k]), value(Ratio, ratio[k]), value(Bytes,
			was[k]),
			change(Bytes, is[k], was[k]), b.runsOn(k, by)})
	}
	f.cut(top)
	if len(f.Rows) == 0 {
		f.Note = "No bloat was measured on the last day of the period."
	}
	return f, nil
}

// runsOn is a cell with the runs of the period that acted on a subject.
func (b *builder) runsOn(key string, by []string) Cell {
	var parts []string
	for _, r := range b.outcome.Acted {
		if keyOf(r.Subject, by) == key {
			parts = append(parts, fmt.Sprintf("%d %s %s", r.ID, r.Action, r.State))
		}
	}
	if len(parts) == 0 {
		return Cell{Text: "–"}
	}
	return words(strings.Join(parts, ", "))
}

// An adviser is a kind of advice about indexes: a series for each index that is advised about.
type adviser struct {
	collector string // whose metric it is
	selector  string
	kind      string // "": the label kind
	actions   []string
}

func advisers() []adviser {
	drop := []string{"postgres/drop_index"}
	return []adviser{
		{"postgres/unusedindex", "upkeep_postgres_index_unused_bytes", "unused", drop},
		{"postgres/duplicateindex", "upkeep_postgres_index_duplicate_bytes", "", drop},
		{"postgres/invalidindex", "upkeep_postgres_index_invalid_bytes", "invalid", append(drop, "postgres/reindex")},
		{"postgres/indexbloat", "upkeep_postgres_index_bloat_bytes >= 16777216 and " +
			"upkeep_postgres_index_bloat_ratio >= 0.3",
			"bloated", []string{"postgres/reindex"}},
	}
}

// advice shows what was advised at the begin of the period and what happened to it, and what is
// new at its end.
func (b *builder) advice(ctx context.Context) (f Figure, err error) {
	f = Figure{Title: "Advice about indexes, and its result", About: "What was advised about at the end of " +
		b.before.Title() + ", what happened to it, and what is new. Sizes are in bytes of the index, or of its bloat.",
		Columns: []Column{{"index", Words}, {"advice", Words}, {"then", Bytes}, {"now", Bytes}, {"result", Words}}}
	if b.Prometheus == nil {
		f.Note = noPrometheus
		return f, nil
	}
	const collector = `upkeep_collector_success{collector=~"postgres/.*index.*"}`
	f.Queries = []Query{covers(collector)}
	if f.Coverage, err = b.covered(ctx, collector); err != nil {
		return f, err
	}
	databases, err := b.values(ctx, atEnd("upkeep_postgres_database_size_bytes", databaseLabels()), databaseLabels(),
		b.period.end)
	if err != nil {
		return f, err
	}
	for _, a := range advisers() {
		if err := b.adviceOf(ctx, &f, a, databases); err != nil {
			return f, err
		}
	}
	slices.SortStableFunc(f.Rows, func(x, y []Cell) int { return cmp.Compare(largest(y), largest(x)) })
	f.cut(2 * maxRows)
	if len(f.Rows) == 0 {
		f.Note = "Nothing was advised, at the begin of the period or at its end."
		if f.Share == nil || *f.Share == 0 {
			f.Note = "No collector of indexes has data."
		}
	}
	return f, nil
}

func largest(row []Cell) (most float64) {
	for _, c := range row {
		if c.Value != nil {
			most = max(most, *c.Value)
		}
	}
	return most
}

// adviceOf adds the rows of one adviser. databases are those of the last day.
func (b *builder) adviceOf(ctx context.Context, f *Figure, a adviser, databases map[string]*float64) error {
	by := append(indexLabels(), "kind")
	query := atEnd("("+a.selector+")", by)
	f.Queries = append(f.Queries, Query{Language: "PromQL", Text: query, At: b.period.end, About: cmp.Or(a.kind,
		"duplicate, redundant")})
	success := `max by (server) (last_over_time(upkeep_collector_success{collector="` + a.collector + `"}[1d:1h]))`
	var values, known [2]map[string]*float64
	for i, at := range []time.Time{b.period.From, b.period.end} {
		var err error
		if values[i], err = b.values(ctx, query, by, at); err != nil {
			return err
		}
		if known[i], err = b.values(ctx, success, []string{"server"}, at); err != nil {
			return err
		}
	}
	keys := maps.Clone(values[0])
	maps.Copy(keys, values[1])
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		server, _, _ := strings.Cut(k, "\x00")
		then, now := values[0][k], values[1][k]
		result := "still advised"
		switch {
		case then == nil && known[0][server+"\x00"] == nil:
			result = "advised now; of the time before there are no data"
		case then == nil:
			result = "new"
		case now == nil && known[1][server+"\x00"] == nil:
			result = "unknown: there are no data of the last day"
		case now == nil && gone(databases, k):
			result = "its database is gone: dropped or renamed"
		case now == nil:
			result = b.done(k, a.actions)
		}
		index, kind := k[:strings.LastIndexByte(k[:len(k)-1], 0)+1], a.kind
		if kind == "" {
			kind = strings.TrimSuffix(k[len(index):], "\x00")
		}
		f.Rows = append(f.Rows, []Cell{{Text: nameOf(index)}, words(kind), dash(Bytes, then), dash(Bytes, now),
			{Text: visible.Text(result)}})
	}
	return nil
}

// gone reports whether the databases of a server are known, and that of the key is not one of them.
func gone(databases map[string]*float64, key string) bool {
	server := keyOf(map[string]string{"server": part(key, 0)}, []string{"server"})
	known := false
	for k := range databases {
		known = known || strings.HasPrefix(k, server)
	}
	return known && databases[server+part(key, 1)+"\x00"] == nil
}

// dash is a cell with a value, or a dash where the subject is known to have no value.
func dash(u Unit, v *float64) Cell {
	if v == nil {
		return Cell{Text: "–"}
	}
	return value(u, v)
}

// done says who has followed an advice.
func (b *builder) done(key string, actions []string) string {
	index := key[:strings.LastIndexByte(key[:len(key)-1], 0)+1]
	i := slices.IndexFunc(b.outcome.Acted, func(r journal.ReviewedRun) bool {
		by := tableLabels()
		if r.Subject["index"] != "" {
			by = indexLabels()
		}
		return slices.Contains(actions, r.Action) && r.State == remediate.Resolved &&
			strings.HasPrefix(index, keyOf(r.Subject, by))
	})
	if i < 0 {
		return "no longer advised, by no run of upkeep"
	}
	r := b.outcome.Acted[i]
	return fmt.Sprintf("done by run %d (%s) on %s", r.ID, r.Action, r.Changed.Format(time.DateOnly))
}
