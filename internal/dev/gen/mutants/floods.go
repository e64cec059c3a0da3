package main

// ofFloods are the protections from too many alerts, and of what a retention must not delete.
func ofFloods() []mutant {
	const (
		inbox     = "remediate/inbox"
		journal   = "remediate/journal"
		retention = "./remediate/retention"
	)
	return []mutant{
		{name: "room", why: "incidents of one alert are bounded", file: inbox + "/counts.go",
			search:  "case l.loaded[name]+l.changes[name] >= int64(l.limits.PerAlert):",
			replace: "case false:", pkg: "./" + inbox, run: "TestBoundsOfIncidents"},
		{name: "one page", why: "people are paged once for a flood", file: inbox + "/flood.go",
			search:  "err == nil && since < calm {",
			replace: "err == nil && since < 0 {", pkg: "./" + inbox, run: "TestBoundsOfIncidents"},
		{name: "own letters", why: "a sender pushes out only its own dead letters", file: inbox + "/deadletters.go",
			search:  "\"desc, min(id) limit 1",
			replace: "\"* 0, min(id) limit 1", pkg: "./" + inbox, run: "TestDeadLettersOfOneSender"},
		{name: "labels", why: "labels are not cut", file: "remediate/alert.go",
			search: "all += size; size > maxLabel {", replace: "all += size; false && size > maxLabel {",
			pkg: "./remediate", run: "TestBounded"},
		{name: "summed up", why: "a flood of notifications is a few messages", file: "remediate/notify/notify.go",
			search: "		if left == 0 {", replace: "		if left < 0 {", pkg: "./remediate/notify",
			run: "TestFloodIsSummedUp"},
		{name: "young", why: "a run that has ended a short while ago stays", file: journal + "/prune.go",
			search:  "r.State.Unfinished() || !r.Changed.Before(k.before) {",
			replace: "r.State.Unfinished() {", pkg: retention, run: "TestRetentionOfAnyHistory"},
		{name: "unfinished", why: "a run that has not ended stays", file: journal + "/prune.go",
			search:  "r.State.Unfinished() || !r.Changed.Before(k.before) {",
			replace: "!r.Changed.Before(k.before) {", pkg: "./" + journal, run: "TestUnfinishedRunsStay"},
		{name: "open incident", why: "what belongs to an open incident stays", file: journal + "/prune.go",
			search:  "stays = err == nil && (closed == 0 || closed >= store.Millis(k.before))",
			replace: "stays = false", pkg: retention, run: "TestRetentionOfAnyHistory"},
		{name: "newest", why: "the newest entry stays, after which the chain goes on", file: journal + "/prune.go",
			search: "case e.Seq == k.entry:", replace: "case false:", pkg: retention, run: "TestRetentionOfAnyHistory"},
		{name: "checkpoint", why: "a checkpoint is signed", file: journal + "/chain.go",
			search: "case !c.signed(key):", replace: "case key == nil:", pkg: retention, run: "TestCheckpointsProve"},
		{name: "no trace", why: "retention deletes nothing from a changed entry on", file: journal + "/prune.go",
			search:  "if e.hash != chain(before, []byte(e.text)) {",
			replace: "if false && e.hash != chain(before, []byte(e.text)) {", pkg: retention,
			run: "TestChangedEntriesStay"},
	}
}
