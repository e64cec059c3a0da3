package main

// planning is the page for capacity planning: growth, limits and forecasts, a day at a time.
func planning(limit map[string]float64) dashboard {
	l := new(layout)
	recorded := func(series string) string {
		return "last_over_time(upkeep:capacity_" + series + `{server=~"$server",resource=~"$resource"}[2h])`
	}
	daily := func(series string) string {
		return "last_over_time(upkeep:capacity_" + series + `{server=~"$server",resource=~"$resource"}[1d])`
	}
	const name = "{{resource}} {{server}} {{database}} {{schema}} {{table}} {{container}} {{mountpoint}}"
	l.row("Limits")
	l.add(12, 10, table("Time to the limit", "At the median growth of four weeks. Nothing is shown without a trend, "+
		"or with less than seven days of data.", "s", "time", soonest(limit["CapacityExhaustedSoon"]),
		recorded("seconds_to_limit:likely"), subjectLabels()...))
	l.add(12, 10, table("Time to the limit at the pace of the fastest weeks", "At the 90th percentile of the weekly "+
		"changes.", "s", "time", soonest(limit["CapacityExhaustedSoon"]),
		recorded("seconds_to_limit:soon"), subjectLabels()...))
	l.add(12, 8, graph("Used share", "Most of the last 24 hours, of the limit.", "percentunit", levels(),
		line{recorded("used:ratio_max1d"), name}))
	l.add(12, 8, graph("Forecast", "How the time to the limit has changed. It should fall by a day each day.", "s",
		levels(), line{recorded("seconds_to_limit:likely"), name}))
	l.row("Growth")
	l.add(12, 8, graph("Used, a day", "Most of each day; kept for 400 days.", "short", levels(),
		line{"topk(20, " + daily("used:day") + ")", name}))
	l.add(12, 8, graph("Growth a day", "Median of the weekly changes of four weeks.", "short", levels(),
		line{"topk(20, " + recorded("growth_per_day:median28d") + ")", name}))
	l.add(12, 10, table("Growing most", "A day, median of four weeks.", "short", "a day", levels(),
		"topk(20, "+recorded("growth_per_day:median28d")+" > 0)", subjectLabels()...))
	l.add(12, 10, table("Week over week", "Change beside the same time a week ago.", "short", "change", levels(),
		"topk(20, "+recorded("used:change7d")+")", subjectLabels()...))
	l.add(12, 8, table("Headroom", "What is left to the limit.", "short", "left", levels(),
		recorded("headroom"), subjectLabels()...))
	l.add(12, 8, table("Growth of the fastest weeks", "A day, 90th percentile of the weekly changes.", "short", "a day",
		levels(), "topk(20, "+recorded("growth_per_day:p90_28d")+" > 0)", subjectLabels()...))
	d := page("upkeep-capacity", "upkeep: capacity", "Growth, limits and forecasts of what fills up.", l)
	d.Time = timeRange{From: "now-90d", To: "now"}
	d.Templating.List = []variable{d.Templating.List[0],
		choice("server", "Server", `label_values(upkeep:capacity_used:day, server)`),
		choice("resource", "Resource", `label_values(upkeep:capacity_used:day{server=~"$server"}, resource)`)}
	return d
}

// subjectLabels are those that name what fills up.
func subjectLabels() []string {
	return []string{"resource", "server", "database", "schema", "table", "container", "mountpoint"}
}

// soonest colours what is nearer than a limit.
func soonest(limit float64) thresholds {
	return thresholds{Mode: "absolute", Steps: []threshold{{Color: "red"}, from(limit, "green")}}
}
