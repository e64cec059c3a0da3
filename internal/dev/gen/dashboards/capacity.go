package main

const (
	ofResource  = "{{resource}} {{server}} {{database}} {{schema}} {{table}} {{container}} {{mountpoint}}"
	ofLimit     = "{{resource}} {{server}} {{mountpoint}}"
	likely      = "upkeep:capacity_seconds_to_limit:likely"
	soonest     = "upkeep:capacity_seconds_to_limit:soon"
	growth      = "upkeep:capacity_growth_per_day:median28d"
	fastest     = "upkeep:capacity_growth_per_day:p90_28d"
	dailyUsed   = "upkeep:capacity_used:day"
	nowUsed     = "upkeep:capacity_used:max1d"
	usedRatio   = "upkeep:capacity_used:ratio_max1d"
	withoutData = "Nothing is shown without a limit, without a trend, or with less than seven days of data."
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
	b.stat("Limits within 90 days", "How many are reached, at the growth of the last four weeks.", "short", "0",
		zero("count("+capacity.recorded(likely)+" < 90 * 86400)")).from(1, "orange").runbook("CapacityExhaustedSoon")
	b.stat("Fullest", "Used share of its limit, most of the last 24 hours.", "percentunit", "no limit",
		"max("+capacity.recorded(usedRatio)+")").from(b.rules["HostFilesystemFilling"].limit, "orange").
		runbook("HostFilesystemFilling")
	b.stat("With a trend", "Of how many the growth is known.", "short", "0",
		zero("count("+capacity.recorded(growth)+")"))
	b.stat("Fastest growth", "A day, as a share of what is used.", "percentunit", "no trend",
		"max("+capacity.recorded(growth)+" / "+capacity.recorded(nowUsed)+")")
	b.stat("Days of history", "Daily values of the series with the most, in the last 400 days.", "short", "0",
		zero("max(count_over_time("+dailyUsed+"{"+string(capacity)+"}[400d]))"))
	b.table(24, "Time to the limit", "At the median growth of four weeks, and at the pace of the fastest weeks. "+
		withoutData, []column{{"likely", "s", capacity.recorded(likely)},
		{"soonest", "s", capacity.recorded(soonest)},
		{"used", "percentunit", capacity.recorded(usedRatio)}},
		"resource", "server", "mountpoint").below("CapacityExhaustedSoon").smallest()
	b.graph(12, "Used share", "Most of the last 24 hours, of the limit.", "percentunit",
		line{capacity.recorded(usedRatio), ofLimit}).share()
	b.graph(12, "Forecast", "How the time to the limit has changed. It should fall by a day each day.", "s",
		line{capacity.recorded(likely), ofLimit}).below("CapacityExhaustedSoon")
	planningGrowth(b)
	return b
}

func planningGrowth(b *board) {
	share := func(of string) string { return capacity.recorded(of) + " / " + capacity.recorded(nowUsed) }
	b.row("Growth")
	b.graph(12, "Used", "The most of each day, of the twenty largest; kept for 400 days. Processors and "+
		"connections are "+
		"counted, inodes are a share.", "bytes", line{top("20", capacity.recorded(dailyUsed)), ofResource}).mixed()
	b.graph(12, "Growth a day", "Median of the weekly changes of four weeks, of the twenty largest.", "bytes",
		line{top("20", capacity.recorded(growth)), ofResource}).free().mixed()
	b.table(12, "Growing most", "A day, as a share of what is used: the median of four weeks, and the fastest weeks.",
		[]column{{"a day", "percentunit", top("20", share(growth))}, {"fastest weeks", "percentunit", share(fastest)}},
		subjectLabels()...)
	b.table(12, "Week over week", "Change beside the same time a week ago, as a share of what is used.",
		[]column{{"change", "percentunit", top("20", share("upkeep:capacity_used:change7d"))}}, subjectLabels()...)
}

// mixed are the units of resources that are not in bytes.
func (p *panel) mixed() *panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{
		matcher{"byRegexp", "/^(connections|cpu|inodes) /"}, []property{{"unit", "short"}}})
	return p
}

// subjectLabels are those that name what fills up.
func subjectLabels() []string {
	return []string{"resource", "server", "database", "schema", "table", "container", "mountpoint"}
}
