package main

const actions = "remediate/actions/postgres/"

// mutants are the protections, the first of which is what all others rest on.
func mutants() []mutant {
	storm := []string{"-storm.version=15", "-storm.seeds=21"}
	return []mutant{
		{
			name: "contract", why: "after the work and before the commit, what a batch touched is compared with the plan",
			file: actions + "rows/contract.go", search: `if what := was.differs(is); what != "" {`, replace: `if what := was.differs(is); false && what != "" {`,
			pkg: "./" + actions, run: "TestStorm", args: storm,
		},
		{
			name: "lock", why: "a batch locks what is above its rows, so that nothing changes there between the comparison and the commit",
			file: actions + "batchbegin.go", search: `b.lock = rows.LockText(locked...)`, replace: `b.lock = rows.LockText(locked[:1]...)`,
			pkg: "./" + actions, run: "TestBatchLocksWhatIsAbove",
		},
		{
			name: "made anew", why: "what a table would generate is compared with what an object has",
			file: actions + "unfiling.go", search: `for _, c := range r.made {`, replace: `for _, c := range r.made[:0] {`,
			pkg: "./" + actions, run: "TestRestoreMadeAnew",
		},
		{
			name: "quota", why: "what a step took in an earlier try counts",
			file: "remediate/quota.go", search: `before, err := s.Taken()`, replace: "_, err := s.Taken()\n\tvar before Amount",
			pkg: "./remediate/engine", run: "TestQuotaOverLives",
		},
		{
			name: "held", why: "an action that asks for its right is held by the rules of now too",
			file: "remediate/engine/watch.go", search: "if r != nil {\n\t\treturn r\n\t}\n\tif d.checks", replace: "if r != nil && false {\n\t\treturn r\n\t}\n\tif d.checks",
			pkg: "./remediate/engine", run: "TestPresentRules",
		},
		{
			name: "amount", why: "a batch that is more than may go is rolled back",
			file: actions + "batchcommit.go", search: `if b.most >= 0 && b.moved+n.Moved > b.most {`, replace: `if false && b.moved+n.Moved > b.most {`,
			pkg: "./" + actions, run: "TestPurgeTakesNoMore",
		},
		{
			name: "read back", why: "an object is read back before its rows are deleted",
			file: actions + "filing.go", search: `if err = depot.ReadBack(ctx, m.store, name, p); err != nil {`, replace: `if err := depot.ReadBack(ctx, m.store, name, p); false && err != nil {`,
			pkg: "./" + actions, run: "TestFileStoreFaults",
		},
		{
			name: "pooler", why: "what answers is the server itself",
			file: "internal/target/postgres.go", search: `return pid != c.PgConn().PID(), nil`, replace: `return false && pid != c.PgConn().PID(), nil`,
			pkg: "./" + actions + "session", run: "TestPooler",
		},
		{
			name: "repackguard", why: "before pg_repack changes the files, the table and its copy are compared with the plan",
			file: actions + "repackguard.go", search: "	var what, marks string\n", replace: "	var what, marks string\n	if pid >= 0 {\n		return nil\n	}\n",
			pkg: "./" + actions, run: "TestPgRepackBesideDefinitions",
		},
		{
			name: "listing", why: "a listing of alerts starts nothing that was not delivered",
			file: "remediate/inbox/reconcile.go", search: `case a.Firing && delivered(before, a.Alert) && !over`, replace: `case a.Firing && !over`,
			pkg: "./remediate/inbox", run: "TestListingStartsNothing",
		},
		{
			name: "suppressed", why: "what was delivered and would not be now is not acted on",
			file: "remediate/guard/suppressed.go", search: `case why != "":`, replace: `case false && why != "":`,
			pkg: "./remediate/engine", run: "TestSuppressed",
		},
		{
			name: "suppressed step", why: "Alertmanager is asked again before each step",
			file: "remediate/engine/watch.go", search: `!g.During && !(g.Step && anew)`, replace: `!g.During && !(false && g.Step && anew)`,
			pkg: "./remediate/engine", run: "TestSuppressed",
		},
		{
			name: "muted", why: "the routes of the configuration tell what is muted",
			file: "remediate/inbox/held.go", search: `by != "" {`, replace: `false && by != "" {`,
			pkg: "./remediate/inbox", run: "TestHeld$",
		},
		{
			name: "unread", why: "an alert that cannot be read costs only itself",
			file: "remediate/webhook/webhook.go", search: `case len(told) == 0:`, replace: `case len(rest) > 0:`,
			pkg: "./remediate/webhook", run: "TestUnreadAlerts",
		},
		{
			name: "clock", why: "the beginning of an alert is compared by the clock of its source",
			file: "remediate/inbox/episode.go", search: `began := a.StartsAt.After(open.Alert.StartsAt) && byOurs(open.Alert, a.Alert, now).After(since)`, replace: `began := a.StartsAt.After(since)`,
			pkg: "./remediate/inbox", run: "TestClockAhead",
		},
		{
			name: "parts", why: "a database that does not answer holds the runs of no other",
			file: "collectors/scrape/scrape.go", search: `if a.fault != nil && elsewhere(a.fault, subject) {`, replace: `if false && a.fault != nil && elsewhere(a.fault, subject) {`,
			pkg: "./internal/app", run: "TestOneDatabaseRefuses",
		},
	}
}
