package main

// postgres is the page of all PostgreSQL servers, one beside the other.
func postgres(rules map[string]rule) *board {
	b := begin(rules, "upkeep-postgres", "PostgreSQL", "All PostgreSQL servers: health, load, space, statements.",
		servers,
		append(postgresChoices(), ownQueries())...)
	b.restarts(servers, "upkeep_postgres_start_timestamp_seconds")
	postgresNow(b)
	postgresLoad(b)
	postgresStatements(b, databases.with(`user!~"$leave_out"`), "in the selected range", "20")
	postgresWorst(b)
	return b
}

func postgresNow(b *board) {
	b.row("Now")
	b.stat("Servers", "PostgreSQL servers that upkeep knows.", "short", "0",
		zero("count("+servers.of("upkeep_postgres_up")+")"))
	b.stat("Down", "Servers that do not answer.", "short", "0",
		zero("count("+servers.of("upkeep_postgres_up")+" == 0)")).any("PostgresDown")
	b.stat("Connections", "Used share of max_connections, of the server with the largest.", "percentunit", "not known",
		"max("+servers.of("upkeep_postgres_connections_used_ratio")+")").alert("PostgresConnectionsNearLimit")
	b.stat("Transaction id age", "Of the oldest database. At 2 billion the server refuses writes.", "short",
		"not known", "max("+databases.of("upkeep_postgres_database_freeze_age_xids")+")").
		alert("PostgresTransactionIdsRunOut")
	b.stat("Blocked sessions", "Sessions that wait for a lock of another session.", "short", "0",
		zero("sum("+servers.of("upkeep_postgres_blocked_sessions")+")")).from(1, "orange").
		runbook("PostgresSessionsBlocked")
	b.stat("Replication lag", "Of the standby that is furthest behind, by the primary's clock.", "s", "no standbys",
		"max("+servers.of("upkeep_postgres_standby_lag_seconds")+")").alert("PostgresReplicaBehind")
	b.table(24, "Servers", "One row for each server. Cache hit ratio and transactions are of the selected range.",
		[]column{
			{"up", "short", servers.of("upkeep_postgres_up")},
			{"uptime", "s", "time() - " + servers.of("upkeep_postgres_start_timestamp_seconds")},
			{"connections", "percentunit", servers.of("upkeep_postgres_connections_used_ratio")},
			{"oldest transaction", "s", servers.of("upkeep_postgres_oldest_transaction_seconds")},
			{"size", "bytes", "sum by (server) (" + servers.of("upkeep_postgres_database_size_bytes") + ")"},
			{"WAL", "bytes", servers.of("upkeep_postgres_wal_size_bytes")},
			{"transactions a second", "ops", "sum by (server) (" +
				servers.grown("upkeep_postgres_database_commits_total") + ") / $__range_s"},
			{"cache hit ratio", "percentunit", hitRatio(servers.grown("upkeep_postgres_database_blocks_hit_total"),
				servers.grown("upkeep_postgres_database_blocks_read_total"), "server")},
		}, "server").words("up", "down").runbook("PostgresDown").to(toServer).high(6)
}

// hitRatio is the share of hits of hits and misses.
func hitRatio(hits, misses, by string) string {
	hits, misses = "sum by ("+by+") ("+hits+")", "sum by ("+by+") ("+misses+")"
	return hits + " / (" + hits + " + " + misses + " > 0)"
}

func postgresLoad(b *board) {
	b.row("Load")
	b.graph(8, "Transactions", "Commits and rollbacks a second.", "ops",
		line{"sum by (server) (" + databases.rate("upkeep_postgres_database_commits_total") + ")",
			"{{server}} commits"},
		line{"sum by (server) (" + databases.rate("upkeep_postgres_database_rollbacks_total") + ")",
			"{{server}} rollbacks"}).to(toServer)
	b.graph(8, "Buffer cache hit ratio", "Share of the requested blocks that were in shared_buffers.", "percentunit",
		line{hitRatio(databases.rate("upkeep_postgres_database_blocks_hit_total"),
			databases.rate("upkeep_postgres_database_blocks_read_total"), "server"), "{{server}}"}).share().to(toServer)
	b.graph(8, "Active sessions", "Client sessions that execute a statement.", "short",
		line{servers.of("upkeep_postgres_connections", `state="active"`), "{{server}}"}).to(toServer)
	b.graph(8, "Connections", "Used share of max_connections.", "percentunit",
		line{servers.of("upkeep_postgres_connections_used_ratio"), "{{server}}"}).share().
		alert("PostgresConnectionsNearLimit").to(toServer)
	b.graph(8, "Oldest transaction", "While it is open, vacuum cannot remove rows that it may still see.", "s",
		line{servers.of("upkeep_postgres_oldest_transaction_seconds"), "{{server}}"}).alert("PostgresTransactionOld").
		to(toServer)
	b.graph(8, "Write-ahead log", "Written a second.", "Bps",
		line{servers.rate("upkeep_postgres_wal_written_bytes_total"), "{{server}}"}).to(toServer)
	b.graph(8, "Replication lag", "Of each standby, by the primary's clock.", "s",
		line{servers.of("upkeep_postgres_standby_lag_seconds"), "{{server}} {{standby}}"}).
		alert("PostgresReplicaBehind").to(toServer)
	b.graph(8, "Retained by slots", "Write-ahead log that is kept for a slot.", "bytes",
		line{servers.of("upkeep_postgres_slot_kept_bytes"), "{{server}} {{slot}}"}).alert("PostgresSlotKeepsLog").
		to(toServer)
	b.graph(8, "Size of databases", "Everything on disk, the ten largest.", "bytes",
		line{top("10", databases.of("upkeep_postgres_database_size_bytes")), "{{server}} {{database}}"}).to(toDatabase)
}

