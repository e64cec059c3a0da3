package main

import "github.com/ai-micro-service/upkeep/remediate"

// overview is the first page: what is wrong now, on any target, and what upkeep does about it.
func overview(rules map[string]rule) *board {
	b := begin(rules, "upkeep-overview", "overview", "What is wrong now, on any target, and what upkeep does about it.",
		itself,
		choice("postgres", "PostgreSQL", itself, "upkeep_postgres_up", "server"),
		choice("redis", "Redis", itself, "upkeep_redis_up", "server"),
		choice("engine", "Docker", itself, "upkeep_docker_up", "server"),
		choice("host", "Host", itself, "upkeep_host_cpus", "server"),
		choice("probe", "Probe", itself, "upkeep_probe_healthy", "server"))
	overviewNow(b)
	overviewTargets(b)
	overviewSpace(b)
	overviewItself(b)
	return b
}

func overviewNow(b *board) {
	b.row("Now")
	b.stat("Servers down", "PostgreSQL, Redis and Docker servers that do not answer.", "short", "0",
		zero("count("+servers.of("upkeep_postgres_up")+" == 0 or "+caches.of("upkeep_redis_up")+" == 0 or "+
			engines.of("upkeep_docker_up")+" == 0)")).any("PostgresDown").runbook("RedisDown").runbook("DockerDown")
	b.stat("Services unhealthy", "Probed services that do not answer, or not with the expected status.", "short", "0",
		zero("count("+probes.of("upkeep_probe_healthy")+" == 0)")).any("ServiceUnhealthy")
	b.stat("Open incidents", "Incidents whose alert is not resolved.", "short", "0",
		zero("sum("+itself.of("upkeep_incidents_open")+")")).from(1, "orange").page("Incidents", "/")
	b.stat("Awaiting approval", "Plans that are neither approved nor rejected.", "short", "0",
		zero("sum("+itself.of("upkeep_runs_active", `state="`+string(remediate.AwaitingApproval)+`"`)+")")).
		any("UpkeepPlanUnanswered").page("Runs", "/")
	b.stat("Next limit reached", "Time until the first file system, memory or number of connections reaches its "+
		"limit, "+
		"at the growth of the last four weeks.", "s", "no trend",
		"min("+itself.recorded(likely, `resource!="cpu"`)+")").below("CapacityExhaustedSoon")
	b.stat("Oldest backup", "Age of the newest backup, of the server for which it is oldest.", "s", "no backups known",
		"max(time() - "+itself.of("upkeep_backup_last_timestamp_seconds")+")").alert("BackupOld")
	b.stat("Resolved", "Runs in the selected range that brought the metric back within its limit.", "short", "0",
		became(remediate.Resolved)).page("Runs", "/")
	b.stat("Not resolved", "Runs in the selected range that failed or did not help.", "short", "0",
		became(remediate.Failed, remediate.Unresolved)).from(1, "orange").page("Runs", "/")
	b.stat("Runs under way", "Runs that have not ended, waiting ones included.", "short", "0",
		zero("sum("+itself.of("upkeep_runs_active")+")")).from(1, "blue").page("Runs", "/")
	b.stat("Pauses", "Active pauses: upkeep does not act in their scope.", "short", "0",
		zero("count("+itself.of("upkeep_paused")+")")).from(1, "orange").page("Pauses", "/")
	b.stat("Failing collectors", "What they report is unknown. The log and upkeep status show the error.", "short", "0",
		zero("count("+anyFails()+" == 0)")).any("UpkeepCollectorFailing")
	b.stat("Security updates", "Installed packages with a pending security update, on all hosts.", "short", "not known",
		"sum("+machines.of("upkeep_host_updates_pending", `kind="security"`)+")").any("HostSecurityUpdatesPending")
}

