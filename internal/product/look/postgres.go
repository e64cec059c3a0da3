package look

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/advice"
)

// From what on an object is listed, and from what on it is a warning. The warnings begin where the shipped
// rules fire.
const (
	bloatRatio  = 0.4       // a fifth to a third of a table is free where all is well
	leastBloat  = 8 << 20   // bytes; what is smaller is not worth a lock
	warnIndex   = 16 << 20  // as PostgresIndexBloat
	warnTable   = 1 << 30   // as PostgresTableBloat
	warnRatio   = 0.5       // the same
	leastIndex  = 1 << 20   // of an index that is not needed
	warnUnused  = 100 << 20 // as PostgresIndexUnused
	deadRatio   = 0.2       // as PostgresDeadRows
	deadRows    = 10_000    // the same
	changedRows = 100_000   // as PostgresStatisticsOld
	changedPart = 0.3       // the same
	leastKey    = 10_000    // rows of a table whose foreign key has no index
	warnKey     = 1_000_000 // to read so many takes a second
	nearEnd     = 0.8       // as PostgresSequenceNearEnd
	veryNearEnd = 0.95
)

// tableLabels and indexLabels name an object.
func tableLabels() []string { return []string{"database", "schema", "table"} }
func indexLabels() []string { return []string{"database", "schema", "table", "index"} }

// The labels of plans.
func ofTable() []string { return append([]string{"server"}, tableLabels()...) }
func ofIndex() []string { return append([]string{"server"}, indexLabels()...) }

// postgresObjects finds what is wrong with the objects of a server's databases.
func postgresObjects() []finder {
	return []finder{tableBloat, indexBloat, deadTables, oldStatistics, neverAnalyzed, unusedIndexes, duplicateIndexes,
		invalidIndexes, missingIndexes, scannedTables, sequences, invalidConstraints, disabledTriggers}
}

// A bloatKind is how bloat of tables or indexes is found.
type bloatKind struct {
	kind, what   string
	ratio, bytes string // metrics
	labels       []string
	measured     string // the method of what was read from the object itself
	warn         float64
	warnRatio    float64
	action       string
	of           []string
}

func tableBloat(f Facts) []Finding {
	return f.bloat(bloatKind{kind: "postgres/table_bloat", what: "table", ratio: pgTableRatio, bytes: pgTableBloat,
		labels: tableLabels(), measured: "pgstattuple_approx", warn: warnTable, warnRatio: warnRatio,
		action: "postgres/repack", of: ofTable()})
}

func indexBloat(f Facts) []Finding {
	return f.bloat(bloatKind{kind: "postgres/index_bloat", what: "index", ratio: pgIndexRatio, bytes: pgIndexBloat,
		labels: indexLabels(), measured: "pgstatindex", warn: warnIndex, warnRatio: bloatRatio,
		action: "postgres/reindex", of: ofIndex()})
}

// bloat finds what would be smaller if it were written anew. What was measured is better than the estimate.
func (f Facts) bloat(k bloatKind) (found []Finding) {
	names := append([]string{"method"}, k.labels...)
	ratios := f.Figures.by(k.ratio, names...)
	for _, bytes := range f.Figures[k.bytes] {
		ratio, known := ratios[bytes.key(names...)]
		method := bytes.Labels.Get("method")
		if method != k.measured {
			if _, measured := ratios[k.measured+"\x00"+bytes.key(k.labels...)]; measured {
				continue
			}
		}
		if !known || bytes.Value < leastBloat || ratio.Value < bloatRatio || bytes.summed(k.labels...) {
			continue
		}
		s := bytes.subject(k.labels...)
		x := Finding{Kind: k.kind, Severity: severity(remediate.Info), Harm: Space, Subject: s, Bytes: bytes.Value,
			Title: fmt.Sprintf("%s of %s %s is bloat", remediate.Quantity(k.ratio, ratio.Value), k.what, object(s)),
			Cost:  "disk, backups and cache of " + size(bytes.Value) + " that hold nothing",
			Evidence: []Evidence{ratio.evidence("method"),
				bytes.evidence("method")}, Plan: plan(k.action, s, nil, k.of...)}
		if bytes.Value > k.warn && ratio.Value > k.warnRatio {
			x.Severity = severity(remediate.Warning)
		}
		if method != k.measured {
			x.Evidence[0].Note = "estimated from the planner's statistics; the plan reads more"
		}
		found = append(found, x)
	}
	return found
}

