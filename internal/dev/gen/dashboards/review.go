package main

import "github.com/ai-micro-service/upkeep/remediate"

// review is the page for the monthly review: the selected range beside the one before it.
func review(rules map[string]rule) *board {
	b := begin(rules, "upkeep-review", "monthly review",
		"The selected range, a month by default, beside the one before: "+
			"availability, latency, statements, growth, runs, open decisions. upkeep must have run, and Prometheus "+
			"have kept "+
			"its samples, for both.", servers,
		append(postgresChoices(),
			choice("redis", "Redis", itself, "upkeep_redis_up", "server"),
			choice("probe", "Probe", itself, "upkeep_probe_healthy", "server"),
			choice("policy", "Policy", itself, "upkeep_policy_runs_total", "policy"),
			ownQueries())...)
	b.Time, b.Refresh = timeRange{From: "now-30d", To: "now"}, ""
	reviewCoverage(b)
	reviewServices(b)
	reviewDatabases(b)
	reviewGrowth(b)
	reviewRuns(b)
	return b
}

func reviewCoverage(b *board) {
	b.row("How much of the range the samples cover")
	covered := func(s scope, metric, offset string) string {
		return "max(count_over_time(" + s.raw(metric) + "[$__range:5m]" + offset + ")) * 300 / $__range_s"
	}
	b.stat("upkeep", "Share of the selected range in which upkeep was scraped. Figures below are of that share only.",
		"percentunit", "no samples", "clamp_max("+covered(itself, "upkeep_build_info", "")+", 1)")
	b.stat("The range before", "Share of the range before in which upkeep was scraped. Below 1, compare with care.",
		"percentunit", "no samples", "clamp_max("+covered(itself, "upkeep_build_info", " offset $__range")+", 1)")
	b.stat("Runs that resolved", "In the selected range.", "short", "0", became(remediate.Resolved)).page("Runs", "/")
	b.stat("Runs that did not", "Failed, or did not help.", "short", "0",
		became(remediate.Failed, remediate.Unresolved)).from(1, "orange").page("Runs", "/")
	b.stat("Oldest backup", "Age of the newest backup, of the server for which it is oldest.", "s", "no backups known",
		"max(time() - "+itself.of("upkeep_backup_last_timestamp_seconds")+")").alert("BackupOld")
	b.stat("Oldest restore", "Since a backup was last restored and found good, of the server for which that is "+
		"longest.",
		"s", "never", "max(time() - "+itself.of("upkeep_backup_verified_timestamp_seconds")+")").
		runbook("BackupUnverified")
}

func reviewServices(b *board) {
	const requests, errors, buckets = "job:http_requests:rate5m", "job:http_requests_errors:rate5m",
		"job_le:http_request_duration_seconds_bucket:rate5m"
	p95 := func(offset string) string {
		return "histogram_quantile(0.95, avg_over_time(" + buckets + "[$__range]" + offset + "))"
	}
	failed := func(offset string) string {
		return "avg_over_time(" + errors + "[$__range]" + offset + ") / (avg_over_time(" + requests + "[$__range]" +
			offset + ") > 0)"
	}
	const before = " offset $__range"
	b.row("Services")
	b.table(8, "Availability", "Share of the probes that were answered as expected.", []column{
		{"available", "percentunit", once("avg_over_time(" + probes.raw("upkeep_probe_healthy") + "[$__range])")},
		{"before", "percentunit", once("avg_over_time(" + probes.raw("upkeep_probe_healthy") +
			"[$__range] offset $__range)")},
	}, "server").runbook("ServiceUnhealthy").smallest().to(toProbe)
	b.table(8, "API latency p95", "Of scraped services, over the whole range.",
		[]column{{"p95", "s", p95("")}, {"before", "s", p95(before)}}, "job").showing("job").alert("ApiLatencyHigh")
	b.table(8, "API error rate", "Share of the requests to scraped services with a 5xx status, over the whole range.",
		[]column{{"errors", "percentunit", failed("")}, {"before", "percentunit", failed(before)}}, "job").
		showing("job").alert("ApiErrorRateHigh")
}

