-- Which settings matter for maintenance, and what are they set to?
--
-- Rights: none beyond CONNECT. Versions: 13 and later; a setting that a version
-- does not know is left out. Cost: one pass over the settings.
--
-- What our own session has set for itself does not count.
select name, vartype, reset_val, coalesce(unit, ''), pending_restart
  from pg_settings
 where pending_restart
    or name in ('archive_mode', 'archive_timeout', 'autovacuum', 'autovacuum_analyze_scale_factor', 'autovacuum_analyze_threshold',
                'autovacuum_freeze_max_age', 'autovacuum_max_workers', 'autovacuum_multixact_freeze_max_age', 'autovacuum_naptime',
                'autovacuum_vacuum_cost_delay', 'autovacuum_vacuum_cost_limit', 'autovacuum_vacuum_insert_scale_factor',
                'autovacuum_vacuum_max_threshold', 'autovacuum_vacuum_scale_factor', 'autovacuum_vacuum_threshold', 'autovacuum_work_mem',
                'checkpoint_completion_target', 'checkpoint_timeout', 'data_checksums', 'default_statistics_target', 'effective_cache_size',
                'fsync', 'full_page_writes', 'hot_standby_feedback', 'idle_in_transaction_session_timeout', 'lock_timeout',
                'log_min_duration_statement', 'maintenance_work_mem', 'max_connections', 'max_locks_per_transaction', 'max_prepared_transactions',
                'max_replication_slots', 'max_slot_wal_keep_size', 'max_wal_senders', 'max_wal_size', 'max_worker_processes', 'min_wal_size',
                'random_page_cost', 'shared_buffers', 'statement_timeout', 'synchronous_commit', 'temp_file_limit', 'track_activities', 'track_counts',
                'track_io_timing', 'transaction_timeout', 'vacuum_cost_delay', 'vacuum_failsafe_age', 'vacuum_freeze_min_age', 'vacuum_freeze_table_age',
                'wal_keep_size', 'wal_log_hints', 'work_mem')
 order by name
