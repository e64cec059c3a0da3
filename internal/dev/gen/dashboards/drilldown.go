package main

// database is the page of one database, or of several that are compared.
func database(rules map[string]rule) *board {
	b := begin(rules, "upkeep-postgres-database", "PostgreSQL database",
		"One database: transactions, cache, statements, largest tables.", servers,
		append(postgresChoices(), ownQueries())...)
	b.restarts(servers, "upkeep_postgres_start_timestamp_seconds")
	databaseWork(b)
	postgresStatements(b, databases.with(`user!~"$leave_out"`), "in the selected range", "20")
	databaseTables(b)
	return b
}

func databaseWork(b *board) {
	const transactions = "upkeep_postgres_database_"
	b.row("Work")
	b.graph(8, "Transactions", "Commits and rollbacks a second.", "ops",
		line{databases.rate(transactions + "commits_total"), "{{server}} {{database}} commits"},
		line{databases.rate(transactions + "rollbacks_total"), "{{server}} {{database}} rollbacks"})
	b.graph(8, "Rows read", "Returned by scans, and fetched by index scans, a second. Many returned for each fetched "+
		"are sequential scans.", "ops",
		line{databases.rate(transactions + "rows_returned_total"), "{{server}} {{database}} returned"},
		line{databases.rate(transactions + "rows_fetched_total"), "{{server}} {{database}} fetched"})
	b.graph(8, "Rows changed", "Inserted, updated and deleted, a second.", "ops",
		line{databases.rate(transactions + "rows_inserted_total"), "{{server}} {{database}} inserted"},
		line{databases.rate(transactions + "rows_updated_total"), "{{server}} {{database}} updated"},
		line{databases.rate(transactions + "rows_deleted_total"), "{{server}} {{database}} deleted"})
	b.graph(8, "Buffer cache hit ratio", "Share of the requested blocks that were in shared_buffers.", "percentunit",
		line{hitRatio(databases.rate(transactions+"blocks_hit_total"), databases.rate(transactions+"blocks_read_total"),
			"server, database"), "{{server}} {{database}}"}).share()
	b.graph(8, "Temporary files", "Written because work_mem was too small, bytes a second.", "Bps",
		line{databases.rate(transactions + "temporary_bytes_total"), "{{server}} {{database}}"})
	b.graph(8, "Deadlocks and conflicts", "An hour: transactions that a deadlock aborted, and statements on a standby "+
		"that replication cancelled.", "short",
		line{databases.hourly(transactions + "deadlocks_total"), "{{server}} {{database}} deadlocks"},
		line{databases.hourly(transactions + "conflicts_total"), "{{server}} {{database}} conflicts"}).
		runbook("PostgresDeadlocks")
	b.graph(8, "Size", "Everything on disk.", "bytes",
		line{databases.of(transactions + "size_bytes"), "{{server}} {{database}}"}).page("Forecast", "/")
	b.graph(8, "Growth", "Bytes a day, median of four weeks. Nothing is shown without a trend.", "bytes",
		line{databases.recorded("upkeep:capacity_growth_per_day:median28d", `resource="database"`),
			"{{server}} {{database}}"}).free().to(toResource)
	b.graph(8, "Transaction id age", "Of the oldest transaction that may still be in the database. At 2 billion the "+
		"server refuses writes.", "short",
		line{databases.of(transactions + "freeze_age_xids"), "{{server}} {{database}}"},
		line{databases.of(transactions + "multixact_age"), "{{server}} {{database}} multixacts"}).
		alert("PostgresTransactionIdsRunOut")
}

