package main

import "github.com/ai-micro-service/upkeep/remediate"

// became counts the runs that came into one of the states, in the selected range.
func became(states remediate.State) string {
	return `round(sum(increase(upkeep_run_transitions_total{to=~"` + string(states) + `"}[$__range]))) or vector(0)`
}

// overview is the page for the monthly review: what is sick, what was done about
// it, and whether it helped. The limits are those of the rules, by alert.
func overview(limit map[string]float64) dashboard {
	l := new(layout)
	l.row("Now")
	l.add(4, 4, stat("Servers down", "PostgreSQL and Redis servers that do not answer.", "short",
		levels(from(1, "red")),
		"count("+on("upkeep_postgres_up")+" == 0 or "+on("upkeep_redis_up")+" == 0) or vector(0)"))
	l.add(4, 4, stat("Open incidents", "Incidents whose alert is not resolved.", "short", levels(from(1, "orange")),
		"sum("+once("upkeep_incidents_open")+") or vector(0)"))
	l.add(4, 4, stat("Runs under way", "Runs that have not ended, waiting ones included.", "short",
		levels(from(1, "blue")),
		"sum("+once("upkeep_runs_active")+") or vector(0)"))
	l.add(4, 4, stat("Resolved", "Runs in the selected range that brought the metric back within its limit.", "short",
		levels(),
		became(remediate.Resolved)))
	l.add(4, 4, stat("Not resolved", "Runs in the selected range that failed or did not help.", "short",
		levels(from(1, "red")),
		became(remediate.Failed+"|"+remediate.Unresolved)))
	l.add(4, 4, stat("Pauses", "Active pauses: upkeep does not act in their scope.", "short", levels(from(1, "orange")),
		"count("+once("upkeep_paused")+") or vector(0)"))

	l.row("PostgreSQL")
	l.add(12, 8, graph("Dead rows, ten worst tables", "Share of a table's rows that no transaction needs. VACUUM "+
		"lowers it.", "percentunit", levels(from(limit["PostgresDeadRows"], "red")),
		line{"topk(10, " + on("upkeep_postgres_table_dead_ratio", `database=~"$database"`) + " and " +
			on("upkeep_postgres_table_dead_rows", `database=~"$database"`) + " > 10000)",
			"{{server}} {{database}} {{schema}}.{{table}}"}))
	l.add(12, 8, graph("Index bloat, ten worst indexes",
		"Unused share of an index, for indexes with more than 16 MiB of bloat. REINDEX lowers it.", "percentunit",
		levels(from(limit["PostgresIndexBloat"], "red")),
		line{"topk(10, " + on("upkeep_postgres_index_bloat_ratio", `database=~"$database"`, `method="estimate"`) +
			" and " + on("upkeep_postgres_index_bloat_bytes", `database=~"$database"`, `method="estimate"`) +
			" > 16777216)", "{{server}} {{database}} {{schema}}.{{index}}"}))
	l.add(12, 8, table("Table bloat", "Unused space in tables, the twenty largest.", "bytes", "bloat", levels(),
		"topk(20, "+on("upkeep_postgres_table_bloat_bytes", `database=~"$database"`, `method="estimate"`)+")", "server",
		"database", "schema", "table"))
	l.add(12, 8, table("Transaction id age", "Transactions since a table was last frozen. At 2 billion the server "+
		"refuses writes; autovacuum starts at 200 million by default.", "short", "xids",
		levels(from(500e6, "orange"), from(1e9, "red")),
		"topk(20, "+on("upkeep_postgres_table_freeze_age_xids", `database=~"$database"`)+")", "server", "database",
		"schema", "table"))
	l.add(12, 8, table("Longest since a vacuum", "Seconds since the last manual or automatic vacuum; tables that "+
		"were never vacuumed are not shown.", "s", "age", levels(),
		"topk(20, time() - "+on("upkeep_postgres_table_last_vacuum_timestamp_seconds", `database=~"$database"`)+")",
		"server", "database", "schema", "table"))
	l.add(12, 8, graph("Size of the ten largest indexes and tables", "Heap of tables without TOAST, and indexes.",
		"bytes", levels(),
		line{"topk(10, " + on("upkeep_postgres_table_heap_bytes", `database=~"$database"`) + ")",
			"{{server}} {{database}} {{schema}}.{{table}}"},
		line{"topk(10, " + on("upkeep_postgres_index_size_bytes", `database=~"$database"`) + ")",
			"{{server}} {{database}} {{schema}}.{{index}}"}))

	l.add(24, 5, table("Invalid indexes", "No query uses them, but every write maintains them.", "bytes", "size",
		levels(),
		on("upkeep_postgres_index_invalid_bytes", `database=~"$database"`), "server", "database", "schema", "table",
		"index"))
	l.add(12, 8, graph("Connections", "Used share of max_connections.", "percentunit",
		levels(from(limit["PostgresConnectionsNearLimit"], "red")),
		line{on("upkeep_postgres_connections_used_ratio"), "{{server}}"}))
	l.add(12, 8, graph("Oldest transaction", "While it is open, vacuum cannot remove rows that it may still see.", "s",
		levels(from(limit["PostgresTransactionOld"], "red")),
		line{on("upkeep_postgres_oldest_transaction_seconds"), "{{server}}"},
		line{on("upkeep_postgres_oldest_idle_in_transaction_seconds"), "{{server}} idle in transaction"}))
	l.add(12, 8, graph("Sessions", "By state.", "short", levels(),
		line{on("upkeep_postgres_connections"), "{{server}} {{state}}"}))
	l.add(12, 8, graph("Blocked sessions", "Sessions that wait for a lock of another session.", "short", levels(),
		line{on("upkeep_postgres_blocked_sessions"), "{{server}}"}))

	l.row("Redis")
	l.add(8, 8, graph("Memory", "Used memory, resident memory, and maxmemory if set.", "bytes", levels(),
		line{on("upkeep_redis_memory_used_bytes"), "{{server}} used"},
		line{on("upkeep_redis_memory_rss_bytes"), "{{server}} resident"},
		line{on("upkeep_redis_memory_max_bytes"), "{{server}} limit"}))
	l.add(8, 8, graph("Fragmentation", "Memory that the allocator retains and cannot use.", "bytes", levels(),
		line{on("upkeep_redis_memory_fragmentation_bytes"), "{{server}}"}))
	l.add(8, 8, graph("Snapshot age", "Since the newest successful snapshot.", "s",
		levels(from(limit["RedisSnapshotOld"], "red")),
		line{on("upkeep_redis_snapshot_age_seconds"), "{{server}}"}))

	hits, misses := rate("upkeep_redis_keyspace_hits_total"), rate("upkeep_redis_keyspace_misses_total")
	l.add(12, 8, graph("Key hit ratio", "Share of reads that find their key.", "percentunit", levels(),
		line{hits + " / (" + hits + " + " + misses + ")", "{{server}}"}))
	l.add(12, 8, graph("Keys", "All keys of a server, and keys with a TTL.", "short", levels(),
		line{"sum by (server) (" + on("upkeep_redis_keys") + ")", "{{server}}"},
		line{"sum by (server) (" + on("upkeep_redis_expiring_keys") + ")", "{{server}} with an end"}))

	l.row("File systems")
	l.add(12, 8, graph("Used", "As df counts: space reserved for root is not available.", "percentunit",
		levels(from(limit["HostFilesystemFilling"], "red")),
		line{on("upkeep_host_filesystem_used_ratio"), "{{server}} {{mountpoint}}"}))
	l.add(12, 8, table("Limits reached within 90 days", "At the growth of the last four weeks. Without a trend "+
		"nothing is shown. upkeep forecast shows the rest.", "s", "time", levels(),
		"last_over_time("+on("upkeep:capacity_seconds_to_limit:likely")+"[2h]) < 90 * 86400", "resource", "server",
		"mountpoint"))

	l.row("upkeep itself")
	l.add(8, 8, graph("Collection time", "Duration of each collector.", "s", levels(),
		line{on("upkeep_collector_duration_seconds"), "{{collector}} {{server}}"}))
	l.add(8, 8, table("Failing collectors", "The log and upkeep status show the error.", "short", "success", levels(),
		on("upkeep_collector_success")+" == 0", "collector", "server"))
	l.add(8, 8, graph("Runs refused or waiting", "By reason, per hour.", "short", levels(),
		line{"sum by (reason) (increase(upkeep_run_refusals_total[1h]))", "{{reason}}"}))

	return page("upkeep-overview", "upkeep: overview", "Open problems, actions, and their results.", l,
		choice("database", "Database", `label_values(upkeep_postgres_table_dead_ratio{server=~"$server"}, database)`))
}