func deadTables(f Facts) (found []Finding) {
	rows := f.Figures.by(pgDeadRows, tableLabels()...)
	for _, ratio := range f.Figures[pgDeadRatio] {
		dead := rows[ratio.key(tableLabels()...)]
		if ratio.Value <= deadRatio || dead.Value <= deadRows {
			continue
		}
		s := ratio.subject(tableLabels()...)
		found = append(found, Finding{Kind: "postgres/dead_rows", Severity: severity(remediate.Warning), Harm: Speed,
			Subject: s, Title: fmt.Sprintf("%s of the rows of table %s are dead", remediate.Quantity(pgDeadRatio,
				ratio.Value), object(s)),
			Cost:     "every scan reads them, and the table grows for new rows",
			Evidence: []Evidence{ratio.evidence(), dead.evidence()}, Plan: plan("postgres/vacuum", s, nil,
				ofTable()...)})
	}
	return found
}

func oldStatistics(f Facts) (found []Finding) {
	live := f.Figures.by(pgLiveRows, tableLabels()...)
	for _, changed := range f.Figures[pgChanged] {
		rows, known := live[changed.key(tableLabels()...)]
		if !known || changed.Value <= changedRows || changed.Value <= changedPart*rows.Value {
			continue
		}
		s := changed.subject(tableLabels()...)
		if f.never(s) {
			continue // that says it
		}
		found = append(found, Finding{Kind: "postgres/old_statistics", Severity: severity(remediate.Warning),
			Harm: Speed, Subject: s,
			Title:    fmt.Sprintf("the planner's statistics of table %s are old", object(s)),
			Cost:     "plans are made for rows that are no longer there",
			Evidence: []Evidence{changed.evidence(), rows.evidence()}, Plan: plan("postgres/analyze", s, nil,
				ofTable()...)})
	}
	return found
}

// never reports whether a table was never analyzed.
func (f Facts) never(s map[string]string) bool {
	for _, r := range f.Postgres.Never {
		if r.Database == s["database"] && r.Schema == s["schema"] && r.Table == s["table"] {
			return true
		}
	}
	return false
}

func neverAnalyzed(f Facts) (found []Finding) {
	for _, r := range f.Postgres.Never {
		s := f.table(r.Database, r.Schema, r.Table)
		found = append(found, Finding{Kind: "postgres/never_analyzed", Severity: severity(remediate.Warning),
			Harm:    Speed,
			Subject: s, Title: fmt.Sprintf("table %s was never vacuumed and never analyzed", object(s)),
			Cost: "the planner guesses how many rows it has, and nothing in it is frozen",
			Evidence: []Evidence{{What: "pg_class.reltuples", Value: "unknown", From: "pg_class", At: f.Postgres.At},
				{What: "size of the table", Value: size(r.Bytes), From: "pg_relation_size", At: f.Postgres.At}},
			Plan: plan("postgres/analyze", s, nil, ofTable()...)})
	}
	return found
}

// unusedIndexes finds indexes that no query uses. It takes a month to know that, and until then there is no
// plan. One that is a duplicate, or for the sake of which another is one, is listed there.
func unusedIndexes(f Facts) (found []Finding) {
	since := f.Figures.by(pgUnusedSince, indexLabels()...)
	unseen := f.Figures.by(pgUnmonitored, "database")
	paired := make(map[string]bool)
	for _, d := range f.Figures[pgDuplicate] {
		paired[d.key(indexLabels()...)] = true
		paired[d.key("database", "schema", "table", "covered_by")] = true
	}
	for _, bytes := range f.Figures[pgUnused] {
		key := bytes.key(indexLabels()...)
		from, known := since[key]
		if !known || bytes.Value < leastIndex || paired[key] {
			continue
		}
		s := bytes.subject(indexLabels()...)
		enough := from.moment().Add(advice.ProvenAfter)
		x := Finding{Kind: "postgres/unused_index", Severity: severity(remediate.Info), Harm: Space, Subject: s,
			Bytes: bytes.Value, Title: fmt.Sprintf("no query has used index %s since %s", object(s),
				from.moment().Format(time.DateTime)+" UTC"),
			Cost:     "disk and cache of " + size(bytes.Value) + ", and work with every write of its table",
			Evidence: []Evidence{bytes.evidence().since(from.moment())}}
		standbys, asked := unseen[s["database"]]
		switch {
		case !asked || standbys.Value > 0:
			x.Candidate = &Candidate{Since: from.moment(), Enough: enough,
				Why: "a standby may use it that is not monitored: add it as a target with replica_of"}
		case f.At.Before(enough):
			x.Candidate = &Candidate{Since: from.moment(), Enough: enough}
		default:
			x.Plan = plan("postgres/drop_index", s, map[string]string{"because": advice.BecauseUnused}, ofIndex()...)
			if bytes.Value > warnUnused {
				x.Severity = severity(remediate.Warning)
			}
		}
		found = append(found, x)
	}
	return found
}