// postgresStatements lists what statements cost, by their text.
func postgresStatements(b *board, chosen, when, n string) {
	s := scope(chosen)
	cost := func(metric string) string {
		return "sum by (job, server, database, user, queryid) (" + s.spent(metric) + ")"
	}
	seconds, calls := cost("upkeep_postgres_statement_seconds_total"), cost("upkeep_postgres_statement_calls_total")
	costliest := top(n, seconds+" > 0")
	b.row("Statements")
	b.table(24, "Statements that took the most time",
		"Total execution time "+when+", the "+n+" that took most. Literals are left out.",
		[]column{
			{"total time", "s", named(costliest)},
			{"calls", "short", named(calls + " and " + costliest)},
			{"mean time", "s", named(costliest + " / " + calls)},
		}, "query", "server", "database", "user", "queryid").high(10).to(toStatement)
	rate := func(metric string) string {
		return "sum by (job, server, database, user, queryid) (" + s.rate(metric) + ")"
	}
	b.graph(12, "Mean statement time", "The ten slowest, by the mean of their executions.", "s",
		line{named(top("10", rate("upkeep_postgres_statement_seconds_total")+" / ("+
			rate("upkeep_postgres_statement_calls_total")+" > 0)")), "{{query}}"}).to(toStatement)
	b.graph(12, "Blocks read for statements", "From outside the buffer cache, a second, the ten that read most.", "ops",
		line{named(top("10", rate("upkeep_postgres_statement_blocks_read_total"))), "{{query}}"}).to(toStatement)
}

func postgresWorst(b *board) {
	b.row("What needs care")
	b.table(12, "Dead rows", "Share of a table's rows that no transaction needs, the twenty largest. VACUUM "+
		"removes them.",
		[]column{{"dead", "percentunit", top("20", databases.of("upkeep_postgres_table_dead_ratio"))}},
		"server", "database", "schema", "table").alert("PostgresDeadRows").to(toTable)
	b.table(12, "Table bloat", "Unused space in tables, the twenty largest.",
		[]column{{"bloat", "bytes", top("20", databases.of("upkeep_postgres_table_bloat_bytes", `method="estimate"`))}},
		"server", "database", "schema", "table").runbook("PostgresTableBloat").to(toTable)
	b.table(12, "Index bloat", "Unused space in indexes, the twenty largest. REINDEX removes it.",
		[]column{{"bloat", "bytes", top("20", databases.of("upkeep_postgres_index_bloat_bytes", `method="estimate"`))}},
		"server", "database", "schema", "table", "index").runbook("PostgresIndexBloat").to(toIndex)
	b.table(12, "Unused indexes", "No query has used them, and they serve no other purpose; the twenty largest. Check "+
		"since when that is known.",
		[]column{{"size", "bytes", top("20", databases.of("upkeep_postgres_index_unused_bytes"))}},
		"server", "database", "schema", "table", "index").alert("PostgresIndexUnused").to(toIndex)
	b.table(12, "Duplicate indexes", "Another index of the table covers them.",
		[]column{{"size", "bytes", top("20", databases.of("upkeep_postgres_index_duplicate_bytes"))}},
		"server", "database", "schema", "table", "index", "covered_by", "kind").alert("PostgresIndexDuplicate").
		to(toIndex)
	b.table(12, "Invalid indexes", "No query uses them, but every write maintains them.",
		[]column{{"size", "bytes", databases.of("upkeep_postgres_index_invalid_bytes")}},
		"server", "database", "schema", "table", "index").runbook("PostgresIndexInvalid").to(toIndex)
	b.table(12, "Sequences near their end", "Share of the values that are used, the ten largest.",
		[]column{{"used", "percentunit", top("10", databases.of("upkeep_postgres_sequence_used_ratio"))}},
		"server", "database", "schema", "sequence", "table", "column").alert("PostgresSequenceNearEnd").to(toTable)
	b.table(12, "Transaction id age", "Transactions since a table was last frozen, the ten oldest. Autovacuum "+
		"starts at "+
		"200 million by default.",
		[]column{{"xids", "short", top("10", databases.of("upkeep_postgres_table_freeze_age_xids"))}},
		"server", "database", "schema", "table").alert("PostgresTransactionIdsRunOut").to(toTable)
}
