package look

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
)

// From what on a server's load is listed. The warnings begin where the shipped rules fire.
const (
	someConnections = 0.8
	mostConnections = 0.95
	freezeLate      = 1.5           // of autovacuum_freeze_max_age: autovacuum comes at 1
	freezeDanger    = 1_000_000_000 // as PostgresTransactionIdsRunOut
	smallBuffers    = 64 << 20      // half of what PostgreSQL has by default
	fewBuffers      = 4             // times as many bytes of data
	slowMean        = 0.5           // seconds
	slowShare       = 0.25          // of the time of all statements
	slowTotal       = 60.0          // seconds; of less, a share says nothing
	slotBytes       = 1 << 30
	lagSome         = 30.0
	lagMuch         = 300.0 // as PostgresReplicaBehind
	preparedSome    = 2.0   // seconds; one is committed in a moment
	preparedOld     = 300.0
)

// postgresServer finds what is wrong with a server as a whole.
func postgresServer() []finder {
	return []finder{settings, pendingRestart, checksums, wraparound, connections, sessions, prepared, slots, standbys,
		archiver, statementsMissing, slowStatements, serverLog}
}

// A bad setting is one that hurts where it is off.
type badSetting struct {
	name     string
	severity remediate.Severity
	harm     Harm
	cost     string
}

func badSettings() []badSetting {
	return []badSetting{
		{"fsync", remediate.Critical, Data, "a crash of the machine can destroy all data"},
		{"full_page_writes", remediate.Critical, Data,
			"a page that was being written when the machine crashed cannot be restored"},
		{"autovacuum", remediate.Warning, Speed,
			"dead rows stay, statistics grow old, and transactions are not frozen"},
		{"track_counts", remediate.Warning, Speed, "autovacuum does not see which tables need it, and works on none"},
		{"track_activities", remediate.Info, Care, "what sessions do is not seen, nor which of them block others"},
	}
}

func settings(f Facts) (found []Finding) {
	off := f.Figures.by(pgSetting, "name")
	for _, b := range badSettings() {
		x, known := off[b.name]
		if !known || x.Value != 0 {
			continue
		}
		found = append(found, Finding{Kind: "postgres/setting_" + b.name, Severity: severity(b.severity), Harm: b.harm,
			Subject: f.setting(b.name), Title: b.name + " is off", Cost: b.cost,
			Evidence: []Evidence{x.evidence("name")},
			ByHand:   "ALTER SYSTEM SET " + b.name + " = on; SELECT pg_reload_conf();"})
	}
	return append(found, smallCache(f)...)
}

func (f Facts) setting(name string) map[string]string {
	return map[string]string{"server": f.Server, "setting": name}
}

// smallCache finds a buffer cache that is much too small for what there is to be kept in it.
func smallCache(f Facts) []Finding {
	buffers, known := f.Figures.by(pgSettingBytes, "name")["shared_buffers"]
	data := 0.0
	for _, x := range f.Figures[pgDatabaseSize] {
		data += x.Value
	}
	if !known || buffers.Value >= smallBuffers || data == 0 || data < fewBuffers*buffers.Value {
		return nil
	}
	e := Evidence{What: pgDatabaseSize + " of all databases", Value: size(data), From: "postgres/databasesize",
		At: f.At}
	for _, x := range f.Figures[pgDatabaseSize] {
		e.From, e.At = x.Collector, x.At
	}
	return []Finding{{Kind: "postgres/setting_shared_buffers", Severity: severity(remediate.Warning), Harm: Speed,
		Subject:  f.setting("shared_buffers"),
		Title:    fmt.Sprintf("shared_buffers is %s for databases of %s", size(buffers.Value), size(data)),
		Cost:     "most blocks are read from outside the buffer cache",
		Evidence: []Evidence{buffers.evidence("name"), e},
		ByHand:   "Set shared_buffers to a quarter of the machine's memory, and start the server again."}}
}

func pendingRestart(f Facts) (found []Finding) {
	for _, x := range f.Figures[pgPending] {
		name := x.Labels.Get("name")
		found = append(found, Finding{Kind: "postgres/pending_restart", Severity: severity(remediate.Info), Harm: Care,
			Subject: f.setting(name), Title: "setting " + name + " was changed and waits for a start of the server",
			Cost: "the server has another value than its configuration", Evidence: []Evidence{x.evidence("name")},
			ByHand: "Start the server again when that suits, or take the change back."})
	}
	return found
}

