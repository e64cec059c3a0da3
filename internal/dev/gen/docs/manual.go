package main

import (
	"slices"
	"strings"
)

// A duty is one row of an operating manual for such a system: what is looked at
// or done by hand elsewhere, which unit does it here, and what shows it.
type duty struct {
	when, what string
	units      []string // collectors, actions and alerts, by name
	ways       []string // commands, and lists of the configuration, that it is done by
	tests      []string // do the row on real servers: the package's folder, a space and the test
	missing    string   // what is not done yet
}

// duties returns the rows in the order of a manual.
func duties() []duty {
	return slices.Concat(daily(), weekly(), monthly(), quarterly(), whenAsked())
}

const (
	scenario     = "remediate/actions TestScenarios/"
	onPostgres   = "remediate/actions/postgres "
	onRedis      = "remediate/actions/redis "
	onDocker     = "remediate/actions/docker "
	seesPostgres = "collectors/postgres "
	seesRedis    = "collectors/redis "
	ofProgram    = "cmd/upkeep "
)

func daily() []duty {
	return []duty{
		{"day", "health of each service",
			[]string{"probe/http", "ServiceUnhealthy", "docker/containers", "ContainerUnhealthy"}, nil,
			[]string{
				"collectors/probe TestHTTP",
				"collectors/docker TestEngine",
				ofProgram + "TestNotifiedOfAlerts",
			}, ""},
		{"day", "disk usage",
			[]string{"host/filesystem", "HostFilesystemFilling", "HostInodesFilling", "CapacityExhaustedSoon",
				"docker/prune", "docker/prune_logs", "postgres/archive"}, nil,
			[]string{"collectors/host TestFilesystem", scenario + "chain_disk_filling"}, ""},
		{"day", "Docker's own disk use", []string{"docker/diskusage", "DockerDiskReclaimable", "docker/prune"}, nil,
			[]string{"collectors/docker TestEngine", onDocker + "TestPruneImages"}, ""},
		{"day", "backup succeeded", []string{"backup/age", "BackupOld", "BackupMissing", "BackupDoubtful",
			"BackupUnverified"}, nil,
			[]string{"collectors/backup TestFiles", "collectors/backup TestPgBackRest", "collectors/backup TestRDB"},
			"not yet: backups that are made, restored and compared"},
		{
			"day",
			"log size of each container",
			[]string{"docker/logsize", "ContainerLogLarge", "docker/prune_logs"},
			nil,
			[]string{"collectors/docker TestEngine", onDocker + "TestPruneLogsUnderWriter"},
			"",
		},
	}
}

func weekly() []duty {
	return []duty{
		{"week", "VACUUM and ANALYZE, where they are needed and at a time",
			[]string{"PostgresDeadRows", "postgres/vacuum", "postgres/terminate", "PostgresStatisticsOld",
				"postgres/analyze", "PostgresTransactionIdsRunOut", "postgres/freeze"}, []string{"schedules"},
			[]string{scenario + "dead_rows", onPostgres + "TestAnalyze", ofProgram + "TestScript/schedule"}, ""},
		{"week", "bloat of the largest tables", []string{"postgres/tablebloat", "postgres/tablesize",
			"PostgresTableBloat", "postgres/repack"}, []string{"windows"},
			[]string{seesPostgres + "TestTableBloatAccuracy", scenario + "table_bloat"}, ""},
		{"week", "REINDEX, where an index is bloated, in a window or at a time",
			[]string{
				"postgres/indexbloat",
				"PostgresIndexBloat",
				"postgres/reindex",
			}, []string{"schedules", "windows"},
			[]string{seesPostgres + "TestIndexBloatAccuracy", scenario + "index_bloat"}, ""},
		{"week", "Redis memory and fragmentation", []string{"redis/memory", "RedisMemoryNearLimit", "RedisFragmented",
			"redis/purge_memory", "redis/defrag", "redis/restart", "redis/bgrewriteaof"}, []string{"windows"},
			[]string{seesRedis + "TestMemory", onRedis + "TestDefragEnds", onRedis + "TestRestartLosesNothing"}, ""},
		{"week", "Redis expired keys, keyspace, hit rate, slow log",
			[]string{"redis/keyspace", "redis/slowlog", "redis/commands"}, nil,
			[]string{seesRedis + "TestKeyspace", seesRedis + "TestSlowlog"}, ""},
		{"week", "Redis snapshot, at a time or when it is old, and whether it succeeded",
			[]string{"redis/persistence", "RedisSnapshotOld", "RedisSnapshotFailed", "redis/bgsave"},
			[]string{"schedules"}, []string{onRedis + "TestBGSave", onRedis + "TestBGSaveOnAFullDisk"}, ""},
		{"week", "errors in container logs: the most frequent messages", []string{"logs/lines", "ServiceErrors"},
			[]string{"upkeep logs top"}, []string{ofProgram + "TestLogsTopOfContainers"}, ""},
		{"week", "endpoints by number of requests, requests slower than 1 s",
			[]string{"logs/lines", "ServiceManySlowRequests", "ServiceRequestsSlow"}, []string{"upkeep logs top"},
			[]string{ofProgram + "TestLogsTop", "collectors/logs TestFollow"}, ""},
		{"week", "pending security updates", []string{"host/updates", "HostSecurityUpdatesPending", "packages/audit",
			"PackagesVulnerable"}, nil, []string{"collectors/host TestUpdatesHere", "collectors/packages TestNPM"},
			"not yet: base images, with updates of images"},
	}
}

