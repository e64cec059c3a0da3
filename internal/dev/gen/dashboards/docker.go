package main

// docker is the page of containers, of what services log, and of their health.
func docker(rules map[string]rule) *board {
	b := begin(rules, "upkeep-docker", "Docker & logs",
		"Services: health, requests, errors; containers, images, log files.",
		engines,
		choice("engine", "Engine", itself, "upkeep_docker_up", "server"),
		choice("container", "Container", engines, "upkeep_docker_container_info", "container"),
		choice("logserver", "Server of logs", itself, "upkeep_logs_lines_total", "server"),
		choice("log", "Service in logs", logServers, "upkeep_logs_lines_total", "service"),
		choice("probe", "Probe", itself, "upkeep_probe_healthy", "server"))
	dockerNow(b)
	dockerServices(b)
	dockerLogs(b)
	dockerContainers(b)
	return b
}

func dockerNow(b *board) {
	b.row("Now")
	b.stat("Engines down", "Docker engines that do not answer.", "short", "0",
		zero("count("+engines.of("upkeep_docker_up")+" == 0)")).any("DockerDown")
	b.stat("Services unhealthy", "Probed services that do not answer, or not with the expected status.", "short", "0",
		zero("count("+probes.of("upkeep_probe_healthy")+" == 0)")).any("ServiceUnhealthy")
	b.stat("Containers running", "Of those that are chosen.", "short", "0",
		zero("sum("+containers.of("upkeep_docker_container_running")+")"))
	b.stat("Containers unhealthy", "Their health check fails.", "short", "0",
		zero("sum("+containers.of("upkeep_docker_container_unhealthy")+")")).any("ContainerUnhealthy")
	b.stat("OOM-killed", "Containers that were ended the last time since their memory was used up.", "short", "0",
		zero("sum("+containers.of("upkeep_docker_container_oom_killed")+")")).any("ContainerOutOfMemory")
	b.stat("Reclaimable", "Bytes of images and build cache that no container uses, of the engine with the most.",
		"bytes",
		"not known", "max("+engines.of("upkeep_docker_disk_reclaimable_bytes", `type=~"images|build_cache"`)+")").
		alert("DockerDiskReclaimable")
}

func dockerServices(b *board) {
	b.row("Services")
	b.states(8, "Health", "Whether a service answers with the expected status.", [2]string{"healthy", "unhealthy"},
		line{probes.of("upkeep_probe_healthy"), "{{server}}"}).runbook("ServiceUnhealthy")
	b.graph(8, "Response time of probes", "To the last byte.", "s",
		line{probes.of("upkeep_probe_duration_seconds"), "{{server}}"}).alert("ServiceAnswersSlowly")
	b.table(8, "Probes", "Status of the last answer, and time until the certificate expires.",
		[]column{{"certificate", "s", probes.of("upkeep_probe_tls_expiry_timestamp_seconds") + " - time()"},
			{"status", "none", probes.of("upkeep_probe_http_status")}},
		"server").below("CertificateEndsSoon").smallest()
	b.table(8, "Why probes fail", "The phase in which they fail, and the reason; empty while all services are healthy.",
		[]column{{"failing", "short", probes.of("upkeep_probe_failure")}}, "server", "phase", "reason").
		runbook("ServiceUnhealthy")
	b.graph(8, "API requests", "A second, of scraped services.", "reqps",
		line{itself.recorded("job:http_requests:rate5m"), "{{job}}"})
	b.graph(8, "API latency p95", "Of scraped services, over five minutes.", "s",
		line{itself.recorded("job:http_request_duration_seconds:p95_rate5m"), "{{job}}"}).alert("ApiLatencyHigh")
	b.graph(8, "API error rate", "Share of the requests to scraped services with a 5xx status.", "percentunit",
		line{itself.recorded("job:http_requests_errors:ratio_rate5m"), "{{job}}"}).share().alert("ApiErrorRateHigh")
}