func reviewDatabases(b *board) {
	s := scope(databases.with(`user!~"$leave_out"`))
	const by = "sum by (job, server, database, user, queryid) ("
	seconds := func(of func(string) string) string {
		return by + of("upkeep_postgres_statement_seconds_total") + ")"
	}
	calls := func(of func(string) string) string {
		return by + of("upkeep_postgres_statement_calls_total") + ")"
	}
	slowest := top("10", seconds(s.spent)+" > 0")
	b.row("Databases")
	b.table(24, "Ten statements that took the most time",
		"By total execution time in the range, beside the range before.", []column{
			{"total time", "s", named(slowest)},
			{"before", "s", named(seconds(s.spentBefore) + " and " + slowest)},
			{"mean time", "s", named(slowest + " / " + calls(s.spent))},
			{"mean time before", "s", named(seconds(s.spentBefore) + " / (" + calls(s.spentBefore) + " > 0) and " +
				slowest)},
			{"calls", "short", named(calls(s.spent) + " and " + slowest)},
		}, "query", "server", "database", "user", "queryid").to(toStatement)
	b.table(24, "Ten most changed statements", "By the difference of their total execution time to the range before; "+
		"new ones included.", []column{
		{"change", "s", named(top("10",
			"abs("+seconds(s.spent)+" - ("+seconds(s.spentBefore)+" or 0 * "+seconds(s.spent)+"))"))},
	}, "query", "server", "database", "user", "queryid").to(toStatement)
	hits, misses := "upkeep_redis_keyspace_hits_total", "upkeep_redis_keyspace_misses_total"
	b.table(8, "Redis hit ratio", "Share of reads that found their key.", []column{
		{"hit ratio", "percentunit", hitRatio(caches.grown(hits), caches.grown(misses), "server")},
		{"before", "percentunit", hitRatio(caches.before(hits), caches.before(misses), "server")},
	}, "server").to(toRedis)
	sum := func(metric, offset string) string {
		return "sum by (server, database) (" + once(databases.raw(metric, `method="estimate"`)+offset) + ")"
	}
	b.table(8, "Bloat", "Of tables and indexes, now and a range ago.", []column{
		{"tables", "bytes", sum("upkeep_postgres_table_bloat_bytes", "")},
		{"tables before", "bytes", sum("upkeep_postgres_table_bloat_bytes", " offset $__range")},
		{"indexes", "bytes", sum("upkeep_postgres_index_bloat_bytes", "")},
		{"indexes before", "bytes", sum("upkeep_postgres_index_bloat_bytes", " offset $__range")},
	}, "server", "database").runbook("PostgresTableBloat").to(toDatabase)
	b.table(8, "Indexes to decide on", "Bytes of indexes that no query uses, or that another one covers.", []column{
		{"unused", "bytes", "sum by (server, database) (" + databases.of("upkeep_postgres_index_unused_bytes") + ")"},
		{"duplicate", "bytes", "sum by (server, database) (" +
			databases.of("upkeep_postgres_index_duplicate_bytes") + ")"},
	}, "server", "database").runbook("PostgresIndexUnused").to(toDatabase)
}

func reviewGrowth(b *board) {
	const inBytes = `resource!~"connections|cpu|inodes"`
	b.row("Growth and limits")
	b.table(12, "Grown most in the range", "File systems, databases, tables, logs and memory.", []column{
		{"growth", "bytes", top("20", itself.recorded(dailyUsed, inBytes)+" - last_over_time("+dailyUsed+"{"+inBytes+
			"}[1d] offset $__range)")}}, subjectLabels()...).to(toResource)
	b.table(12, "Time to the limit", "At the median growth of four weeks, and at the pace of the fastest weeks. "+
		withoutData, []column{{"likely", "s", itself.recorded(likely)},
		{"soonest", "s", itself.recorded(soonest)}}, "resource", "server", "mountpoint").
		below("CapacityExhaustedSoon").smallest().to(toResource)
}

func reviewRuns(b *board) {
	b.row("What upkeep did, and what is left to decide")
	b.table(8, "Runs", "Final states of the runs of each policy, in the range.",
		[]column{{"runs", "short", inStore(policyRuns) + " > 0"}}, "policy", "action", "outcome").to(toPolicy)
	b.table(8, "Repeat offenders", "Incidents that were resolved and came back within a day: the cause is not fixed.",
		[]column{{"came back", "short", inStore("upkeep_policy_came_back_total") + " > 0"}}, "policy", "action").
		to(toPolicy)
	b.table(8, "Packages", "Pending updates of hosts, by kind.",
		[]column{{"updates", "short", itself.of("upkeep_host_updates_pending")}}, "server", "kind").
		runbook("HostSecurityUpdatesPending").to(toHost)
	b.stat("Awaiting approval", "Plans that are neither approved nor rejected.", "short", "0",
		zero("sum("+itself.of("upkeep_runs_active", `state="`+string(remediate.AwaitingApproval)+`"`)+")")).
		any("UpkeepPlanUnanswered").page("Runs", "/")
	b.stat("Demoted policies", "Policies whose runs need approval, because too few of them helped or a person "+
		"demoted them.", "short", "0",
		zero("count("+policies.of("upkeep_policy_demoted")+")")).any("UpkeepPolicyDemoted")
	b.stat("Vulnerabilities", "Known ones of the packages of services: critical, high, and of no level.",
		"short", "no reports",
		"sum("+itself.of("upkeep_packages_vulnerabilities", `level=~"critical|high|unknown"`)+")").
		any("PackagesVulnerable")
}
