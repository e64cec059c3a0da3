package main

// machine is the page of the hosts: processors, memory, disks, network, file systems, packages.
func machine(rules map[string]rule) *board {
	b := begin(rules, "upkeep-host", "host", "Hosts: processors, memory, disks, network, file systems, packages.",
		machines,
		choice("host", "Host", itself, "upkeep_host_cpus", "server"))
	b.restarts(machines, "upkeep_host_boot_timestamp_seconds")
	hostNow(b)
	hostWork(b)
	hostDevices(b)
	hostFiles(b)
	return b
}

func hostNow(b *board) {
	b.row("Now")
	b.stat("CPU", "Busy share of all processors over the selected range, of the busiest host.", "percentunit",
		"not known", "max(1 - sum by (server) ("+machines.grown("upkeep_host_cpu_seconds_total", `mode=~"idle|iowait"`)+
			") / sum by (server) ("+machines.grown("upkeep_host_cpu_seconds_total")+"))")
	b.stat("Memory", "Share that is not available to programs, of the host with the largest.", "percentunit",
		"not known", "max("+machines.of("upkeep_host_memory_used_ratio")+")")
	b.stat("Fullest file system", "As df counts.", "percentunit", "not known",
		"max("+machines.of("upkeep_host_filesystem_used_ratio")+")").alert("HostFilesystemFilling")
	b.stat("OOM kills", "In the selected range: processes that the kernel killed because memory was used up.", "short",
		"0", zero("round(sum("+machines.grown("upkeep_host_oom_kills_total")+"))")).from(1, "red").
		runbook("ContainerOutOfMemory")
	b.stat("Security updates", "Installed packages with a pending security update.", "short", "not known",
		"sum("+machines.of("upkeep_host_updates_pending", `kind="security"`)+")").any("HostSecurityUpdatesPending")
	b.stat("Reboot required", "Hosts on which an installed update takes effect with the next start.", "short",
		"not known", "sum("+machines.of("upkeep_host_reboot_required")+")").any("HostRebootRequired")
}

func hostWork(b *board) {
	b.row("Processors and memory")
	const cpu = "upkeep_host_cpu_seconds_total"
	b.graph(8, "CPU", "Share of the time of all processors, by mode.", "percentunit",
		line{"sum by (server, mode) (" + machines.rate(cpu, `mode!="idle"`) +
			") / on (server) group_left () sum by (server) (" + machines.rate(cpu) + ")",
			"{{server}} {{mode}}"}).share()
	b.graph(8, "Load average", "Over fifteen minutes, for each processor. Above 1 processes wait.", "short",
		line{machines.of("upkeep_host_load_average", `over="15m"`) + " / on (job, server) " +
			machines.of("upkeep_host_cpus"), "{{server}}"}).from(1, "orange")
	b.graph(8, "Pressure", "Share of the time in which some, or all (full), processes waited for a processor, for "+
		"memory, or for a disk.", "percentunit",
		line{machines.rate("upkeep_host_pressure_seconds_total"), "{{server}} {{resource}} {{stalled}}"}).share()
	b.graph(8, "Memory", "Share that is not available to programs.", "percentunit",
		line{machines.of("upkeep_host_memory_used_ratio"), "{{server}}"}).share()
	b.graph(8, "Memory in bytes", "Size, and what programs can get without swapping.", "bytes",
		line{machines.of("upkeep_host_memory_size_bytes"), "{{server}} size"},
		line{machines.of("upkeep_host_memory_available_bytes"), "{{server}} available"})
	b.graph(8, "OOM kills", "Processes that the kernel killed because memory was used up, an hour.", "short",
		line{machines.hourly("upkeep_host_oom_kills_total"), "{{server}}"}).runbook("ContainerOutOfMemory")
	b.graph(8, "Swap", "Bytes a second that are read back and written; a steady rate means that memory is too small.",
		"Bps",
		line{machines.rate("upkeep_host_swap_read_bytes_total"), "{{server}} read"},
		line{machines.rate("upkeep_host_swap_written_bytes_total"), "{{server}} written"})
	b.graph(8, "Swap space", "Used, and its size.", "bytes",
		line{machines.of("upkeep_host_swap_used_bytes"), "{{server}} used"},
		line{machines.of("upkeep_host_swap_size_bytes"), "{{server}} size"})
	b.graph(8, "Processes", "That run or are ready to, and that wait for a disk.", "short",
		line{machines.of("upkeep_host_processes"), "{{server}} {{state}}"})
}

