package main

// databases is the page for the analysis of a PostgreSQL or Redis server.
func databases(limit map[string]float64) dashboard {
	l := new(layout)
	postgresWork(l)
	postgresSpace(l)
	postgresReplication(l, limit)
	redis(l, limit)
	return page("upkeep-databases", "upkeep: databases", "Load, cost and space of the database servers.", l,
		choice("database", "Database",
			`label_values(upkeep_postgres_database_commits_total{server=~"$server"}, database)`))
}

func rate(metric string, matchers ...string) string {
	return "rate(" + on(metric, matchers...) + "[$__rate_interval])"
}

const inDatabase = `database=~"$database"`

func postgresWork(l *layout) {
	l.row("PostgreSQL: work")
	l.add(12, 8, graph("Transactions", "Commits and rollbacks per second.", "ops", levels(),
		line{rate("upkeep_postgres_database_commits_total", inDatabase), "{{server}} {{database}}"},
		line{rate("upkeep_postgres_database_rollbacks_total", inDatabase), "{{server}} {{database}} rolled back"}))
	l.add(12, 8, graph("Rows", "Returned by scans, fetched by index, and changed, per second.", "ops", levels(),
		line{rate("upkeep_postgres_database_rows_returned_total", inDatabase), "{{server}} {{database}} returned"},
		line{rate("upkeep_postgres_database_rows_fetched_total", inDatabase), "{{server}} {{database}} fetched"},
		line{rate("upkeep_postgres_database_rows_inserted_total", inDatabase), "{{server}} {{database}} inserted"},
		line{rate("upkeep_postgres_database_rows_updated_total", inDatabase), "{{server}} {{database}} updated"},
		line{rate("upkeep_postgres_database_rows_deleted_total", inDatabase), "{{server}} {{database}} deleted"}))
	l.add(12, 8, graph("Buffer cache hit ratio", "Share of the requested blocks that were in shared_buffers.",
		"percentunit", levels(),
		line{rate("upkeep_postgres_database_blocks_hit_total", inDatabase) + " / (" +
			rate("upkeep_postgres_database_blocks_hit_total", inDatabase) + " + " +
			rate("upkeep_postgres_database_blocks_read_total", inDatabase) + ")", "{{server}} {{database}}"}))
	l.add(12, 8, graph("Temporary files", "Written because work_mem was too small, per second.", "Bps", levels(),
		line{rate("upkeep_postgres_database_temporary_bytes_total", inDatabase), "{{server}} {{database}}"}))
	l.add(24, 10, table("Slowest statements", "Total time in the selected range, top 20. Literals are left out.", "s",
		"time", levels(),
		`topk(20, sum by (server, database, user, queryid) (increase(`+on("upkeep_postgres_statement_seconds_total",
			inDatabase)+`[$__range])) * on (server, queryid) group_left (query) `+on("upkeep_postgres_statement_info")+`)`,
		"server", "database", "user", "queryid", "query"))
	l.add(12, 8, graph("Mean statement time", "The ten slowest.", "s", levels(),
		line{"topk(10, " + rate("upkeep_postgres_statement_seconds_total", inDatabase) + " / (" +
			rate("upkeep_postgres_statement_calls_total", inDatabase) + " > 0))",
			"{{server}} {{database}} {{queryid}}"}))
	l.add(12, 8, graph("Blocks read for statements", "Top 10 by blocks read per second, and their I/O wait time.",
		"ops", levels(),
		line{"topk(10, " + rate("upkeep_postgres_statement_blocks_read_total", inDatabase) + ")",
			"{{server}} {{database}} {{queryid}}"},
		line{"topk(10, " + rate("upkeep_postgres_statement_io_seconds_total", inDatabase) + ")",
			"{{server}} {{database}} {{queryid}} seconds"}))
	l.add(12, 8, graph("Lock waits", "By lock mode.", "short", levels(),
		line{"sum by (server, database, mode) (" + on("upkeep_postgres_locks", `state="waiting"`) + ")",
			"{{server}} {{database}} {{mode}}"}))
	l.add(12, 8, table("Blocking sessions", "Sessions that others wait for and that do not wait themselves.", "short",
		"sessions", levels(),
		on("upkeep_postgres_blocking_sessions_blocked"), "server", "database", "user", "application", "state"))
	l.add(12, 8, graph("Wait events", "Of active sessions.", "short", levels(),
		line{on("upkeep_postgres_waiting_sessions"), "{{server}} {{event}}"}))
	l.add(12, 8, table("Maintenance under way", "Progress within the current phase.", "percentunit", "done", levels(),
		on("upkeep_postgres_progress_ratio"), "server", "database", "schema", "table", "command", "phase"))
}

