package report

import (
	"cmp"
	"context"
	"maps"
	"slices"
)

// backups shows the state of the backups at the end of the period.
func (b *builder) backups(ctx context.Context) (f Figure, err error) {
	f = Figure{Title: "Newest backups", About: "On the last day of the period. A backup is proven when it was " +
		"restored.",
		Columns: []Column{{"backup", Words}, {"newest", Date}, {"age", Seconds}, {"oldest age in the period", Seconds},
			{"looks valid", Words}, {"restored and found good", Date}, {"number", Number}, {"data", Ratio}}}
	if b.Prometheus == nil {
		f.Note = noPrometheus
		return f, nil
	}
	by := []string{"server", "stanza"}
	exprs := []string{
		atEnd("upkeep_backups", by), atEnd("upkeep_backup_last_timestamp_seconds", by),
		over("max by (server, stanza) (max_over_time((time() - upkeep_backup_last_timestamp_seconds)[$range:1h]))",
			b.period),
		atEnd("upkeep_backup_last_ok", by), atEnd("upkeep_backup_verified_timestamp_seconds", by),
	}
	values := make([]map[string]*float64, len(exprs))
	for i, expr := range exprs {
		f.Queries = append(f.Queries, Query{Language: "PromQL", Text: expr, At: b.period.end})
		if values[i], err = b.values(ctx, expr, by, b.period.end); err != nil {
			return f, err
		}
	}
	f.Queries = append(f.Queries, covers("upkeep_backups"))
	if f.Coverage, err = b.covered(ctx, "upkeep_backups"); err != nil {
		return f, err
	}
	has, err := b.daily(ctx, b.period, hours("count by ("+list(by)+") (upkeep_backups)"), by)
	if err != nil {
		return f, err
	}
	for _, k := range slices.Sorted(maps.Keys(values[0])) {
		newest, age := Cell{Text: "no backup exists"}, Cell{Text: "–"}
		if at := values[1][k]; at != nil {
			newest, age = value(Date, at), value(Seconds, new(float64(b.period.end.Unix())-*at))
		}
		proven := Cell{Text: "never"}
		if values[4][k] != nil {
			proven = value(Date, values[4][k])
		}
		f.Rows = append(f.Rows, []Cell{{Text: nameOf(k)}, newest, age, dash(Seconds, values[2][k]),
			yes(values[3][k]), proven,
			value(Number, values[0][k]), share(b.period.shareOf(has[k]))})
	}
	if len(f.Rows) == 0 {
		f.Note = "No backup has data on the last day of the period: targets.backup names the backups to look at."
	}
	return f, nil
}

func yes(v *float64) Cell {
	switch {
	case v == nil:
		return Cell{Text: unknown}
	case *v == 1:
		return Cell{Text: "yes", Value: v}
	}
	return Cell{Text: "no", Value: v}
}

func (b *builder) updates(ctx context.Context) (Figure, error) {
	return b.pending(ctx, Figure{Title: "Pending updates", About: "Packages of which the package lists know a newer " +
		"version."}, "upkeep_host_updates_pending", []string{"server", "kind"},
		"No machine has data of its packages: targets.host names the machines.")
}

func (b *builder) vulnerabilities(ctx context.Context) (Figure, error) {
	return b.pending(ctx, Figure{Title: "Vulnerable packages", About: "Known vulnerabilities of the packages of " +
		"services, by their level, as the newest report says."}, "upkeep_packages_vulnerabilities",
		[]string{"server", "level"}, "No report of packages has data: targets.packages names the reports.")
}

// pending shows a count at the end of the period and of the one before.
func (b *builder) pending(ctx context.Context, f Figure, metric string, by []string, absent string) (_ Figure,
	err error) {
	f.Columns = []Column{{"on", Words}, {by[1], Words}, {"at the end", Number}, {"at the end of " + b.before.Title(),
		Number}, {"change", Number}, {"most in the period", Number}, {"data", Ratio}}
	if b.Prometheus == nil {
		f.Note = noPrometheus
		return f, nil
	}
	most := over("max by ("+list(by)+") (max_over_time("+metric+"[$range:1h]))", b.period)
	f.Queries = []Query{{Language: "PromQL", Text: atEnd(metric, by), At: b.period.end},
		{Language: "PromQL", Text: most, At: b.period.end, About: "most"}, covers(metric)}
	if f.Coverage, err = b.covered(ctx, metric); err != nil {
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
	worst, err := b.values(ctx, most, by, b.period.end)
	if err != nil {
		return f, err
	}
	has, err := b.daily(ctx, b.period, hours("count by ("+list(by)+") ("+metric+")"), by)
	if err != nil {
		return f, err
	}
	order := slices.SortedFunc(maps.Keys(worst), func(x, y string) int {
		return cmp.Or(cmp.Compare(*worst[y], *worst[x]), cmp.Compare(x, y))
	})
	for _, k := range order {
		f.Rows = append(f.Rows, []Cell{{Text: nameOf(part(k, 0))}, {Text: nameOf(part(k, 1))}, value(Number, is[k]),
			value(Number, was[k]), change(Number, is[k], was[k]), value(Number, worst[k]),
			share(b.period.shareOf(has[k]))})
	}
	f.cut(maxRows)
	if len(f.Rows) == 0 {
		f.Note = absent
	}
	return f, nil
}