func dockerLogs(b *board) {
	b.row("Logs of services")
	b.graph(8, "Requests", "A second, from the log lines.", "reqps",
		line{"sum by (server, service) (" + logs.rate("upkeep_logs_requests_total") + ")", "{{server}} {{service}}"})
	b.graph(8, "Latency p95", "Of requests, from the log lines.", "s",
		line{logs.recorded("service:upkeep_logs_request_duration_seconds:p95_rate5m"), "{{server}} {{service}}"}).
		alert("ServiceRequestsSlow")
	b.graph(8, "Errors", "Share of the log lines at the level error or above.", "percentunit",
		line{logs.recorded("service:upkeep_logs_errors:ratio_rate5m"), "{{server}} {{service}}"}).share().
		alert("ServiceErrors")
	b.graph(8, "Slow requests", "Share of the requests.", "percentunit",
		line{logs.recorded("service:upkeep_logs_slow_requests:ratio_rate5m"), "{{server}} {{service}}"}).share().
		alert("ServiceManySlowRequests")
	b.graph(8, "Lines", "Log lines a second, those that are not JSON, and files that were missed.", "ops",
		line{logs.rate("upkeep_logs_lines_total"), "{{server}} {{service}}"},
		line{logs.rate("upkeep_logs_plain_lines_total"), "{{server}} {{service}} not JSON"},
		line{logs.rate("upkeep_logs_missed_files_total"), "{{server}} {{service}} missed files"}).
		alert("ServiceLogsMissed")
	b.table(8, "Endpoints", "Requests in the selected range; ids are replaced by placeholders.",
		[]column{{"requests", "short", top("20", "round("+logs.grown("upkeep_logs_requests_total")+") > 0")}},
		"server", "service", "endpoint")
	b.table(24, "Errors by message", "In the selected range; ids, numbers and addresses are replaced by placeholders.",
		[]column{{"errors", "short", top("20", "round("+logs.grown("upkeep_logs_error_messages_total")+") > 0")}},
		"server", "service", "template").runbook("ServiceErrors")
}

func dockerContainers(b *board) {
	b.row("Containers")
	info := "on (job, server, container) group_left (service, project, image) " +
		containers.of("upkeep_docker_container_info")
	b.table(24, "Containers", "Uptime and age of the image of each, with its Compose service and project.",
		[]column{
			{"running", "short", containers.of("upkeep_docker_container_running") + " * " + info},
			{"uptime", "s", "(time() - " + containers.of("upkeep_docker_container_start_timestamp_seconds") +
				") * " + info},
			{"age of image", "s", "(time() - " +
				containers.of("upkeep_docker_container_image_created_timestamp_seconds") + ") * " + info},
		}, "server", "container", "service", "project", "image").words("runs", "does not run").to(toContainer)
	b.table(8, "Stopped containers", "Their exit codes.",
		[]column{{"exit code", "none", containers.of("upkeep_docker_container_exit_code")}}, "server", "container").
		runbook("ContainerRestarts")
	b.graph(8, "Restarts", "By the restart policy, an hour.", "short",
		line{containers.hourly("upkeep_docker_container_restarts_total"), "{{server}} {{container}}"}).
		runbook("ContainerRestarts")
	b.graph(8, "Docker's disk", "By type, and the reclaimable part.", "bytes",
		line{engines.of("upkeep_docker_disk_used_bytes"), "{{server}} {{type}}"},
		line{engines.of("upkeep_docker_disk_reclaimable_bytes"), "{{server}} {{type}} reclaimable"}).
		alert("DockerDiskReclaimable").to(toEngine)
	b.graph(8, "Log files", "The ten largest, rotated files included.", "bytes",
		line{top("10", containers.of("upkeep_docker_log_size_bytes")), "{{server}} {{container}}"}).
		alert("ContainerLogLarge").to(toContainer)
	b.table(8, "Log files without a limit", "They grow until the disk is full: set max-size.",
		[]column{{"size", "bytes", containers.of("upkeep_docker_log_size_bytes") + " and " +
			containers.of("upkeep_docker_log_rotated") + " == 0"}}, "server", "container").
		runbook("ContainerLogLarge").to(toContainer)
	b.table(8, "Fastest growing log files", "Bytes a day, median of four weeks. A rotated file does not grow.",
		[]column{{"a day", "bytes", top("20", containers.recorded("upkeep:capacity_growth_per_day:median28d",
			`resource="log"`))}}, "server", "container").to(toResource)
}