func overviewTargets(b *board) {
	b.row("Targets")
	b.states(12, "Availability of servers", "Whether PostgreSQL, Redis and Docker answer.", [2]string{"up", "down"},
		line{servers.of("upkeep_postgres_up"), "PostgreSQL {{server}}"},
		line{caches.of("upkeep_redis_up"), "Redis {{server}}"},
		line{engines.of("upkeep_docker_up"), "Docker {{server}}"}).runbook("PostgresDown")
	b.states(12, "Health of services", "Whether probed services answer with the expected status.",
		[2]string{"healthy", "unhealthy"}, line{probes.of("upkeep_probe_healthy"), "{{server}}"}).
		to(toProbe).runbook("ServiceUnhealthy")
	b.graph(8, "CPU of hosts", "Busy share of all processors.", "percentunit",
		line{busy(machines), "{{server}}"}).share().to(toHost)
	b.graph(8, "Memory of hosts", "Share that is not available to programs.", "percentunit",
		line{machines.of("upkeep_host_memory_used_ratio"), "{{server}}"}).share().to(toHost)
	b.graph(8, "Memory of Redis", "Used share of maxmemory.", "percentunit",
		line{caches.of("upkeep_redis_memory_used_ratio"),
			"{{server}}"}).share().alert("RedisMemoryNearLimit").to(toRedis)
	b.graph(8, "Connections of PostgreSQL", "Used share of max_connections.", "percentunit",
		line{servers.of("upkeep_postgres_connections_used_ratio"), "{{server}}"}).share().
		alert("PostgresConnectionsNearLimit").to(toServer)
	b.graph(8, "Oldest transaction", "While it is open, vacuum cannot remove rows that it may still see.", "s",
		line{servers.of("upkeep_postgres_oldest_transaction_seconds"), "{{server}}"}).
		alert("PostgresTransactionOld").to(toServer)
	b.graph(8, "Errors in logs", "Share of the log lines of a service.", "percentunit",
		line{engines.recorded("service:upkeep_logs_errors:ratio_rate5m"), "{{server}} {{service}}"}).share().
		alert("ServiceErrors").to(toLog)
}

func overviewSpace(b *board) {
	b.row("Space and upkeep of tables")
	b.graph(12, "File systems", "Used share, as df counts: space reserved for root is not available.", "percentunit",
		line{machines.of("upkeep_host_filesystem_used_ratio"), "{{server}} {{mountpoint}}"}).share().
		alert("HostFilesystemFilling").to(toHost)
	b.table(12, "Limits reached within 90 days", "At the growth of the last four weeks. Without a trend nothing is "+
		"shown; upkeep forecast lists the rest.", []column{{"time", "s",
		itself.recorded(likely, `resource!="cpu"`) + " < 90 * 86400"}},
		"resource", "server", "mountpoint").below("CapacityExhaustedSoon").smallest().to(toResource)
	b.graph(12, "Dead rows, ten worst tables", "Share of a table's rows that no transaction needs. VACUUM removes "+
		"them.",
		"percentunit", line{top("10", servers.of("upkeep_postgres_table_dead_ratio")+" and "+
			servers.of("upkeep_postgres_table_dead_rows")+" > 10000"), "{{server}} {{database}} {{schema}}.{{table}}"}).
		share().alert("PostgresDeadRows").to(toTable)
	b.graph(12, "Index bloat, ten worst indexes", "Unused share of an index, for indexes with more than 16 MiB of "+
		"bloat. REINDEX removes it.", "percentunit", line{top("10",
		servers.of("upkeep_postgres_index_bloat_ratio", `method="estimate"`)+" and "+
			servers.of("upkeep_postgres_index_bloat_bytes", `method="estimate"`)+" > 16777216"),
		"{{server}} {{database}} {{schema}}.{{index}}"}).share().alert("PostgresIndexBloat").to(toIndex)
}

func overviewItself(b *board) {
	b.row("upkeep")
	b.table(8, "Last runs that acted", "The last run of each action on each server that changed something. Its number "+
		"leads to the run.", []column{{"ago", "s", "time() - " + itself.of("upkeep_run_acted_timestamp_seconds")}},
		"action", "server", "run").run().smallest()
	b.graph(8, "Runs refused or waiting", "By reason, an hour.", "short",
		line{"3600 * " + summed("reason", "upkeep_run_refusals_total"), "{{reason}}"}).page("Runs", "/")
	b.table(8, "Failing collectors", "What they report is unknown. The log and upkeep status show the error.",
		[]column{{"success", "short", anyFails() + " == 0"}}, "collector", "server").
		words("succeeds", "fails").runbook("UpkeepCollectorFailing")
	b.graph(24, "Collection time", "Duration of each collector.", "s",
		line{itself.of("upkeep_collector_duration_seconds"), "{{collector}} {{server}}"}).page("Collectors", "/")
}

// busy is the share of the time of all processors in which they worked.
func busy(s scope) string {
	const cpu = "upkeep_host_cpu_seconds_total"
	return "1 - sum by (server) (" + s.rate(cpu, `mode=~"idle|iowait"`) + ") / sum by (server) (" + s.rate(cpu) + ")"
}

// anyFails is 0 where a collector fails on any of the replicas.
func anyFails() string {
	return "min without (instance) (" + itself.raw("upkeep_collector_success") + ")"
}