func databaseTables(b *board) {
	b.row("Tables")
	b.table(12, "Largest tables", "Heap, TOAST and indexes.",
		[]column{{"size", "bytes", top("20", "sum by (server, database, schema, table) ("+
			databases.of("upkeep_postgres_table_size_bytes")+")")}}, "server", "database", "schema",
		"table").to(toTable)
	b.table(12, "Fastest growing tables", "Bytes a day, median of four weeks, the twenty fastest.",
		[]column{{"a day", "bytes", top("20", databases.recorded("upkeep:capacity_growth_per_day:median28d",
			`resource="table"`)+" > 0")}}, "server", "database", "schema", "table").to(toTable)
	b.table(12, "Dead rows", "Number and share of the rows that no transaction needs, the twenty largest.",
		[]column{{"dead", "short", top("20", databases.of("upkeep_postgres_table_dead_rows"))},
			{"share", "percentunit", databases.of("upkeep_postgres_table_dead_ratio") + " and " +
				top("20", databases.of("upkeep_postgres_table_dead_rows"))}},
		"server", "database", "schema", "table").runbook("PostgresDeadRows").to(toTable)
	b.table(12, "Rows changed since the last ANALYZE", "Changes that the planner's statistics do not include, the "+
		"twenty largest.",
		[]column{{"rows", "short", top("20", databases.of("upkeep_postgres_table_changed_rows"))}},
		"server", "database", "schema", "table").alert("PostgresStatisticsOld").to(toTable)
	b.table(12, "Unused indexes", "No query has used them, and they serve no other purpose; the twenty largest.",
		[]column{{"size", "bytes", top("20", databases.of("upkeep_postgres_index_unused_bytes"))}},
		"server", "database", "schema", "table", "index").alert("PostgresIndexUnused").to(toIndex)
	b.table(12, "Rows past their retention", "Older than the archives in the configuration allow.",
		[]column{{"rows", "short", databases.of("upkeep_postgres_retention_rows")}},
		"server", "database", "schema", "table").alert("PostgresRowsPastRetention").to(toTable)
}

// table is the page of one table, or of several that are compared.
func table(rules map[string]rule) *board {
	b := begin(rules, "upkeep-postgres-table", "PostgreSQL table",
		"One table: size, dead rows, bloat, vacuum, statistics, indexes.", servers,
		append(postgresChoices(),
			choice("schema", "Schema", databases, "upkeep_postgres_table_live_rows", "schema"),
			choice("table", "Table", databases+`,schema=~"$schema"`, "upkeep_postgres_table_live_rows", "table"))...)
	tableSize(b)
	tableVacuum(b)
	tableIndexes(b)
	return b
}

const ofTable = "{{server}} {{database}} {{schema}}.{{table}}"

func tableSize(b *board) {
	b.row("Size")
	b.graph(8, "Size", "On disk, by part; the twenty largest.", "bytes",
		line{top("20", tables.of("upkeep_postgres_table_size_bytes")), ofTable + " {{part}}"})
	b.graph(8, "Growth", "Bytes a day, median of four weeks. Nothing is shown without a trend.", "bytes",
		line{top("20", tables.recorded("upkeep:capacity_growth_per_day:median28d", `resource="table"`)), ofTable}).
		free().to(toResource)
	b.graph(8, "Size a day", "The most of each day; kept for 400 days.", "bytes",
		line{top("20", tables.recorded("upkeep:capacity_used:day", `resource="table"`)), ofTable}).to(toResource)
	b.graph(8, "Table bloat", "Share of the heap that a rewrite would free, the twenty largest.", "percentunit",
		line{top("20", tables.of("upkeep_postgres_table_bloat_ratio")), ofTable + " {{method}}"}).share().
		alert("PostgresTableBloat")
	b.graph(8, "Table bloat in bytes", "Of the heap, and estimated of TOAST, beside the heap; the twenty largest "+
		"of each.", "bytes",
		line{top("20", tables.of("upkeep_postgres_table_bloat_bytes")), ofTable + " {{method}}"},
		line{top("20", tables.of("upkeep_postgres_table_toast_bloat_bytes")), ofTable + " TOAST"},
		line{top("20", tables.of("upkeep_postgres_table_heap_bytes")), ofTable + " heap"}).
		runbook("PostgresTableBloat")
	b.graph(8, "Rows past their retention", "Older than the archives in the configuration allow, and archived in the "+
		"same database.", "short",
		line{tables.of("upkeep_postgres_retention_rows"), ofTable},
		line{tables.of("upkeep_postgres_archived_rows"), ofTable + " archived"}).alert("PostgresRowsPastRetention")
}