func checksums(f Facts) (found []Finding) {
	for _, x := range f.Figures[pgChecksum] {
		if x.Value == 0 {
			continue
		}
		found = append(found, Finding{Kind: "postgres/checksum_failures", Severity: severity(remediate.Critical),
			Harm: Data, Subject: x.subject("database"),
			Title: fmt.Sprintf("%.0f pages of database %s had a wrong checksum", x.Value,
				quoted(x.Labels.Get("database"))),
			Cost: "pages on the disk are corrupt", Evidence: []Evidence{x.evidence()},
			ByHand: "Secure a backup from before, check the disk and the memory, and restore what is corrupt."})
	}
	return found
}

func wraparound(f Facts) (found []Finding) {
	limits := f.Figures.by(pgSetting, "name")
	for _, kind := range []struct{ metric, setting, what string }{
		{pgFreeze, "autovacuum_freeze_max_age", "transaction"},
		{pgMultixact, "autovacuum_multixact_freeze_max_age", "multixact"},
	} {
		limit, known := limits[kind.setting]
		for _, x := range f.Figures[kind.metric] {
			if x.Value < freezeDanger && (!known || x.Value < freezeLate*limit.Value) {
				continue
			}
			s := x.subject("database")
			one := Finding{Kind: "postgres/wraparound", Severity: worse(x.Value, 0, freezeDanger), Harm: Service,
				Subject: s,
				Title: fmt.Sprintf("the oldest %s of database %s is %.0f million %ss old", kind.what,
					quoted(s["database"]), x.Value/1e6, kind.what),
				Cost:     "near 2,000 million the server takes no writes, and autovacuum has not kept it from there",
				Evidence: []Evidence{x.evidence()}}
			if kind.metric == pgFreeze { // which freezes multixacts too
				one.Plan = plan("postgres/freeze", s, nil, "server", "database")
			} else {
				one.ByHand = "Find what keeps autovacuum from it: an old transaction, a slot, or its settings."
			}
			if known {
				one.Evidence = append(one.Evidence, limit.evidence("name"))
			}
			found = append(found, one)
		}
	}
	return found
}

func connections(f Facts) []Finding {
	x, known := f.Figures.one(pgConnections)
	if !known || x.Value < someConnections {
		return nil
	}
	one := Finding{Kind: "postgres/connections", Severity: worse(x.Value, someConnections, mostConnections),
		Harm: Service,
		Title: fmt.Sprintf("%s of the connections that the server allows are taken", remediate.Quantity(x.Metric,
			x.Value)),
		Cost: "the next clients are refused", Evidence: []Evidence{x.evidence()},
		ByHand: "Find the clients that keep sessions they do not use, or put a pooler before the server."}
	if limit, known := f.Figures.one(pgLimit); known {
		one.Evidence = append(one.Evidence, limit.evidence())
	}
	return []Finding{one}
}

// A bad session is how one is in the way, and for how long it may be before it is listed.
type badSession struct {
	of, kind, title, cost string
	harm                  Harm
	least, warn           float64
}

func badSessions() []badSession {
	return []badSession{
		{postgres.OfIdle, "postgres/idle_in_transaction", "%s is idle in its transaction for %s",
			"it keeps its locks, and dead rows cannot be removed", Speed, 10, 600},
		{postgres.OfTransaction, "postgres/old_transaction", "the transaction of %s is open for %s",
			"dead rows of its database cannot be removed", Speed, 300, 3600},
		{postgres.OfBlocker, "postgres/blocking_session", "others wait for %s for %s",
			"the statements that wait do nothing, and keep their connections", Service, 5, 60},
		{postgres.OfHorizon, "postgres/old_horizon", "for the sake of %s dead rows stay, for %s",
			"tables and indexes grow", Space, 3600, 4 * 3600},
	}
}

func sessions(f Facts) (found []Finding) {
	for _, b := range badSessions() {
		for _, x := range f.Figures[pgWorst] {
			if x.Labels.Get("of") != b.of || x.Value < b.least {
				continue
			}
			s := x.subject("database", "user", "application")
			who := fmt.Sprintf("a session of %s (%s)", quoted(s["user"]), quoted(s["application"]))
			one := Finding{Kind: b.kind, Severity: worse(x.Value, b.warn, 24*3600), Harm: b.harm, Subject: s,
				Seconds: x.Value, Cost: b.cost, Evidence: []Evidence{x.evidence("of")},
				Plan: plan("postgres/terminate", s, map[string]string{"of": b.of}, "server", "database")}
			if other := s["application"]; strings.HasPrefix(other, "prepared transaction ") ||
				strings.HasPrefix(other, "replication slot ") {
				who, one.Plan = other, nil // it is no session that could be ended
				one.ByHand = "Ask who has made it, and finish it or drop it."
			}
			one.Title = fmt.Sprintf(b.title, who, remediate.Quantity(x.Metric, x.Value))
			if b.of == postgres.OfBlocker {
				one.Evidence = append(one.Evidence, f.blocked(s)...)
			}
			found = append(found, one)
		}
	}
	return found
}