func duplicateIndexes(f Facts) (found []Finding) {
	for _, d := range f.Figures[pgDuplicate] {
		if d.Value < leastIndex {
			continue
		}
		s := d.subject(indexLabels()...)
		by := pgx.Identifier{s["schema"], d.Labels.Get("covered_by")}.Sanitize()
		x := Finding{Kind: "postgres/duplicate_index", Severity: severity(remediate.Info), Harm: Space, Subject: s,
			Bytes: d.Value, Title: fmt.Sprintf("index %s is a duplicate of %s", object(s), by),
			Cost:     "disk and cache of " + size(d.Value) + ", and work with every write of its table",
			Evidence: []Evidence{d.evidence("covered_by", "kind")}}
		if d.Labels.Get("kind") == "identical" {
			x.Plan = plan("postgres/drop_index", s, map[string]string{"because": advice.BecauseDuplicate}, ofIndex()...)
			if d.Value > warnIndex {
				x.Severity = severity(remediate.Warning)
			}
		} else {
			x.Kind = "postgres/redundant_index"
			x.Title = fmt.Sprintf("the keys of index %s are the first of those of %s", object(s), by)
			x.ByHand = "Weigh it: a smaller index can be worth its space. upkeep plan postgres/advise_indexes lists it."
		}
		found = append(found, x)
	}
	return found
}

func invalidIndexes(f Facts) (found []Finding) {
	for _, x := range f.Figures[pgInvalid] {
		s := x.subject(indexLabels()...)
		found = append(found, Finding{Kind: "postgres/invalid_index", Severity: severity(remediate.Warning), Harm: Care,
			Subject: s, Bytes: x.Value,
			Title: fmt.Sprintf("index %s is invalid: an interrupted build has left it", object(s)),
			Cost: "no query uses it, every write maintains its " + size(x.Value) +
				", and what it should ensure it does not",
			Evidence: []Evidence{x.evidence()},
			Plan: plan("postgres/drop_index", s, map[string]string{"because": advice.BecauseInvalid},
				ofIndex()...)})
	}
	return found
}

func missingIndexes(f Facts) (found []Finding) {
	for _, r := range f.Postgres.ForeignKeys {
		if r.Rows < leastKey {
			continue
		}
		s := f.table(r.Database, r.Schema, r.Table)
		s["constraint"] = r.Constraint
		found = append(found, Finding{Kind: "postgres/foreign_key_without_index",
			Severity: worse(r.Rows, warnKey, 1e12), Harm: Speed, Subject: s,
			Title: fmt.Sprintf("no index finds the rows of foreign key %s of table %s", quoted(r.Constraint),
				object(s)),
			Cost: fmt.Sprintf("a row of %s cannot be deleted, nor its key changed, without reading %.0f rows", r.Refers,
				r.Rows),
			Evidence: []Evidence{{What: "rows of the table", Value: fmt.Sprintf("%.0f", r.Rows),
				From: "pg_constraint, pg_index, pg_class.reltuples", At: f.Postgres.At}},
			ByHand: cmp.Or(r.Do, "Make the index on each partition concurrently, and then on the table.")})
	}
	return found
}