func monthly() []duty {
	return []duty{
		{"month", "unused indexes", []string{"postgres/unusedindex", "PostgresIndexUnused", "postgres/drop_index",
			"postgres/advise_indexes"}, []string{"schedules"},
			[]string{onPostgres + "TestUnusedIsProven", scenario + "index_unused"}, ""},
		{"month", "duplicate indexes", []string{"postgres/duplicateindex", "PostgresIndexDuplicate",
			"postgres/drop_index", "postgres/advise_indexes"}, []string{"schedules"},
			[]string{seesPostgres + "TestDuplicateIndex", scenario + "index_duplicate"}, ""},
		{"month", "index bloat", []string{"postgres/indexbloat", "PostgresIndexBloat", "postgres/reindex"}, nil,
			[]string{seesPostgres + "TestIndexBloatAccuracy", onPostgres + "TestReindex"}, ""},
		{"month", "archive old rows into a table of the same shape", []string{"postgres/retention",
			"PostgresRowsPastRetention", "postgres/archive", "postgres/restore_archived"}, []string{"schedules"},
			[]string{onPostgres + "TestArchiveUnderWriters", onPostgres + "TestArchiveAndBack"}, ""},
		{"month", "delete rows that were marked deleted long ago", []string{"postgres/retention",
			"PostgresRowsPastRetention", "postgres/purge"}, []string{"schedules"},
			[]string{onPostgres + "TestPurge", onPostgres + "TestPurgeChangedBetweenBatches"}, ""},
		{"month", "delete tokens that expired long ago", []string{"postgres/retention", "PostgresRowsPastRetention",
			"postgres/purge"}, []string{"schedules"},
			[]string{onPostgres + "TestPurge", onPostgres + "TestPurgeTakesNoMore"}, ""},
		{"month", "give the space back", []string{"PostgresTableBloat", "postgres/repack", "postgres/vacuum_full"},
			[]string{"windows"}, []string{onPostgres + "TestRepackUnderLoad", onPostgres + "TestVacuumFull"}, ""},
		{"month", "performance review: slowest statements, Redis hit rate, API p95, error rate", []string{
			"postgres/statements", "postgres/reset_statements", "redis/keyspace", "logs/lines",
			"ApiLatencyHigh", "ApiErrorRateHigh",
		}, []string{"upkeep report month"}, []string{
			"internal/product/report TestFiguresOfMetrics", ofProgram + "TestReport",
			ofProgram + "TestScrapedServiceAndRemoteWrite",
		}, "",
		},
	}
}

func quarterly() []duty {
	return []duty{
		{"quarter", "review of the system", nil, []string{"upkeep report quarter"},
			[]string{ofProgram + "TestReport", "internal/product/report TestFiguresOfAQuarter"}, ""},
		{"quarter", "security audit", nil, nil, nil, "not yet: the audit; SECURITY.md says what is protected"},
		{"quarter", "recovery from a disaster is tried: restored from a backup, and proven", nil, nil, nil,
			"not yet: backups that are made, restored and compared"},
		{"quarter", "capacity planning", []string{"CapacityExhaustedSoon"}, []string{"upkeep forecast"},
			[]string{
				"internal/product/catalog TestCookbook",
				"internal/product/embedded TestDailyValuesOutliveTheSamples",
			}, ""},
		{"quarter", "documentation", nil, []string{"upkeep export"}, []string{ofProgram + "TestScript/export"}, ""},
	}
}

func whenAsked() []duty {
	return []duty{
		{"when it is asked for", "update the image of a service, check its health, roll it back", nil, nil, nil,
			"not yet: updates of images"},
		{"when it is asked for", "maintenance mode: people are notified, a page with 503, and back", nil,
			[]string{"upkeep pause"}, []string{ofProgram + "TestPresentRules"},
			"not yet: the page for users; a pause stops all automation, with its reason"},
		{"when it is asked for", "checklists of the day, week, month and quarter", nil, nil, nil,
			"not yet: checklists"},
		{"when it is asked for", "change record, backup before a change, rollback plan", nil, []string{"upkeep show"},
			[]string{ofProgram + "TestScript/act", "internal/product/app TestBackupGuard",
				onPostgres + "TestUndoRepack"}, "not yet: planned work, and what people change by hand"},
		{"when it is asked for", "notices: 24 hours before, 5 minutes before, when done",
			[]string{"UpkeepNotificationsNotDelivered", "UpkeepPlanUnanswered"},
			[]string{"notify.places", "upkeep notify test"}, []string{ofProgram + "TestThreeTeams"},
			"not yet: planned work; the result of a run is sent"},
		{"when it is asked for", "when it goes wrong: back at once, what happened after which step with which " +
			"error, people notified, a postmortem", nil, []string{"upkeep show"},
			[]string{scenario + "server_stopped_while_acting", onPostgres + "TestRestoreArchived",
				"internal/product/app TestStops"}, ""},
	}
}

func manualPage() string {
	p := new(page)
	p.f("# The operating manual, row by row\n\nThe routine tasks of a careful team, by hand or by cron, the part " +
		"of upkeep that does each, and the\ntest that does it on real servers. The last column lists what upkeep " +
		"does not do yet.\n\n| every | what | done by | shown by | not yet |\n| --- | --- | --- | --- | --- |\n")
	for _, d := range duties() {
		p.f("| %s | %s | %s | %s | %s |\n", d.when, d.what, code(slices.Concat(d.units, d.ways)), code(d.tests),
			cell(d.missing))
	}
	return strings.TrimRight(p.String(), "\n") + "\n"
}