func tableVacuum(b *board) {
	b.row("Vacuum and statistics")
	b.graph(8, "Dead rows", "Share of the rows that no transaction needs, the twenty largest. VACUUM removes them.",
		"percentunit", line{top("20", tables.of("upkeep_postgres_table_dead_ratio")), ofTable}).share().
		alert("PostgresDeadRows")
	b.graph(8, "Rows", "Live and dead, of the twenty largest tables.", "short",
		line{top("20", tables.of("upkeep_postgres_table_live_rows")), ofTable + " live"},
		line{top("20", tables.of("upkeep_postgres_table_dead_rows")), ofTable + " dead"}).runbook("PostgresDeadRows")
	b.graph(8, "Rows changed since the last ANALYZE", "Changes that the planner's statistics do not include.", "short",
		line{top("20", tables.of("upkeep_postgres_table_changed_rows")), ofTable}).alert("PostgresStatisticsOld")
	b.table(8, "Since the last vacuum", "By hand or by autovacuum. Never vacuumed: not shown.",
		[]column{{"age", "s", top("20", "time() - "+tables.of("upkeep_postgres_table_last_vacuum_timestamp_seconds"))}},
		"server", "database", "schema", "table").runbook("PostgresDeadRows")
	b.table(8, "Since the last ANALYZE", "By hand or by autovacuum. Never analyzed: not shown.",
		[]column{{"age", "s", top("20",
			"time() - "+tables.of("upkeep_postgres_table_last_analyze_timestamp_seconds"))}},
		"server", "database", "schema", "table").runbook("PostgresStatisticsOld")
	b.graph(8, "Transaction id age", "Since the table was last frozen, the twenty oldest. At 2 billion the server "+
		"refuses writes.", "short",
		line{top("20", tables.of("upkeep_postgres_table_freeze_age_xids")), ofTable},
		line{top("20", tables.of("upkeep_postgres_table_multixact_age")), ofTable + " multixacts"}).
		alert("PostgresTransactionIdsRunOut")
}

func tableIndexes(b *board) {
	b.row("Indexes")
	b.table(12, "Indexes", "Size when last vacuumed, analyzed or built, and what a rebuild would free; the forty "+
		"largest.",
		[]column{{"size", "bytes", top("40", tables.of("upkeep_postgres_index_size_bytes"))},
			{"bloat", "bytes", tables.of("upkeep_postgres_index_bloat_bytes", `method="estimate"`)},
			{"unused", "bytes", tables.of("upkeep_postgres_index_unused_bytes")}},
		"server", "database", "schema", "table", "index").runbook("PostgresIndexBloat").to(toIndex)
	b.table(12, "Sequences", "Share of the values that are used.",
		[]column{{"used", "percentunit", tables.of("upkeep_postgres_sequence_used_ratio")}},
		"server", "database", "schema", "table", "column", "sequence").alert("PostgresSequenceNearEnd")
}

// index is the page of one index, or of several that are compared.
func index(rules map[string]rule) *board {
	b := begin(rules, "upkeep-postgres-index", "PostgreSQL index", "One index: size, bloat, whether it is used.",
		servers,
		append(postgresChoices(),
			choice("schema", "Schema", databases, "upkeep_postgres_index_size_bytes", "schema"),
			choice("table", "Table", databases+`,schema=~"$schema"`, "upkeep_postgres_index_size_bytes", "table"),
			choice("index", "Index", tables, "upkeep_postgres_index_size_bytes", "index"))...)
	const name = "{{server}} {{database}} {{schema}}.{{index}}"
	b.row("Size and bloat")
	b.graph(12, "Size", "When last vacuumed, analyzed or built; the twenty largest.", "bytes",
		line{top("20", indexes.of("upkeep_postgres_index_size_bytes")), name})
	b.graph(12, "Index bloat", "Share that a rebuild would free, by estimate or by pgstatindex; the twenty largest.",
		"percentunit", line{top("20", indexes.of("upkeep_postgres_index_bloat_ratio")), name + " {{method}}"}).share().
		alert("PostgresIndexBloat")
	b.graph(12, "Index bloat in bytes", "What a rebuild would free; the twenty largest.", "bytes",
		line{top("20", indexes.of("upkeep_postgres_index_bloat_bytes")), name + " {{method}}"}).
		runbook("PostgresIndexBloat")
	b.table(12, "Invalid", "No query uses it, but every write maintains it.",
		[]column{{"size", "bytes", indexes.of("upkeep_postgres_index_invalid_bytes")}},
		"server", "database", "schema", "table", "index").runbook("PostgresIndexInvalid")
	b.row("Use")
	b.table(12, "Unused", "No query has used it, here and on the monitored standbys, and it serves no other purpose.",
		[]column{{"size", "bytes", indexes.of("upkeep_postgres_index_unused_bytes")},
			{"known for", "s", "time() - " + indexes.of("upkeep_postgres_index_unused_since_timestamp_seconds")}},
		"server", "database", "schema", "table", "index").alert("PostgresIndexUnused")
	b.table(12, "Covered by another", "Identical, or its keys are a prefix of the other's.",
		[]column{{"size", "bytes", indexes.of("upkeep_postgres_index_duplicate_bytes")}},
		"server", "database", "schema", "table", "index", "covered_by", "kind").alert("PostgresIndexDuplicate")
	b.table(12, "Age of the scan counts", "Since when scans are counted; a reset of the statistics begins anew.",
		[]column{{"age", "s", "time() - " + databases.of("upkeep_postgres_index_usage_since_timestamp_seconds")},
			{"unknown standbys", "short", databases.of("upkeep_postgres_index_usage_standbys_unmonitored")}},
		"server", "database").runbook("PostgresIndexUnused").to(toDatabase)
	b.table(12, "Table", "The table that the index is of, and its size.",
		[]column{{"size", "bytes", "sum by (server, database, schema, table) (" +
			tables.of("upkeep_postgres_table_size_bytes") + ")"}}, "server", "database", "schema", "table").to(toTable)
	return b
}

