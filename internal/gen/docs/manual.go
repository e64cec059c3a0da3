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
		{"day", "health of each service", nil, "HTTP probes of services"},
		{"day", "disk usage", []string{"host/filesystem", "HostFilesystemFilling", "HostFilesystemFullSoon"}, ""},
		{"day", "Docker's own disk use", nil, "images, containers, volumes and build cache"},
		{"day", "backup succeeded", nil, "backups and their restore"},
		{"day", "log size of each container", nil, "container logs"},
		{"week", "VACUUM and ANALYZE where they are needed", []string{"postgres/vacuum", "PostgresDeadRows"}, ""},
		{"week", "table bloat", []string{"postgres/tablebloat"}, "an action that gives the space back"},
		{"week", "REINDEX where an index is bloated", []string{"postgres/indexbloat", "PostgresIndexBloat", "postgres/reindex"}, ""},
		{"week", "Redis memory and fragmentation", []string{"redis/memory"}, "an action against fragmentation"},
		{"week", "Redis keys, hit rate, slow log", []string{"redis/keyspace"}, "SLOWLOG"},
		{"week", "Redis snapshot, and whether it succeeded", []string{"redis/persistence", "RedisSnapshotOld", "redis/bgsave"}, ""},
		{"week", "errors and slow requests in container logs", nil, "log lines"},
		{"week", "pending security updates", nil, "packages"},
		{"month", "unused and duplicate indexes", nil, "both"},
		{"month", "index bloat", []string{"postgres/indexbloat", "PostgresIndexBloat"}, ""},
		{"month", "archive and delete old rows", nil, "archiving"},
		{"month", "performance review", []string{"host/filesystem", "postgres/vacuum"}, "slow statements, request rates and errors"},
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
