package main

// machine is the page of the machines: their processors, memory, disks, network and file systems.
func machine(limit map[string]float64) dashboard {
	l := new(layout)
	hostWork(l)
	hostDevices(l)
	l.row("File systems")
	l.add(12, 8, graph("Used", "As df counts: space reserved for root is not available.", "percentunit",
		levels(from(limit["HostFilesystemFilling"], "red")),
		line{on("upkeep_host_filesystem_used_ratio"), "{{server}} {{mountpoint}}"}))
	l.add(12, 8, graph("Inodes", "Used share of the inodes.", "percentunit",
		levels(from(limit["HostInodesFilling"], "red")),
		line{on("upkeep_host_filesystem_inodes_used_ratio"), "{{server}} {{mountpoint}}"}))
	d := page("upkeep-host", "upkeep: host", "Processors, memory, disks, network and file systems of the machines.", l)
	d.Templating.List = []variable{d.Templating.List[0],
		choice("server", "Server", `label_values(upkeep_host_cpus, server)`)}
	return d
}

func hostWork(l *layout) {
	l.row("Processors and memory")
	seconds := on("upkeep_host_cpu_seconds_total")
	l.add(12, 8, graph("CPU", "Share of the time of all processors, by mode.", "percentunit", levels(),
		line{"sum by (server, mode) (rate(" + on("upkeep_host_cpu_seconds_total", `mode!="idle"`) +
			"[$__rate_interval])) / on (server) group_left () sum by (server) (rate(" + seconds +
			"[$__rate_interval]))",
			"{{server}} {{mode}}"}))
	l.add(12, 8, graph("Load average", "Over fifteen minutes, for each processor. Above 1 processes wait.", "short",
		levels(from(1, "orange")),
		line{on("upkeep_host_load_average", `over="15m"`) + " / on (server) " + on("upkeep_host_cpus"), "{{server}}"}))
	l.add(12, 8, graph("Memory", "Share that is not available to programs.", "percentunit", levels(),
		line{on("upkeep_host_memory_used_ratio"), "{{server}}"}))
	l.add(12, 8, graph("Memory in bytes", "Size, and what programs can get without swapping.", "bytes", levels(),
		line{on("upkeep_host_memory_size_bytes"), "{{server}} size"},
		line{on("upkeep_host_memory_available_bytes"), "{{server}} available"}))
	l.add(12, 8, graph("Swap", "Bytes per second that are read back and written; a steady rate means that memory is "+
		"too small.", "Bps", levels(),
		line{rate("upkeep_host_swap_read_bytes_total"), "{{server}} read"},
		line{rate("upkeep_host_swap_written_bytes_total"), "{{server}} written"}))
	l.add(6, 8, graph("Swap space", "Used.", "bytes", levels(),
		line{on("upkeep_host_swap_used_bytes"), "{{server}}"}))
	l.add(6, 8, graph("OOM kills", "Processes that the kernel killed because memory was used up, per hour.", "short",
		levels(from(1, "red")),
		line{"increase(" + on("upkeep_host_oom_kills_total") + "[1h])", "{{server}}"}))
	l.add(24, 8, graph("Pressure", "Share of the time in which some, or all (full), processes waited for a processor, "+
		"for memory, or for a disk.", "percentunit", levels(),
		line{rate("upkeep_host_pressure_seconds_total"), "{{server}} {{resource}} {{stalled}}"}))
}

func hostDevices(l *layout) {
	l.row("Disks and network")
	operations := rate("upkeep_host_disk_operations_total")
	l.add(12, 8, graph("Disk throughput", "Bytes per second.", "Bps", levels(),
		line{rate("upkeep_host_disk_bytes_total"), "{{server}} {{device}} {{direction}}"}))
	l.add(12, 8, graph("Disk operations", "Per second.", "iops", levels(),
		line{operations, "{{server}} {{device}} {{direction}}"}))
	l.add(12, 8, graph("Disk latency", "Mean time of an operation, its time in the queue included.", "s", levels(),
		line{rate("upkeep_host_disk_wait_seconds_total") + " / (" + operations + " > 0)",
			"{{server}} {{device}} {{direction}}"}))
	l.add(12, 8, graph("Disk utilisation", "Share of the time in which the disk had something to do.", "percentunit",
		levels(),
		line{rate("upkeep_host_disk_busy_seconds_total"), "{{server}} {{device}}"}))
	l.add(12, 8, graph("Network throughput", "Bytes per second.", "Bps", levels(),
		line{rate("upkeep_host_network_bytes_total"), "{{server}} {{device}} {{direction}}"}))
	l.add(12, 8, graph("Network errors", "Packets per second that were damaged or dropped.", "pps", levels(),
		line{rate("upkeep_host_network_errors_total"), "{{server}} {{device}} {{direction}} errors"},
		line{rate("upkeep_host_network_dropped_total"), "{{server}} {{device}} {{direction}} dropped"}))
}
