package main

import (
	"slices"
	"strings"
)

// A duty is one row of an operating manual for such a system: what is looked at
// or done by hand elsewhere, and which unit does it here.
type duty struct {
	when, what string
	units      []string // collectors, actions and alerts, by name
	missing    string   // what is not done yet
	ways       []string // commands, and lists of the configuration, that it is done by
}

func duties() []duty {
	return []duty{
		{"day", "health of each service", []string{"probe/http", "ServiceUnhealthy", "docker/containers",
			"ContainerUnhealthy"}, "", nil},
		{"day", "disk usage", []string{"host/filesystem", "HostFilesystemFilling", "HostFilesystemFullSoon",
			"HostInodesFilling", "docker/prune", "docker/prune_logs", "postgres/archive"}, "", nil},
		{"day", "Docker's own disk use", []string{"docker/diskusage", "DockerDiskReclaimable", "docker/prune"}, "",
			nil},
		{"day", "backup succeeded", []string{"backup/age", "BackupOld", "BackupMissing", "BackupDoubtful",
			"BackupUnverified"}, "a restore that is made and compared", nil},
		{"day", "log size of each container", []string{"docker/logsize", "ContainerLogLarge", "docker/prune_logs"}, "",
			nil},
		{"week", "VACUUM and ANALYZE where they are needed, and at a time",
			[]string{"PostgresDeadRows", "postgres/vacuum", "postgres/terminate", "PostgresStatisticsOld",
				"postgres/analyze", "PostgresTransactionIdsRunOut", "postgres/freeze"}, "", []string{"schedules"}},
		{"week", "table bloat", []string{"postgres/tablebloat", "postgres/tablesize", "PostgresTableBloat",
			"postgres/repack"}, "", []string{"windows"}},
		{"week", "REINDEX where an index is bloated, in a window or at a time",
			[]string{"postgres/indexbloat", "PostgresIndexBloat", "postgres/reindex"}, "",
			[]string{"schedules", "windows"}},
		{"week", "Redis memory and fragmentation", []string{"redis/memory", "RedisMemoryNearLimit", "RedisFragmented",
			"redis/purge_memory", "redis/defrag", "redis/restart", "redis/bgrewriteaof"}, "", []string{"windows"}},
		{"week", "Redis keys, hit rate, slow log", []string{"redis/keyspace", "redis/slowlog", "redis/commands"}, "",
			nil},
		{"week", "Redis snapshot, at a time or when it is old, and whether it succeeded",
			[]string{"redis/persistence", "RedisSnapshotOld", "RedisSnapshotFailed", "redis/bgsave"}, "",
			[]string{"schedules"}},
		{"week", "errors and slow requests in container logs",
			[]string{"logs/lines", "ServiceErrors", "ServiceManySlowRequests", "ServiceRequestsSlow"}, "",
			[]string{"upkeep logs top"}},
		{"week", "pending security updates", []string{"host/updates", "HostSecurityUpdatesPending", "packages/audit",
			"PackagesVulnerable"}, "", nil},
		{"month", "unused and duplicate indexes", []string{"postgres/unusedindex", "PostgresIndexUnused",
			"postgres/duplicateindex", "PostgresIndexDuplicate", "postgres/drop_index", "postgres/advise_indexes"}, "",
			[]string{"schedules"}},
		{"month", "index bloat", []string{"postgres/indexbloat", "PostgresIndexBloat", "postgres/reindex"}, "", nil},
		{"month", "archive and delete old rows", []string{"postgres/retention", "PostgresRowsPastRetention",
			"postgres/archive", "postgres/purge", "postgres/restore_archived"}, "", []string{"schedules"}},
		{"month", "give the space back", []string{"PostgresTableBloat", "postgres/repack", "postgres/vacuum_full"}, "",
			[]string{"windows"}},
		{"month", "performance review", []string{"postgres/statements", "postgres/reset_statements", "redis/keyspace",
			"logs/lines", "ApiLatencyHigh", "ApiErrorRateHigh"}, "a report of the month beside the one before", nil},
		{"when asked for", "update a service, and roll it back", nil, "all of it", nil},
		{"when asked for", "change record: the plan, who approved of it, each step, before and after", nil,
			"a record of what people change by hand", []string{"upkeep show"}},
		{"when asked for", "stop all automation for a while, with the reason", nil, "a maintenance page for users",
			[]string{"upkeep pause"}},
		{"when asked for", "notify people: an alert fires or is resolved, a plan awaits approval, the result of a " +
			"run, no step has helped, a policy was stopped",
			[]string{"UpkeepNotificationsNotDelivered", "UpkeepPlanUnanswered"},
			"announcements of planned work to users, 24 hours and 5 minutes before",
			[]string{"notify.places", "upkeep notify test"}},
		{"after an incident", "the draft of a postmortem: what happened, when, with which error", nil, "",
			[]string{"upkeep show"}},
	}
}

func manualPage() string {
	p := new(page)
	p.f("# The operating manual, row by row\n\nThe routine tasks of a careful team, by hand or by cron, and the part " +
		"of upkeep that does each.\nThe last column lists what upkeep does not do yet.\n\n| every | what | done by | " +
		"not yet |\n| --- | --- | --- | --- |\n")
	for _, d := range duties() {
		p.f("| %s | %s | %s | %s |\n", d.when, d.what, code(slices.Concat(d.units, d.ways)), cell(d.missing))
	}
	return strings.TrimRight(p.String(), "\n") + "\n"
}
