package main

// services is the page for operators of the services, their machines and their backups.
func services(limit map[string]float64) dashboard {
	l := new(layout)
	l.row("Services")
	l.add(8, 8, graph("Health", "1 if a service is healthy.", "short", levels(),
		line{on("upkeep_probe_healthy"), "{{server}}"}))
	l.add(8, 8, graph("Health check latency", "To the last byte.", "s",
		levels(from(limit["ServiceAnswersSlowly"], "red")),
		line{on("upkeep_probe_duration_seconds"), "{{server}}"}))
	l.add(8, 8, table("Certificates", "Days until they expire.", "d", "days", levels(),
		"("+on("upkeep_probe_tls_expiry_timestamp_seconds")+" - time()) / 86400", "server"))
	l.add(12, 8, graph("Requests", "Per second, from the services' logs.", "reqps", levels(),
		line{"sum by (server, service) (" + rate("upkeep_logs_requests_total") + ")", "{{server}} {{service}}"}))
	l.add(12, 8, graph("Request latency p95", "From the services' logs.", "s",
		levels(from(limit["ServiceRequestsSlow"], "red")),
		line{on("service:upkeep_logs_request_duration_seconds:p95_rate5m"), "{{server}} {{service}}"}))
	l.add(12, 8, graph("Errors", "Share of the log lines.", "percentunit", levels(from(limit["ServiceErrors"], "red")),
		line{on("service:upkeep_logs_errors:ratio_rate5m"), "{{server}} {{service}}"}))
	l.add(12, 8, graph("Slow requests", "Share of the requests.", "percentunit",
		levels(from(limit["ServiceManySlowRequests"], "red")),
		line{on("service:upkeep_logs_slow_requests:ratio_rate5m"), "{{server}} {{service}}"}))
	l.add(12, 10, table("Errors by message", "In the selected range; ids, numbers and addresses are replaced by "+
		"placeholders.", "short", "errors", levels(),
		"topk(20, round(increase("+on("upkeep_logs_error_messages_total")+"[$__range])) > 0)", "server", "service",
		"template"))
	l.add(12, 10, table("Requests by endpoint", "In the selected range; ids are replaced by placeholders.", "short",
		"requests", levels(),
		"topk(20, round(increase("+on("upkeep_logs_requests_total")+"[$__range])) > 0)", "server", "service",
		"endpoint"))
	l.add(12, 8, graph("API latency p95", "Of scraped services, by job, over five minutes.", "s",
		levels(from(limit["ApiLatencyHigh"], "red")),
		line{"job:http_request_duration_seconds:p95_rate5m", "{{job}}"}))
	l.add(12, 8, graph("API error rate", "Share of the requests to scraped services with a 5xx status.", "percentunit",
		levels(from(limit["ApiErrorRateHigh"], "red")),
		line{"job:http_requests_errors:ratio_rate5m", "{{job}}"}))

	l.row("Containers")
	l.add(12, 8, table("Stopped containers", "Their exit codes.", "short", "exit code", levels(),
		on("upkeep_docker_container_exit_code")+" and on (server, container) "+
			on("upkeep_docker_container_running")+" == 0", "server", "container"))
	l.add(12, 8, table("Age of images", "Days since they were built.", "d", "days", levels(),
		"(time() - "+on("upkeep_docker_container_image_created_timestamp_seconds")+") / 86400", "server", "container"))
	l.add(12, 8, graph("Docker's disk", "By kind, and the reclaimable part.", "bytes", levels(),
		line{on("upkeep_docker_disk_used_bytes"), "{{server}} {{type}}"},
		line{on("upkeep_docker_disk_reclaimable_bytes"), "{{server}} {{type}} unused"}))
	l.add(12, 8, graph("Logs", "The ten largest.", "bytes", levels(from(limit["ContainerLogLarge"], "red")),
		line{"topk(10, " + on("upkeep_docker_log_size_bytes") + ")", "{{server}} {{container}}"}))
	l.add(12, 8, table("Logs without a limit", "Growth in bytes per hour.", "bytes", "an hour", levels(),
		"3600 * deriv("+on("upkeep_docker_log_size_bytes")+"[1h]) and on (server, container) "+
			on("upkeep_docker_log_rotated")+" == 0", "server", "container"))
	l.add(12, 8, graph("Restarts", "By the restart policy, per hour.", "short", levels(),
		line{"increase(" + on("upkeep_docker_container_restarts_total") + "[1h])", "{{server}} {{container}}"}))

	l.row("Backups")
	l.add(8, 8, table("Age of the newest backup", "Hours.", "h", "hours", levels(from(limit["BackupOld"]/3600, "red")),
		"(time() - "+on("upkeep_backup_last_timestamp_seconds")+") / 3600", "server", "stanza"))
	l.add(8, 8, table("Since a backup was restored", "Days; backups that were never restored are not shown.", "d",
		"days", levels(from(32, "red")),
		"(time() - "+on("upkeep_backup_verified_timestamp_seconds")+") / 86400", "server", "stanza"))
	l.add(8, 8, graph("Size of the newest backup", "A sudden drop may mean an incomplete backup.", "bytes", levels(),
		line{on("upkeep_backup_last_size_bytes"), "{{server}} {{stanza}}"}))

	l.row("Updates")
	l.add(12, 8, table("Packages of machines", "Pending updates.", "short", "updates", levels(),
		on("upkeep_host_updates_pending"), "server", "kind"))
	l.add(12, 8, table("Packages of services", "Known vulnerabilities.", "short", "vulnerabilities", levels(),
		on("upkeep_packages_vulnerabilities")+" > 0", "server", "level"))
	return page("upkeep-services", "upkeep: services", "Services, their containers, logs, backups and packages.", l)
}
