package main

// redis is the page of the Redis servers.
func redis(rules map[string]rule) *board {
	b := begin(rules, "upkeep-redis", "Redis", "Redis servers: memory, keys, commands, persistence, replication.",
		caches,
		choice("redis", "Server", itself, "upkeep_redis_up", "server"))
	b.restarts(caches, "upkeep_redis_start_timestamp_seconds")
	redisNow(b)
	redisMemory(b)
	redisCommands(b)
	redisPersistence(b)
	return b
}

func redisNow(b *board) {
	b.row("Now")
	b.stat("Down", "Servers that do not answer.", "short", "0",
		zero("count("+caches.of("upkeep_redis_up")+" == 0)")).any("RedisDown")
	b.stat("Memory", "Used share of maxmemory, of the server with the largest.", "percentunit", "no limit",
		"max("+caches.of("upkeep_redis_memory_used_ratio")+")").alert("RedisMemoryNearLimit")
	b.stat("Hit ratio", "Share of reads that find their key, in the selected range.", "percentunit", "no reads",
		"sum("+caches.grown("upkeep_redis_keyspace_hits_total")+") / (sum("+
			caches.grown("upkeep_redis_keyspace_hits_total")+") + sum("+
			caches.grown("upkeep_redis_keyspace_misses_total")+") > 0)")
	b.stat("Evicted keys", "In the selected range, because maxmemory was reached.", "short", "0",
		zero("round(sum("+caches.grown("upkeep_redis_evicted_keys_total")+"))")).runbook("RedisMemoryNearLimit")
	b.stat("Oldest snapshot", "Since the newest successful snapshot, of the server for which it is oldest.", "s",
		"not known", "max("+caches.of("upkeep_redis_snapshot_age_seconds")+")").alert("RedisSnapshotOld")
	b.stat("Refused connections", "In the selected range, because maxclients was reached.", "short", "0",
		zero("round(sum("+caches.grown("upkeep_redis_connections_rejected_total")+"))")).any("RedisConnectionsRejected")
	b.table(24, "Servers", "One row for each server.", []column{
		{"up", "short", caches.of("upkeep_redis_up")},
		{"uptime", "s", "time() - " + caches.of("upkeep_redis_start_timestamp_seconds")},
		{"memory", "bytes", caches.of("upkeep_redis_memory_used_bytes")},
		{"limit", "bytes", caches.of("upkeep_redis_memory_max_bytes")},
		{"keys", "short", "sum by (server) (" + caches.of("upkeep_redis_keys") + ")"},
		{"clients", "short", caches.of("upkeep_redis_clients")},
		{"replica", "short", caches.of("upkeep_redis_is_replica")},
		{"replicas", "short", caches.of("upkeep_redis_replicas")},
	}, "server").words("up", "down").runbook("RedisDown").high(6)
}

func redisMemory(b *board) {
	b.row("Memory and keys")
	b.graph(8, "Memory", "Used, resident, and maxmemory if set.", "bytes",
		line{caches.of("upkeep_redis_memory_used_bytes"), "{{server}} used"},
		line{caches.of("upkeep_redis_memory_rss_bytes"), "{{server}} resident"},
		line{caches.of("upkeep_redis_memory_max_bytes"), "{{server}} limit"}).runbook("RedisMemoryNearLimit")
	b.graph(8, "Used share of maxmemory", "Servers without a limit are not shown.", "percentunit",
		line{caches.of("upkeep_redis_memory_used_ratio"), "{{server}}"}).share().alert("RedisMemoryNearLimit")
	b.graph(8, "Fragmentation ratio", "Bytes that the allocator holds active for each byte allocated. Large on a "+
		"small "+
		"server, where it is no harm: read it with the bytes.", "short",
		line{caches.of("upkeep_redis_memory_fragmentation_ratio"), "{{server}}"}).alert("RedisFragmented")
	b.graph(8, "Fragmentation", "Bytes active and not allocated, and retained with nothing active in them.", "bytes",
		line{caches.of("upkeep_redis_memory_fragmentation_bytes"), "{{server}} fragmentation"},
		line{caches.of("upkeep_redis_memory_retained_bytes"), "{{server}} retained"}).alert("RedisMemoryRetained")
	b.graph(8, "Hit ratio", "Share of reads that find their key.", "percentunit",
		line{hitRatio(caches.rate("upkeep_redis_keyspace_hits_total"),
			caches.rate("upkeep_redis_keyspace_misses_total"),
			"server"), "{{server}}"}).share()
	b.graph(8, "Evictions and expirations", "Keys a second: evicted since maxmemory was reached, and expired.", "ops",
		line{caches.rate("upkeep_redis_evicted_keys_total"), "{{server}} evicted"},
		line{caches.rate("upkeep_redis_expired_keys_total"), "{{server}} expired"}).runbook("RedisMemoryNearLimit")
	b.graph(8, "Keys", "All keys of a server, and keys with a TTL.", "short",
		line{"sum by (server) (" + caches.of("upkeep_redis_keys") + ")", "{{server}}"},
		line{"sum by (server) (" + caches.of("upkeep_redis_expiring_keys") + ")", "{{server}} with a TTL"})
	b.table(8, "Versions", "Of Redis.", []column{{"servers", "short", caches.of("upkeep_redis_info")}},
		"server", "version")
	b.graph(8, "Memory growth", "Bytes a day, median of four weeks. Nothing is shown without a trend.", "bytes",
		line{caches.recorded("upkeep:capacity_growth_per_day:median28d", `resource="redis_memory"`), "{{server}}"}).
		free().to(toResource)
}