// statement is the page of one statement, or of several that are compared.
func statement(rules map[string]rule) *board {
	b := begin(rules, "upkeep-postgres-statement", "PostgreSQL statement",
		"One statement: its time, calls, rows and I/O.",
		servers, append(postgresChoices(),
			choice("queryid", "Statement", databases, "upkeep_postgres_statement_calls_total", "queryid"),
			ownQueries())...)
	b.restarts(servers, "upkeep_postgres_start_timestamp_seconds")
	const by = "sum by (job, server, database, user, queryid) ("
	rate := func(metric string) string { return by + statements.rate("upkeep_postgres_statement_"+metric) + ")" }
	each := func(metric string) string { return rate(metric) + " / (" + rate("calls_total") + " > 0)" }
	name := "{{query}} ({{server}} {{database}} {{user}})"
	b.row("Statement")
	postgresStatement(b)
	b.row("Over time")
	show := func(title, description, unit, expr string) {
		b.graph(8, title, description+" The ten largest.", unit, line{named(top("10", expr)), name})
	}
	show("Execution time", "Share of the time that is spent in it: 1 is one session all the time.", "percentunit",
		rate("seconds_total"))
	show("Calls", "Executions a second.", "ops", rate("calls_total"))
	show("Mean time", "Of an execution.", "s", each("seconds_total"))
	show("Rows", "Returned or changed by an execution.", "short", each("rows_total"))
	show("Blocks read", "From outside the buffer cache, by an execution.", "short", each("blocks_read_total"))
	show("I/O wait", "For blocks of tables and indexes, by an execution; 0 without track_io_timing.", "s",
		each("io_seconds_total"))
	show("Buffer cache hit ratio", "Share of its blocks that were in shared_buffers.", "percentunit",
		rate("blocks_hit_total")+" / ("+rate("blocks_hit_total")+" + "+rate("blocks_read_total")+" > 0)")
	show("Temporary blocks", "Written to temporary files by an execution: work_mem was too small.", "short",
		each("temporary_blocks_total"))
	show("Write-ahead log", "Written by an execution.", "bytes", each("wal_bytes_total"))
	return b
}

func postgresStatement(b *board) {
	const by = "sum by (job, server, database, user, queryid) ("
	grown := func(metric string) string { return by + statements.spent("upkeep_postgres_statement_"+metric) + ")" }
	before := func(metric string) string {
		return by + statements.spentBefore("upkeep_postgres_statement_"+metric) + ")"
	}
	slowest := top("20", grown("seconds_total")+" > 0")
	b.table(24, "Statement", "In the selected range, beside the range of the same length before it. Literals are "+
		"left out.",
		[]column{
			{"total time", "s", named(slowest)},
			{"before", "s", named(before("seconds_total") + " and " + slowest)},
			{"calls", "short", named(grown("calls_total") + " and " + slowest)},
			{"mean time", "s", named(slowest + " / " + grown("calls_total"))},
			{"mean time before", "s", named(before("seconds_total") + " / (" + before("calls_total") + " > 0) and " +
				slowest)},
		}, "query", "server", "database", "user", "queryid").high(10).to(toDatabase)
}
