package main

import "strings"

// A duty is one row of an operating manual for such a system: what is looked at
// or done by hand elsewhere, and which unit does it here.
type duty struct {
	when, what string
	units      []string // collectors, actions and alerts, by name
	missing    string   // what is not done yet
}

func duties() []duty {
	return []duty{
		{"day", "health of each service", []string{"probe/http", "ServiceUnhealthy", "docker/containers", "ContainerUnhealthy"}, ""},
		{"day", "disk usage", []string{"host/filesystem", "HostFilesystemFilling", "HostFilesystemFullSoon", "HostInodesFilling"}, "an action that makes room"},
		{"day", "Docker's own disk use", []string{"docker/diskusage", "DockerDiskReclaimable"}, "an action that prunes"},
		{"day", "backup succeeded", []string{"backup/age", "BackupOld", "BackupMissing", "BackupDoubtful", "BackupUnverified"}, "a restore that is made and compared"},
		{"day", "log size of each container", []string{"docker/logsize", "ContainerLogLarge"}, "an action that prunes"},
		{"week", "VACUUM and ANALYZE where they are needed", []string{"postgres/vacuum", "PostgresDeadRows"}, ""},
		{"week", "table bloat", []string{"postgres/tablebloat", "postgres/tablesize", "PostgresTableBloat"}, "an action that gives the space back"},
		{"week", "REINDEX where an index is bloated", []string{"postgres/indexbloat", "PostgresIndexBloat", "postgres/reindex"}, ""},
		{"week", "Redis memory and fragmentation", []string{"redis/memory", "RedisMemoryNearLimit", "RedisFragmented"}, "an action against fragmentation"},
		{"week", "Redis keys, hit rate, slow log", []string{"redis/keyspace", "redis/slowlog", "redis/commands"}, ""},
		{"week", "Redis snapshot, and whether it succeeded", []string{"redis/persistence", "RedisSnapshotOld", "RedisSnapshotFailed", "redis/bgsave"}, ""},
		{"week", "errors and slow requests in container logs", []string{"logs/lines", "ServiceErrors", "ServiceManySlowRequests", "ServiceRequestsSlow"}, ""},
		{"week", "pending security updates", []string{"host/updates", "HostSecurityUpdatesPending", "packages/audit", "PackagesVulnerable"}, ""},
		{"month", "unused and duplicate indexes", []string{"postgres/unusedindex", "PostgresIndexUnused", "postgres/duplicateindex", "PostgresIndexDuplicate"}, "an action that drops one, when a person agrees"},
		{"month", "index bloat", []string{"postgres/indexbloat", "PostgresIndexBloat"}, ""},
		{"month", "archive and delete old rows", []string{"postgres/retention", "PostgresRowsPastRetention"}, "archiving and deleting"},
		{"month", "performance review", []string{"postgres/statements", "redis/keyspace", "logs/lines"}, "a report of the month beside the one before"},
		{"when asked for", "update a service, maintenance mode, notices, change record", nil, "all but the journal of what was done"},
	}
}

func manualPage() string {
	p := new(page)
	p.f("# The operating manual, row by row\n\nWhat a careful team does by hand or by cron, and what does it here. What is not done yet is\nsaid.\n\n| every | what | done by | not yet |\n| --- | --- | --- | --- |\n")
	for _, d := range duties() {
		p.f("| %s | %s | %s | %s |\n", d.when, d.what, code(d.units), cell(d.missing))
	}
	return strings.TrimRight(p.String(), "\n") + "\n"
}