// blocked says how many sessions wait for those of a user and an application.
func (f Facts) blocked(s map[string]string) (all []Evidence) {
	for _, x := range f.Figures[pgBlocked] {
		if x.Labels.Get("database") == s["database"] && x.Labels.Get("user") == s["user"] &&
			x.Labels.Get("application") == s["application"] {
			all = append(all, x.evidence("state"))
		}
	}
	return all
}

func prepared(f Facts) (found []Finding) {
	for _, r := range f.Postgres.Prepared {
		if r.Seconds < preparedSome {
			continue
		}
		found = append(found, Finding{Kind: "postgres/prepared_transaction",
			Severity: worse(r.Seconds, preparedOld, 24*3600), Harm: Service, Seconds: r.Seconds,
			Subject: map[string]string{"server": f.Server, "database": r.Database, "transaction": r.Name,
				"user": r.Owner},
			Title: fmt.Sprintf("prepared transaction %q of %s in database %s was left open", r.Name, quoted(r.Owner),
				quoted(r.Database)),
			Cost: "it keeps its locks and dead rows, over a restart too",
			Evidence: []Evidence{Evidence{What: "age of the prepared transaction",
				Value: remediate.Quantity("_seconds", r.Seconds), From: "pg_prepared_xacts",
				At: f.Postgres.At}.since(r.At)},
			ByHand: "Ask its transaction manager, then COMMIT PREPARED or ROLLBACK PREPARED it in its database."})
	}
	return found
}

func slots(f Facts) (found []Finding) {
	kept, lost := f.Figures.by(pgSlotKept, "slot"), f.Figures.by(pgSlotLost, "slot")
	for _, active := range f.Figures[pgSlotActive] {
		name := active.Labels.Get("slot")
		s := active.subject("slot", "type")
		one := Finding{Kind: "postgres/replication_slot", Harm: Service, Subject: s, Bytes: kept[name].Value,
			Evidence: []Evidence{active.evidence()}}
		if x, known := kept[name]; known {
			one.Evidence = append(one.Evidence, x.evidence())
		}
		switch {
		case lost[name].Value == 1:
			one.Severity, one.Title = severity(remediate.Critical),
				"the WAL that slot "+quoted(name)+" needs was removed"
			one.Cost, one.ByHand = "its consumer gets no further", "Rebuild its consumer."
			one.Evidence = append(one.Evidence, lost[name].evidence())
		case active.Value == 0 && kept[name].Value > 0:
			one.Severity = worse(kept[name].Value, 0, 10*slotBytes)
			one.Title = "no consumer is connected to slot " + quoted(name) + ", and WAL is kept for it"
			one.Cost = size(kept[name].Value) + " of the disk, and more with every write, until it is full"
			one.ByHand = "Connect its consumer again, or drop the slot (pg_drop_replication_slot) where it has none."
		case kept[name].Value > slotBytes:
			one.Severity, one.Title = severity(remediate.Info),
				"slot "+quoted(name)+" keeps "+size(kept[name].Value)+" of WAL"
			one.Cost, one.ByHand = "so much of the disk", "Find out why its consumer is behind."
		default:
			continue
		}
		found = append(found, one)
	}
	return found
}

func standbys(f Facts) (found []Finding) {
	lag := func(x Figure, who string, s map[string]string) {
		if x.Value < lagSome {
			return
		}
		found = append(found, Finding{Kind: "postgres/standby_lag", Severity: worse(x.Value, lagMuch, 24*3600),
			Harm: Service, Subject: s, Seconds: x.Value,
			Title:    fmt.Sprintf("%s is %s behind", who, remediate.Quantity(x.Metric, x.Value)),
			Cost:     "queries there see old rows, and a promotion loses or waits for the rest",
			Evidence: []Evidence{x.evidence()},
			ByHand:   "Look on the standby for long queries, a busy disk or a slow network."})
	}
	for _, x := range f.Figures[pgStandbyLag] {
		lag(x, "standby "+quoted(x.Labels.Get("standby"))+" at "+x.Labels.Get("address"), x.subject("standby",
			"address"))
	}
	if x, known := f.Figures.one(pgReplayLag); known {
		lag(x, "the standby", nil)
	}
	if x, known := f.Figures.one(pgStreaming); known && x.Value == 0 {
		found = append(found, Finding{Kind: "postgres/standby_disconnected", Severity: severity(remediate.Warning),
			Harm: Service, Title: "the standby receives nothing from its primary",
			Cost: "it grows older, and does not replace the primary", Evidence: []Evidence{x.evidence()},
			ByHand: "Find out whether the primary is down or the standby was cut off."})
	}
	return found
}