func scannedTables(f Facts) (found []Finding) {
	for _, r := range f.Postgres.Scans {
		s := f.table(r.Database, r.Schema, r.Table)
		e := Evidence{What: "rows read by sequential scans",
			Value: fmt.Sprintf("%.0f in %.0f scans, beside %.0f scans of its indexes", r.Read, r.Sequential, r.Index),
			From:  "pg_stat_get_tuples_returned", At: f.Postgres.At}
		if r.Since != nil {
			e = e.since(*r.Since)
		} else {
			e.Note = "since the statistics of the database began; the server does not say when"
		}
		found = append(found, Finding{Kind: "postgres/sequential_scans", Severity: severity(remediate.Warning),
			Harm: Speed, Subject: s, Bytes: r.Bytes,
			Title: fmt.Sprintf("table %s is read from its beginning to its end, %.0f rows a time", object(s),
				r.Read/r.Sequential),
			Cost: fmt.Sprintf("up to %s for each of %.0f scans", size(r.Bytes), r.Sequential), Evidence: []Evidence{e},
			ByHand: "Find the statements that read it (pg_stat_statements, EXPLAIN), and make an index for what they " +
				"select by."})
	}
	return found
}

func sequences(f Facts) (found []Finding) {
	for _, x := range f.Figures[pgSequence] {
		if x.Value <= nearEnd {
			continue
		}
		s := x.subject("database", "schema", "sequence", "table", "column")
		byHand := "Let it begin again, or drop it where it is of no use: it belongs to no column."
		title := fmt.Sprintf("sequence %s is used up to %s", pgx.Identifier{s["schema"], s["sequence"]}.Sanitize(),
			remediate.Quantity(pgSequence, x.Value))
		if s["column"] != "" {
			title += fmt.Sprintf(", counting what column %s of table %s can hold", quoted(s["column"]),
				quoted(s["table"]))
			byHand = "Change the column to bigint, and the sequence with it, before the last value is used."
		}
		found = append(found, Finding{Kind: "postgres/sequence_near_end", Severity: worse(x.Value, nearEnd,
			veryNearEnd),
			Harm: Service, Subject: s, Title: title, Cost: "after its last value every insert that needs it fails",
			Evidence: []Evidence{x.evidence()},
			ByHand:   byHand})
	}
	return found
}

func invalidConstraints(f Facts) (found []Finding) {
	for _, r := range f.Postgres.Constraints {
		s := f.table(r.Database, r.Schema, r.Table)
		s["constraint"] = r.Name
		found = append(found, Finding{Kind: "postgres/invalid_constraint", Severity: severity(remediate.Info),
			Harm:    Data,
			Subject: s, Title: fmt.Sprintf("constraint %s of table %s was never validated", quoted(r.Name), object(s)),
			Cost: "rows that are older than it may violate it, and the planner does not rely on it",
			Evidence: []Evidence{{What: "pg_constraint.convalidated", Value: "false", From: "pg_constraint",
				At: f.Postgres.At}},
			ByHand: fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s;", object(s), quoted(r.Name))})
	}
	return found
}

func disabledTriggers(f Facts) (found []Finding) {
	for _, r := range f.Postgres.Triggers {
		s := f.table(r.Database, r.Schema, r.Table)
		var names []string
		for _, name := range r.Names[:min(len(r.Names), 5)] {
			names = append(names, quoted(name))
		}
		if more := len(r.Names) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		x := Finding{Kind: "postgres/disabled_trigger", Severity: severity(remediate.Warning), Harm: Data, Subject: s,
			Title: fmt.Sprintf("triggers of table %s are disabled: %s", object(s), strings.Join(names, ", ")),
			Cost:  "what they should do with each row is not done",
			Evidence: []Evidence{{What: "pg_trigger.tgenabled", Value: "D", From: "pg_trigger",
				At: f.Postgres.At}}}
		if r.Internal {
			x.Severity, x.Cost = severity(remediate.Critical), "foreign keys of the table are not enforced"
		}
		if len(r.Names) == 1 {
			x.ByHand = fmt.Sprintf("ALTER TABLE %s ENABLE TRIGGER %s;", object(s), quoted(r.Names[0]))
		} else {
			x.ByHand = "Find out why they were disabled, check the rows written since, and enable them again."
		}
		found = append(found, x)
	}
	return found
}

// table is the subject of a table.
func (f Facts) table(database, schema, table string) map[string]string {
	return map[string]string{"server": f.Server, "database": database, "schema": schema, "table": table}
}

// object names a table or an index as SQL does. Its database is in the subject.
func object(s map[string]string) string {
	name := s["table"]
	if s["index"] != "" {
		name = s["index"]
	}
	return pgx.Identifier{s["schema"], name}.Sanitize()
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// size writes bytes.
func size(v float64) string { return remediate.Quantity("_bytes", v) }
