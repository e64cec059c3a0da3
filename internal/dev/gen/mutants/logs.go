package main

// ofLogs are the protections of lines: each is counted, and once.
func ofLogs() []mutant {
	const follow = "collectors/logs/follow"
	return []mutant{
		{name: "held log", why: "a file is read that is removed while it is held",
			file:   follow + "/generation.go",
			search: "	if b.Free <= 0 {", replace: "	if b.Free >= 0 {", pkg: "./" + follow, run: "TestHistories"},
		{name: "copied log", why: "a copy of a log is not read again", file: follow + "/find.go",
			search: "		if !beginning && !g.Head.begins(text) {", replace: "		if g.Offset >= 0 {",
			pkg: "./" + follow, run: "TestHistories"},
		{name: "truncated log", why: "a truncated log is read from its beginning",
			file:    follow + "/generation.go",
			search:  "	return 0, false, false\n}\n\n// A Budget",
			replace: "	return size, false, true\n}\n\n// A Budget", pkg: "./" + follow, run: "TestHistories"},
		{name: "lines alike", why: "a new file is no copy of one that began in the same way",
			file: follow + "/find.go", search: "main := l.Plain && ", replace: "main := false && ",
			pkg: "./" + follow, run: "TestLinesAlike"},
		{name: "counts of logs", why: "what was counted is saved with how far it was read",
			file:   "collectors/logs/saved.go",
			search: "	t.durations = latency.Histogram{Counts: s.Counts, Sum: s.Sum}", replace: "",
			pkg: "./collectors/logs", run: "TestRestart$"},
	}
}
