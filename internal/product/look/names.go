package look

// The metrics that are looked at.
const (
	pgConnections   = "upkeep_postgres_connections_used_ratio"
	pgLimit         = "upkeep_postgres_connections_max"
	pgWorst         = "upkeep_postgres_worst_session_seconds"
	pgBlocked       = "upkeep_postgres_blocking_sessions_blocked"
	pgFreeze        = "upkeep_postgres_database_freeze_age_xids"
	pgMultixact     = "upkeep_postgres_database_multixact_age"
	pgChecksum      = "upkeep_postgres_database_checksum_failures_total"
	pgDatabaseSize  = "upkeep_postgres_database_size_bytes"
	pgSetting       = "upkeep_postgres_setting"
	pgSettingBytes  = "upkeep_postgres_setting_bytes"
	pgPending       = "upkeep_postgres_setting_pending_restart"
	pgTableRatio    = "upkeep_postgres_table_bloat_ratio"
	pgTableBloat    = "upkeep_postgres_table_bloat_bytes"
	pgIndexRatio    = "upkeep_postgres_index_bloat_ratio"
	pgIndexBloat    = "upkeep_postgres_index_bloat_bytes"
	pgDeadRatio     = "upkeep_postgres_table_dead_ratio"
	pgDeadRows      = "upkeep_postgres_table_dead_rows"
	pgLiveRows      = "upkeep_postgres_table_live_rows"
	pgChanged       = "upkeep_postgres_table_changed_rows"
	pgUnused        = "upkeep_postgres_index_unused_bytes"
	pgUnusedSince   = "upkeep_postgres_index_unused_since_timestamp_seconds"
	pgUnmonitored   = "upkeep_postgres_index_usage_standbys_unmonitored"
	pgDuplicate     = "upkeep_postgres_index_duplicate_bytes"
	pgInvalid       = "upkeep_postgres_index_invalid_bytes"
	pgSequence      = "upkeep_postgres_sequence_used_ratio"
	pgCalls         = "upkeep_postgres_statement_calls_total"
	pgTime          = "upkeep_postgres_statement_seconds_total"
	pgText          = "upkeep_postgres_statement_info"
	pgStatementsAge = "upkeep_postgres_statements_age_seconds"
	pgSlotKept      = "upkeep_postgres_slot_kept_bytes"
	pgSlotActive    = "upkeep_postgres_slot_active"
	pgSlotLost      = "upkeep_postgres_slot_lost"
	pgStandbyLag    = "upkeep_postgres_standby_lag_seconds"
	pgReplayLag     = "upkeep_postgres_replay_lag_seconds"
	pgStreaming     = "upkeep_postgres_receiver_streaming"
	pgArchive       = "upkeep_postgres_wal_archive_failing"
	pgArchived      = "upkeep_postgres_wal_archive_failures_total"

	redisUsed       = "upkeep_redis_memory_used_ratio"
	redisBytes      = "upkeep_redis_memory_used_bytes"
	redisFragments  = "upkeep_redis_memory_fragmentation_ratio"
	redisFragmented = "upkeep_redis_memory_fragmentation_bytes"
	redisRetained   = "upkeep_redis_memory_retained_bytes"
	redisSnapshot   = "upkeep_redis_snapshot_ok"
	redisAge        = "upkeep_redis_snapshot_age_seconds"
	redisChanges    = "upkeep_redis_snapshot_changes"
	redisAOF        = "upkeep_redis_aof_enabled"
	redisAOFOK      = "upkeep_redis_aof_ok"
	redisRewrite    = "upkeep_redis_aof_rewrite_ok"
	redisSlowLength = "upkeep_redis_slowlog_length"
	redisSlowTime   = "upkeep_redis_slowlog_seconds_total"
	redisClients    = "upkeep_redis_clients_used_ratio"
	redisLink       = "upkeep_redis_primary_link_up"

	dockerReclaim   = "upkeep_docker_disk_reclaimable_bytes"
	dockerRotated   = "upkeep_docker_log_rotated"
	dockerLog       = "upkeep_docker_log_size_bytes"
	dockerUnhealthy = "upkeep_docker_container_unhealthy"
	dockerState     = "upkeep_docker_container_state"
	dockerOOM       = "upkeep_docker_container_oom_killed"
	dockerRestarts  = "upkeep_docker_container_restarts_total"
	dockerStart     = "upkeep_docker_container_start_timestamp_seconds"

	hostUsed      = "upkeep_host_filesystem_used_ratio"
	hostAvailable = "upkeep_host_filesystem_available_bytes"
	hostReadOnly  = "upkeep_host_filesystem_readonly"
	hostInodes    = "upkeep_host_filesystem_inodes_used_ratio"
	hostUpdates   = "upkeep_host_updates_pending"
	hostReboot    = "upkeep_host_reboot_required"
)

// Expected returns the collectors that a look at a kind of target relies on. One that is switched off has read
// nothing, and what it would have read is not known.
func Expected(kind string) []string {
	switch kind {
	case "postgres":
		return []string{"postgres/activity", "postgres/database", "postgres/databasesize", "postgres/duplicateindex",
			"postgres/indexbloat", "postgres/invalidindex", "postgres/locks", "postgres/replication",
			"postgres/sequences", "postgres/server", "postgres/sessions", "postgres/settings", "postgres/statements",
			"postgres/tablebloat", "postgres/unusedindex", "postgres/vacuum", "postgres/wal"}
	case "redis":
		return []string{"redis/clients", "redis/memory", "redis/persistence", "redis/replication", "redis/server",
			"redis/slowlog"}
	case "docker":
		return []string{"docker/containers", "docker/diskusage", "docker/logsize"}
	case "host":
		return []string{"host/filesystem", "host/updates"}
	}
	return nil
}

// Metrics returns the metrics that are looked at. No other is read from what the collectors wrote.
func Metrics() []string {
	return []string{pgConnections, pgLimit, pgWorst, pgBlocked, pgFreeze, pgMultixact, pgChecksum, pgDatabaseSize,
		pgSetting, pgSettingBytes, pgPending, pgTableRatio, pgTableBloat, pgIndexRatio, pgIndexBloat, pgDeadRatio,
		pgDeadRows, pgLiveRows, pgChanged, pgUnused, pgUnusedSince, pgUnmonitored, pgDuplicate, pgInvalid, pgSequence,
		pgCalls, pgTime, pgText, pgStatementsAge, pgSlotKept, pgSlotActive, pgSlotLost, pgStandbyLag, pgReplayLag,
		pgStreaming, pgArchive, pgArchived, redisUsed, redisBytes, redisFragments, redisFragmented, redisRetained,
		redisSnapshot, redisAge, redisChanges, redisAOF, redisAOFOK, redisRewrite, redisSlowLength, redisSlowTime,
		redisClients, redisLink, dockerReclaim, dockerRotated, dockerLog, dockerUnhealthy, dockerState, dockerOOM,
		dockerRestarts, dockerStart, hostUsed, hostAvailable, hostReadOnly, hostInodes, hostUpdates, hostReboot}
}