func archiver(f Facts) []Finding {
	x, known := f.Figures.one(pgArchive)
	if !known || x.Value == 0 {
		return nil
	}
	one := Finding{Kind: "postgres/archive_failing", Severity: severity(remediate.Critical), Harm: Data,
		Title: "the server cannot archive its WAL", Evidence: []Evidence{x.evidence()},
		Cost:   "backups cannot be restored up to now, and WAL stays until the disk is full",
		ByHand: "The server's log has the error of archive_command: mend it or its destination."}
	if n, known := f.Figures.one(pgArchived); known {
		one.Evidence = append(one.Evidence, n.evidence())
	}
	return []Finding{one}
}

func statementsMissing(f Facts) []Finding {
	if f.Postgres.Statements == nil || *f.Postgres.Statements {
		return nil
	}
	return []Finding{{Kind: "postgres/statements_missing", Severity: severity(remediate.Info), Harm: Care,
		Title: "the extension pg_stat_statements is in no database", Cost: "what each statement costs is not known",
		Evidence: []Evidence{{What: "pg_stat_statements", Value: "missing", From: "pg_extension of each database",
			At: f.Postgres.At}},
		ByHand: "Add pg_stat_statements to shared_preload_libraries, start the server again, and CREATE EXTENSION it."}}
}

// slowStatements finds those that take long, and those that take much of the time. Statements of upkeep's own
// role do not count, nor what is no query: a dump or an index takes its time.
func slowStatements(f Facts) (found []Finding) {
	names := []string{"database", "user", "queryid"}
	calls := f.Figures.by(pgCalls, names...)
	texts := f.statementTexts()
	all := 0.0
	for _, x := range f.Figures[pgTime] {
		all += x.Value
	}
	slowest := slices.Clone(f.Figures[pgTime])
	slices.SortStableFunc(slowest, func(a, b Figure) int { return cmp.Compare(b.Value, a.Value) })
	for _, x := range slowest {
		n := calls[x.key(names...)]
		s := x.subject(names...)
		text, shown := texts[s["queryid"]]
		if n.Value == 0 || s["user"] == f.Postgres.Role || s["user"] == collectors.Other || !shown && len(texts) > 0 {
			continue
		}
		mean, share := x.Value/n.Value, x.Value/max(all, 1)
		if mean < slowMean && !(share >= slowShare && x.Value >= slowTotal) {
			continue
		}
		one := Finding{Kind: "postgres/slow_statement", Severity: worse(mean, 4*slowMean, 1e9), Harm: Speed, Subject: s,
			Seconds: x.Value, Title: fmt.Sprintf("a statement of %s takes %s a time", quoted(s["user"]),
				remediate.Quantity("_seconds", mean)),
			Cost: fmt.Sprintf("%s in %.0f calls, %.0f %% of the time of all",
				remediate.Quantity("_seconds", x.Value), n.Value, 100*share),
			Evidence: []Evidence{x.evidence(), n.evidence()},
			ByHand:   explainIt}
		if mean < slowMean {
			one.Title = fmt.Sprintf("a statement of %s takes %.0f %% of the time of all statements", quoted(s["user"]),
				100*share)
		}
		if age, known := f.Figures.one(pgStatementsAge); known {
			from := age.At.Add(-time.Duration(age.Value * float64(time.Second)))
			one.Evidence[0] = one.Evidence[0].since(from)
		}
		if text != "" {
			one.Evidence = append(one.Evidence, statementEvidence(text, x.Collector, x.At))
		}
		found = append(found, one)
	}
	return found
}

// explainIt is what a person does: a plan that upkeep asked for would run, with its rights, the immutable functions
// that somebody has put into a statement.
const explainIt = "Read its plan as a user with no other rights than its own: EXPLAIN (GENERIC_PLAN) from " +
	"PostgreSQL 16 on, EXPLAIN (ANALYZE, BUFFERS) with real values where it does no harm."

// statementTexts are the texts of statements that are known, by queryid.
func (f Facts) statementTexts() map[string]string {
	texts := make(map[string]string)
	for _, x := range f.Figures[pgText] {
		texts[x.Labels.Get("queryid")] = x.Labels.Get("query")
	}
	return texts
}

func statementEvidence(text, from string, at time.Time) Evidence {
	return Evidence{What: "statement", Value: text, From: from, At: at, Note: "without literals"}
}
