package main

// server is the page of one PostgreSQL server, or of several that are compared.
func server(rules map[string]rule) *board {
	b := begin(rules, "upkeep-postgres-server", "PostgreSQL server",
		"One server: sessions, locks, write-ahead log, replication, vacuum, settings.", servers,
		choice("postgres", "Server", itself, "upkeep_postgres_up", "server"))
	b.restarts(servers, "upkeep_postgres_start_timestamp_seconds")
	serverNow(b)
	serverSessions(b)
	serverLog(b)
	serverUpkeep(b)
	return b
}

func serverNow(b *board) {
	b.row("Now")
	b.stat("Up", "Whether the server answers, the worst of those that are chosen.", "short", "not known",
		"min("+servers.of("upkeep_postgres_up")+")").words("up", "down").below1("PostgresDown")
	b.stat("Uptime", "Since the last start.", "s", "not known",
		"time() - max("+servers.of("upkeep_postgres_start_timestamp_seconds")+")")
	b.stat("Size", "Of all databases.", "bytes", "not known",
		"sum("+servers.of("upkeep_postgres_database_size_bytes")+")")
	b.stat("Connections", "Used share of max_connections.", "percentunit", "not known",
		"max("+servers.of("upkeep_postgres_connections_used_ratio")+")").alert("PostgresConnectionsNearLimit")
	b.stat("Age of index advice", "Since the list of index advice was last made.", "s", "no list",
		"max("+servers.of("upkeep_postgres_index_advice_age_seconds")+")").alert("PostgresIndexAdviceOld")
	b.table(4, "Version", "Of PostgreSQL.", []column{{"servers", "short", servers.of("upkeep_postgres_info")}},
		"server", "version").high(4)
}

func serverSessions(b *board) {
	b.row("Sessions and locks")
	b.graph(8, "Sessions", "Client sessions by state.", "short",
		line{servers.of("upkeep_postgres_connections"), "{{server}} {{state}}"},
		line{servers.of("upkeep_postgres_connections_max"), "{{server}} limit"}).runbook("PostgresConnectionsNearLimit")
	b.graph(8, "Wait events", "Active sessions that wait, by what they wait for.", "short",
		line{servers.of("upkeep_postgres_waiting_sessions"), "{{server}} {{event}}"})
	b.graph(8, "Oldest transaction", "While it is open, vacuum cannot remove rows that it may still see.", "s",
		line{servers.of("upkeep_postgres_oldest_transaction_seconds"), "{{server}}"},
		line{servers.of("upkeep_postgres_oldest_idle_in_transaction_seconds"), "{{server}} idle in transaction"}).
		alert("PostgresTransactionOld")
	b.graph(8, "Blocked sessions", "Sessions that wait for a lock of another session.", "short",
		line{servers.of("upkeep_postgres_blocked_sessions"), "{{server}}"}).runbook("PostgresSessionsBlocked")
	b.graph(8, "Worst sessions", "Age of the worst blocking session of each kind: idle in transaction, oldest "+
		"transaction, blocker of the longest lock wait, oldest xmin horizon.", "s",
		line{servers.of("upkeep_postgres_worst_session_seconds"), "{{server}} {{of}} {{user}} {{application}}"}).
		alert("PostgresSessionsBlocked")
	b.graph(8, "Lock waits", "Locks that are waited for, by mode.", "short",
		line{"sum by (server, mode) (" + servers.of("upkeep_postgres_locks", `state="waiting"`) + ")",
			"{{server}} {{mode}}"}).runbook("PostgresSessionsBlocked")
	b.table(12, "Blocking sessions", "Sessions that others wait for and that do not wait themselves.",
		[]column{{"blocked", "short", servers.of("upkeep_postgres_blocking_sessions_blocked")},
			{"longest wait", "s", servers.of("upkeep_postgres_blocking_longest_wait_seconds")}},
		"server", "database", "user", "application", "state").runbook("PostgresSessionsBlocked")
	b.table(12, "Maintenance under way", "VACUUM, ANALYZE, CREATE INDEX and the like: progress within the current "+
		"phase.",
		[]column{{"done", "percentunit", servers.of("upkeep_postgres_progress_ratio")}},
		"server", "database", "schema", "table", "command", "phase").to(toTable)
}