func postgresSpace(l *layout) {
	l.row("PostgreSQL: space")
	l.add(12, 8, graph("Size of databases", "Everything on disk.", "bytes", levels(),
		line{on("upkeep_postgres_database_size_bytes", inDatabase), "{{server}} {{database}}"}))
	l.add(12, 8, table("Largest tables", "Heap, TOAST and indexes.", "bytes", "size", levels(),
		"topk(20, sum by (server, database, schema, table) ("+on("upkeep_postgres_table_size_bytes", inDatabase)+"))",
		"server", "database", "schema", "table"))
	l.add(12, 8, table("Unused indexes", "No query has used them, and they serve no other purpose. Check the age of "+
		"the statistics first.", "bytes", "size", levels(),
		"topk(20, "+on("upkeep_postgres_index_unused_bytes", inDatabase)+")", "server", "database", "schema", "table",
		"index"))
	l.add(12, 8, table("Duplicate indexes", "Another index of the table covers them.", "bytes", "size", levels(),
		"topk(20, "+on("upkeep_postgres_index_duplicate_bytes", inDatabase)+")", "server", "database", "schema",
		"table", "index", "covered_by", "kind"))
	l.add(12, 8, table("Sequences near their end", "Share of the values that are used up.", "percentunit", "used",
		levels(),
		"topk(10, "+on("upkeep_postgres_sequence_used_ratio", inDatabase)+")", "server", "database", "schema",
		"sequence"))
	l.add(12, 8, table("Rows past their age", "Older than the archives in the configuration allow.", "short", "rows",
		levels(),
		on("upkeep_postgres_retention_rows", inDatabase), "server", "database", "schema", "table"))
	l.add(12, 8, table("Rows changed since the last ANALYZE", "Changes that the planner's statistics do not include.",
		"short", "rows", levels(),
		"topk(20, "+on("upkeep_postgres_table_changed_rows", inDatabase)+")", "server", "database", "schema", "table"))
	l.add(12, 8, table("Settings that wait for a restart", "Changed, and not in effect yet.", "short", "waits",
		levels(),
		on("upkeep_postgres_setting_pending_restart"), "server", "name"))
}

func postgresReplication(l *layout, limit map[string]float64) {
	l.row("PostgreSQL: write-ahead log and replication")
	l.add(12, 8, graph("Write-ahead log", "Written per second.", "Bps", levels(),
		line{rate("upkeep_postgres_wal_written_bytes_total"), "{{server}}"}))
	l.add(12, 8, graph("Retained write-ahead log", "In all, and for each slot.", "bytes", levels(),
		line{on("upkeep_postgres_wal_size_bytes"), "{{server}}"},
		line{on("upkeep_postgres_slot_kept_bytes"), "{{server}} slot {{slot}}"}))
	l.add(12, 8, graph("Standbys", "Replication lag in seconds, by the primary's and by their own clocks.", "s",
		levels(from(limit["PostgresReplicaBehind"], "red")),
		line{on("upkeep_postgres_standby_lag_seconds"), "{{server}} {{standby}}"},
		line{on("upkeep_postgres_replay_lag_seconds"), "{{server}} by its own clock"}))
	l.add(12, 8, graph("Standby lag in bytes", "WAL that is not replayed yet.", "bytes", levels(),
		line{on("upkeep_postgres_standby_lag_bytes"), "{{server}} {{standby}}"}))
	l.add(12, 8, graph("Checkpoints", "Per hour, timed and requested.", "short", levels(),
		line{"increase(" + on("upkeep_postgres_checkpoints_total") + "[1h])", "{{server}} {{cause}}"}))
	l.add(12, 8, graph("Checkpoint time", "Share of the time, by phase.", "percentunit", levels(),
		line{rate("upkeep_postgres_checkpoint_seconds_total"), "{{server}} {{phase}}"}))
}

func redis(l *layout, limit map[string]float64) {
	l.row("Redis")
	l.add(12, 8, graph("Commands", "Per second, the ten most frequent.", "ops", levels(),
		line{"topk(10, " + rate("upkeep_redis_command_calls_total") + ")", "{{server}} {{command}}"}))
	l.add(12, 8, graph("Command time", "Share of the server's time, top 10.", "percentunit", levels(),
		line{"topk(10, " + rate("upkeep_redis_command_seconds_total") + ")", "{{server}} {{command}}"}))
	l.add(12, 8, graph("Command latency p99", "By command, the ten slowest.", "s", levels(),
		line{"topk(10, histogram_quantile(0.99, sum by (server, command, le) (" +
			rate("upkeep_redis_command_duration_seconds_bucket") + ")))", "{{server}} {{command}}"}))
	l.add(12, 8, table("Slow log", "Entries in the selected range, by command, without arguments.", "short", "entries",
		levels(),
		"topk(10, increase("+on("upkeep_redis_slowlog_entries_total")+"[$__range]) > 0)", "server", "command"))
	l.add(12, 8, graph("Clients", "Connected, and waiting in a blocking command.", "short", levels(),
		line{on("upkeep_redis_clients"), "{{server}}"},
		line{on("upkeep_redis_clients_blocked"), "{{server}} blocked"}))
	l.add(12, 8, graph("Memory", "Used share of maxmemory.", "percentunit",
		levels(from(limit["RedisMemoryNearLimit"], "red")),
		line{on("upkeep_redis_memory_used_ratio"), "{{server}}"}))
	l.add(12, 8, graph("Replicas", "Replication offset that is not confirmed yet.", "bytes", levels(),
		line{on("upkeep_redis_replica_lag_bytes"), "{{server}} {{replica}}"}))
	l.add(12, 8, graph("Fork", "Time that the server was blocked by the fork of its last snapshot or rewrite.", "s",
		levels(),
		line{on("upkeep_redis_fork_seconds"), "{{server}}"}))
}
