package main

const (
	ofResource  = "{{resource}} {{server}} {{database}} {{schema}} {{table}} {{container}} {{mountpoint}}"
	likely      = "upkeep:capacity_seconds_to_limit:likely"
	growth      = "upkeep:capacity_growth_per_day:median28d"
	fastest     = "upkeep:capacity_growth_per_day:p90_28d"
	dailyUsed   = "upkeep:capacity_used:day"
	usedRatio   = "upkeep:capacity_used:ratio_max1d"
	inBytes     = `resource!~"connections|cpu|inodes"`
	notInBytes  = `resource=~"connections|cpu|inodes"`
	mostOfADay  = "The most of each day; kept for 400 days."
	withoutData = "Nothing is shown without a trend, or with less than seven days of data."
)

// planning is the page for capacity planning: growth, limits and forecasts, a day at a time.
func planning(rules map[string]rule) *board {
	b := begin(rules, "upkeep-capacity", "capacity", "Growth, limits and forecasts of what fills up.",
		`server=~"$server"`,
		chosen("server", "Server", "label_values("+dailyUsed+", server)", ".*"),
		chosen("resource", "Resource", "label_values("+dailyUsed+`{server=~"$server"}, resource)`, ".*"))
	b.Time = timeRange{From: "now-90d", To: "now"}
	b.row("Limits")
	b.stat("Next limit reached", "Time until the first limit is reached, at the growth of the last four weeks.", "s",
		"no trend", "min("+capacity.recorded(likely)+")").below("CapacityExhaustedSoon")
	b.stat("Next file system full", "At the growth of the last four weeks.", "s", "no trend",
		"min("+capacity.recorded(likely, `resource="filesystem"`)+")").below("CapacityExhaustedSoon").
		runbook("HostFilesystemFullSoon")
	b.stat("Fullest", "Used share of its limit, most of the last 24 hours.", "percentunit", "not known",
		"max("+capacity.recorded(usedRatio)+")")
	b.stat("Growth of databases", "Bytes a day, median of four weeks, of those with a trend.", "bytes", "no trend",
		"sum("+capacity.recorded(growth, `resource="database"`)+")")
	b.stat("Growth of file systems", "Bytes a day, median of four weeks, of those with a trend.", "bytes", "no trend",
		"sum("+capacity.recorded(growth, `resource="filesystem"`)+")")
	b.stat("Days of history", "Daily values of the series with the most, in the last 400 days.", "short", "0",
		"max(count_over_time("+dailyUsed+"{"+string(capacity)+"}[400d]))")
	b.table(24, "Time to the limit", "At the median growth of four weeks, and at the pace of the fastest weeks. "+
		withoutData, []column{{"likely", "s", capacity.recorded(likely)},
		{"soonest", "s", capacity.recorded("upkeep:capacity_seconds_to_limit:soon")},
		{"used", "percentunit", capacity.recorded(usedRatio) + " and " + capacity.recorded(likely)}},
		subjectLabels()...).below("CapacityExhaustedSoon")
	b.graph(12, "Used share", "Most of the last 24 hours, of the limit.", "percentunit",
		line{capacity.recorded(usedRatio), ofResource}).share()
	b.graph(12, "Forecast", "How the time to the limit has changed. It should fall by a day each day.", "s",
		line{capacity.recorded(likely), ofResource}).below("CapacityExhaustedSoon")
	planningGrowth(b)
	return b
}

func planningGrowth(b *board) {
	b.row("Growth")
	b.graph(12, "Used", mostOfADay, "bytes", line{top("20", capacity.recorded(dailyUsed, inBytes)), ofResource})
	b.graph(12, "Used: connections, processors, inodes", mostOfADay+" Inodes are a share.", "short",
		line{top("20", capacity.recorded(dailyUsed, notInBytes)), ofResource})
	b.graph(12, "Growth a day", "Median of the weekly changes of four weeks.", "bytes",
		line{top("20", capacity.recorded(growth, inBytes)), ofResource}).free()
	b.table(12, "Growing most", "Bytes a day: the median of four weeks, and the fastest weeks.",
		[]column{{"a day", "bytes", top("20", capacity.recorded(growth, inBytes)+" > 0")},
			{"fastest weeks", "bytes", capacity.recorded(fastest, inBytes) + " > 0"}}, subjectLabels()...)
	b.table(12, "Week over week", "Change beside the same time a week ago.",
		[]column{{"change", "bytes", top("20", capacity.recorded("upkeep:capacity_used:change7d", inBytes))}},
		subjectLabels()...)
	b.table(12, "Headroom", "What is left to the limit.",
		[]column{{"left", "bytes", capacity.recorded("upkeep:capacity_headroom", inBytes)}}, subjectLabels()...)
}

// subjectLabels are those that name what fills up.
func subjectLabels() []string {
	return []string{"resource", "server", "database", "schema", "table", "container", "mountpoint"}
}
