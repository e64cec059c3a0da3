package main

const (
	actions = "remediate/actions/postgres/"
	read    = "collectors/postgres/"
)

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
			name: "first seen", why: "an index counts as unused not before upkeep first saw it",
			file: read + "indexusage.go", search: `since := latest(begun, moment{`, replace: `since := latest(begun); _ = latest(moment{`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^a_fresh_index$",
		},
		{
			name: "promotion", why: "a promoted server has not counted its standbys' scans",
			file: read + "usagebook.go", search: `case b.Timeline != l.Timeline:`, replace: `case false && b.Timeline != l.Timeline:`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^failover$",
		},
		{
			name: "standby away", why: "a standby that was seen and is not there may use an index again",
			file: read + "usagebook.go", search: `time.Millisecond < standbyLife {`, replace: `time.Millisecond < 0 {`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^a_standby_away_for_a_day$",
		},
		{
			name: "track_counts", why: "nothing is unused while scans are not counted",
			file: read + "indexusage.go", search: `Counted: e.Counts,`, replace: `Counted: true,`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^track_counts_off$",
		},
		{
			name: "emptied", why: "a crash empties the counters without a new start of the server",
			file: read + "indexusage.go", search: `least(b.stats_reset, a.stats_reset)`, replace: `null::timestamptz`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^a_crash_of_a_session$",
		},
		{
			name: "extension", why: "what an extension has made is its own",
			file: actions + "indextraits.go", search: `d.objid in (c.oid, t.oid)`, replace: `d.objid in (c.oid)`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^the_table_of_an_extension$",
		},
		{
			name: "young counters", why: "after a crash the catalog says how many rows a table has",
			file: read + "vacuum.sql", search: `when t.reltuples > t.live + t.dead then 'young'`, replace: `when t.reltuples > t.live + t.dead then 'whole'`,
			pkg: "./" + read, run: "TestVacuumAfterCrash/version_$",
		},
		{
			name: "lacking rights", why: "a plan for which rights lack is shown, and does not act",
			file: "remediate/engine/stage.go", search: `		err = lacks`, replace: `		_ = lacks`,
			pkg: "./remediate/engine", run: "TestLackingRights",
		},
	}
}