func serverLog(b *board) {
	b.row("Write-ahead log and replication")
	b.graph(8, "Write-ahead log", "Written a second; on a standby, replayed.", "Bps",
		line{servers.rate("upkeep_postgres_wal_written_bytes_total"), "{{server}}"})
	b.graph(8, "Retained write-ahead log", "In all, and for each slot.", "bytes",
		line{servers.of("upkeep_postgres_wal_size_bytes"), "{{server}}"},
		line{servers.of("upkeep_postgres_slot_kept_bytes"), "{{server}} slot {{slot}}"}).alert("PostgresSlotKeepsLog")
	b.graph(8, "Checkpoints", "An hour, timed and requested.", "short",
		line{servers.hourly("upkeep_postgres_checkpoints_total"), "{{server}} {{cause}}"}).
		alert("PostgresCheckpointsForced")
	b.graph(8, "Checkpoint time", "Share of the time, by phase.", "percentunit",
		line{servers.rate("upkeep_postgres_checkpoint_seconds_total"), "{{server}} {{phase}}"}).share()
	b.graph(8, "Replication lag", "By the primary's and by the standby's own clock.", "s",
		line{servers.of("upkeep_postgres_standby_lag_seconds"), "{{server}} {{standby}}"},
		line{servers.of("upkeep_postgres_replay_lag_seconds"), "{{server}} by its own clock"}).
		alert("PostgresReplicaBehind")
	b.graph(8, "Replication lag in bytes", "Write-ahead log that is not replayed yet.", "bytes",
		line{servers.of("upkeep_postgres_standby_lag_bytes"), "{{server}} {{standby}}"},
		line{servers.of("upkeep_postgres_replay_lag_bytes"), "{{server}} by its own count"}).
		runbook("PostgresReplicaBehind")
	b.states(8, "Streaming", "Of a standby: whether it receives from its primary.", [2]string{"streams",
		"disconnected"},
		line{servers.of("upkeep_postgres_receiver_streaming"), "{{server}}"}).runbook("PostgresReplicaDisconnected")
	b.states(8, "Slots", "Whether a consumer is connected.", [2]string{"active", "not active"},
		line{servers.of("upkeep_postgres_slot_active"), "{{server}} {{slot}}"}).runbook("PostgresSlotKeepsLog")
	b.graph(8, "Archiving", "Files of the write-ahead log an hour: archived, and attempts that failed.", "short",
		line{servers.hourly("upkeep_postgres_wal_archived_total"), "{{server}} archived"},
		line{servers.hourly("upkeep_postgres_wal_archive_failures_total"), "{{server}} failed"}).
		runbook("PostgresArchiveFailing")
}

func serverUpkeep(b *board) {
	b.row("Databases and settings")
	b.table(12, "Databases", "Size, and age of the oldest transaction that may still be in them.",
		[]column{{"size", "bytes", servers.of("upkeep_postgres_database_size_bytes")},
			{"transaction id age", "short", servers.of("upkeep_postgres_database_freeze_age_xids")},
			{"multixact age", "short", servers.of("upkeep_postgres_database_multixact_age")}},
		"server", "database").runbook("PostgresTransactionIdsRunOut").to(toDatabase)
	b.table(12, "Longest since a vacuum", "Tables that were never vacuumed are not shown.",
		[]column{{"age", "s", top("20",
			"time() - "+servers.of("upkeep_postgres_table_last_vacuum_timestamp_seconds"))}},
		"server", "database", "schema", "table").runbook("PostgresDeadRows").to(toTable)
	b.table(12, "Settings", "Those without a unit; 1 is on and 0 is off.",
		[]column{{"value", "short", servers.of("upkeep_postgres_setting")}}, "server", "name").
		runbook("PostgresAutovacuumOff").runbook("PostgresFsyncOff")
	b.table(12, "Settings that wait for a restart", "Changed, and not in effect yet.",
		[]column{{"waits", "short", servers.of("upkeep_postgres_setting_pending_restart")}}, "server", "name")
}