func hostDevices(b *board) {
	b.row("Disks and network")
	operations := machines.rate("upkeep_host_disk_operations_total")
	b.graph(8, "Disk throughput", "Bytes a second.", "Bps",
		line{machines.rate("upkeep_host_disk_bytes_total"), "{{server}} {{device}} {{direction}}"})
	b.graph(8, "Disk operations", "A second.", "iops", line{operations, "{{server}} {{device}} {{direction}}"})
	b.graph(8, "Disk latency", "Mean time of an operation, its time in the queue included.", "s",
		line{machines.rate("upkeep_host_disk_wait_seconds_total") + " / (" + operations + " > 0)",
			"{{server}} {{device}} {{direction}}"})
	b.graph(8, "Disk utilisation", "Share of the time in which the disk had something to do.", "percentunit",
		line{machines.rate("upkeep_host_disk_busy_seconds_total"), "{{server}} {{device}}"}).share()
	b.graph(8, "Network throughput", "Bytes a second.", "Bps",
		line{machines.rate("upkeep_host_network_bytes_total"), "{{server}} {{device}} {{direction}}"})
	b.graph(8, "Network errors", "Packets a second that were damaged or dropped.", "pps",
		line{machines.rate("upkeep_host_network_errors_total"), "{{server}} {{device}} {{direction}} errors"},
		line{machines.rate("upkeep_host_network_dropped_total"), "{{server}} {{device}} {{direction}} dropped"})
}

func hostFiles(b *board) {
	b.row("File systems and packages")
	b.graph(8, "File systems", "Used share, as df counts: space reserved for root is not available.", "percentunit",
		line{machines.of("upkeep_host_filesystem_used_ratio"), "{{server}} {{mountpoint}}"}).share().
		alert("HostFilesystemFilling").to(toSpace)
	b.graph(8, "Inodes", "Used share.", "percentunit",
		line{machines.of("upkeep_host_filesystem_inodes_used_ratio"), "{{server}} {{mountpoint}}"}).share().
		alert("HostInodesFilling")
	b.table(8, "Time to full", "At the growth of the last four weeks. Nothing is shown without a trend.",
		[]column{{"time", "s", machines.recorded("upkeep:capacity_seconds_to_limit:likely", `resource="filesystem"`)},
			{"a day", "bytes", machines.recorded("upkeep:capacity_growth_per_day:median28d", `resource="filesystem"`)}},
		"server", "mountpoint").runbook("HostFilesystemFullSoon").smallest().to(toResource)
	b.table(8, "Pending updates", "Installed packages that an upgrade would renew now.",
		[]column{{"updates", "short", machines.of("upkeep_host_updates_pending")}}, "server", "kind").
		runbook("HostSecurityUpdatesPending")
	b.table(8, "Updates held back", "An upgrade leaves them out: on hold, or phased.",
		[]column{{"updates", "short", machines.of("upkeep_host_updates_held_back")}}, "server", "kind", "reason").
		runbook("HostSecurityUpdatesHeld")
	b.table(8, "Failed units", "Units of systemd; empty while none has failed.",
		[]column{{"failed", "short", machines.of("upkeep_host_unit_failed")}}, "server", "unit").
		runbook("HostUnitFailed")
	b.table(8, "Age of package lists", "Updates that came later are not known.",
		[]column{{"age", "s", "time() - " + machines.of("upkeep_host_package_lists_timestamp_seconds")}}, "server").
		alert("HostPackageListsOld")
	b.table(8, "Vulnerable packages of services",
		"Known vulnerabilities, by their level; skipped packages are not in it.",
		[]column{{"vulnerabilities", "short", itself.of("upkeep_packages_vulnerabilities")}}, "server", "level").
		runbook("PackagesVulnerable")
	b.table(8, "File systems without an answer", "upkeep may not read them, does not see them, or they hang or fail.",
		[]column{{"unread", "short", machines.of("upkeep_host_filesystem_unread")}}, "server", "mountpoint", "reason").
		runbook("HostFilesystemUnread")
}