func redisCommands(b *board) {
	b.row("Commands and clients")
	b.graph(8, "Commands", "A second, the ten most frequent.", "ops",
		line{top("10", caches.rate("upkeep_redis_command_calls_total")), "{{server}} {{command}}"})
	b.graph(8, "Command time", "Share of the server's time, the ten largest.", "percentunit",
		line{top("10", caches.rate("upkeep_redis_command_seconds_total")), "{{server}} {{command}}"})
	b.graph(8, "Command latency p99", "By command, the ten slowest.", "s",
		line{top("10", "histogram_quantile(0.99, sum by (server, command, le) ("+
			caches.rate("upkeep_redis_command_duration_seconds_bucket")+"))"), "{{server}} {{command}}"})
	b.table(8, "Slow log", "Entries in the selected range, and their time, by command, without arguments.",
		[]column{{"entries", "short", top("20", "round("+caches.grown("upkeep_redis_slowlog_entries_total")+") > 0")},
			{"time", "s", caches.grown("upkeep_redis_slowlog_seconds_total") + " > 0"}}, "server", "command")
	b.graph(8, "Errors", "Commands answered with an error, a second.", "ops",
		line{caches.rate("upkeep_redis_error_replies_total"), "{{server}}"})
	b.graph(8, "Clients", "Connected, and waiting in a blocking command.", "short",
		line{caches.of("upkeep_redis_clients"), "{{server}}"},
		line{caches.of("upkeep_redis_clients_blocked"), "{{server}} blocked"}).runbook("RedisClientsNearLimit")
	b.graph(8, "Used share of maxclients", "Redis 7.0 and later.", "percentunit",
		line{caches.of("upkeep_redis_clients_used_ratio"), "{{server}}"}).share().alert("RedisClientsNearLimit")
	b.graph(8, "Network", "Bytes a second.", "Bps",
		line{caches.rate("upkeep_redis_network_received_bytes_total"), "{{server}} received"},
		line{caches.rate("upkeep_redis_network_sent_bytes_total"), "{{server}} sent"})
}

func redisPersistence(b *board) {
	b.row("Persistence and replication")
	b.graph(8, "Snapshot age", "Since the newest successful RDB snapshot.", "s",
		line{caches.of("upkeep_redis_snapshot_age_seconds"), "{{server}}"}).alert("RedisSnapshotOld")
	b.graph(8, "Changes since the snapshot", "What a crash would lose without an append-only file.", "short",
		line{caches.of("upkeep_redis_snapshot_changes"), "{{server}}"}).runbook("RedisSnapshotOld")
	b.states(8, "Last snapshot and append-only file", "Whether the last write succeeded.", [2]string{"succeeded",
		"failed"},
		line{caches.of("upkeep_redis_snapshot_ok"), "{{server}} snapshot"},
		line{caches.of("upkeep_redis_aof_ok"), "{{server}} append-only file"}).runbook("RedisSnapshotFailed").
		runbook("RedisAppendFileFailing")
	b.graph(8, "Append-only file", "Its size.", "bytes",
		line{caches.of("upkeep_redis_aof_size_bytes"), "{{server}}"}).runbook("RedisAppendFileGrown")
	b.graph(8, "Growth of the append-only file", "Since its last rewrite, as a ratio of its size then.", "percentunit",
		line{caches.of("upkeep_redis_aof_growth_ratio"), "{{server}}"}).alert("RedisAppendFileGrown")
	b.graph(8, "Fork", "Time that the server was blocked by the fork of its last snapshot or rewrite.", "s",
		line{caches.of("upkeep_redis_fork_seconds"), "{{server}}"})
	b.graph(8, "Replication lag", "Bytes of the replication offset that a replica has not confirmed.", "bytes",
		line{caches.of("upkeep_redis_replica_lag_bytes"), "{{server}} {{replica}}"}).runbook("RedisReplicaDisconnected")
	b.states(8, "Link to the primary", "Of a replica: whether it is connected.", [2]string{"connected", "disconnected"},
		line{caches.of("upkeep_redis_primary_link_up"), "{{server}}"}).runbook("RedisReplicaDisconnected")
}
