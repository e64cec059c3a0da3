package main

import "slices"

const (
	actions = "remediate/actions/postgres/"
	read    = "collectors/postgres/"
)

// mutants are the protections, the first of which is what all others rest on.
func mutants() []mutant {
	return slices.Concat(ofActions(), ofEngine(), ofEvidence(), ofInbox(), ofLibraries(), ofHouse(), ofSecurity(),
		ofAccess(), ofStrangers(), ofFloods(), ofLogs())
}

// ofActions are the protections of what is changed on targets.
func ofActions() []mutant {
	storm := []string{"-storm.version=15", "-storm.seeds=21"}
	return []mutant{
		{
			name: "contract", why: "after the work and before the commit, what a batch touched is compared with the " +
				"plan",
			file: actions + "relation/contract.go", search: `if what := was.differs(is); what != "" {`,
			replace: `if what := was.differs(is); false && what != "" {`,
			pkg:     "./" + actions + "rows", run: "TestStorm", args: storm,
		},
		{
			name: "lock", why: "a batch locks what is above its rows, so that nothing changes there between the " +
				"comparison and the commit",
			file: actions + "rows/batchbegin.go", search: `b.lock = relation.LockText(locked...)`,
			replace: `b.lock = relation.LockText(locked[:1]...)`,
			pkg:     "./" + actions, run: "TestBatchLocksWhatIsAbove",
		},
		{
			name: "made anew", why: "what a table would generate is compared with what an object has",
			file: actions + "objects/restore.go", search: `for _, c := range r.made {`,
			replace: `for _, c := range r.made[:0] {`,
			pkg:     "./" + actions, run: "TestRestoreMadeAnew",
		},
		{
			name: "quota", why: "what a step took in an earlier try counts",
			file: "remediate/quota.go", search: `before, err := s.Taken()`,
			replace: "_, err := s.Taken()\n\tvar before Amount",
			pkg:     "./remediate/engine", run: "TestQuotaOverLives",
		},
		{
			name: "held", why: "an action that asks for its right is held by the rules of now too",
			file: "remediate/engine/watch.go", search: "if r != nil {\n\t\treturn r\n\t}\n\tif d.checks",
			replace: "if r != nil && false {\n\t\treturn r\n\t}\n\tif d.checks",
			pkg:     "./remediate/engine", run: "TestPresentRules",
		},
		{
			name: "amount", why: "a batch that is more than may go is rolled back",
			file: actions + "rows/batchcommit.go", search: `if b.most >= 0 && b.moved+n.Moved > b.most {`,
			replace: `if false && b.moved+n.Moved > b.most {`,
			pkg:     "./" + actions, run: "TestPurgeTakesNoMore",
		},
		{
			name: "read back", why: "an object is read back before its rows are deleted",
			file:    actions + "objects/archive.go",
			search:  `if err = depot.ReadBack(ctx, m.store, name, p); err != nil {`,
			replace: `if err := depot.ReadBack(ctx, m.store, name, p); false && err != nil {`,
			pkg:     "./" + actions, run: "TestFileStoreFaults",
		},
		{
			name: "pooler", why: "what answers is the server itself",
			file: "internal/platform/target/postgres.go", search: `return pid != strconv.FormatUint(`,
			replace: `return false && pid != strconv.FormatUint(`,
			pkg:     "./" + actions + "session", run: "TestPooler",
		},
		{
			name: "undo", why: "what a step left that had begun is undone before its run ends",
			file: "remediate/engine/refusal.go", search: `run.Begun > run.Done &&`,
			replace: `false && run.Begun > run.Done &&`,
			pkg:     "./remediate/engine", run: "TestBegunStepIsUndone",
		},
		{
			name: "question", why: "an approval of another amount does not count",
			file: "remediate/plan.go", search: `if p.Amount == nil {`,
			replace: `if p.Amount == nil || len(p.Steps) >= 0 {`,
			pkg:     "./remediate/engine", run: "TestApprovalIsForAnAmount",
		},
		{
			name: "wider", why: "others who may read the archive stop its run",
			file: actions + "rows/survey.go", search: `if err == nil && wider != planned {`,
			replace: `if err == nil && false && wider != planned {`,
			pkg:     "./" + actions, run: "TestWiderIsPlanned",
		},
		{
			name: "taken", why: "our constraint does not stay on a partition that somebody else renamed",
			file: actions + "partition/attach.go", search: `return !now.Named, nil`,
			replace: `return false && !now.Named, nil`,
			pkg:     "./" + actions, run: "TestUndoTaken",
		},
		{
			name: "repackguard", why: "before pg_repack changes the files, the table and its copy are compared with " +
				"the plan",
			file: actions + "rebuild/pgrepackguard.go", search: "	var what, marks string\n",
			replace: "	var what, marks string\n	if pid >= 0 {\n		return nil\n	}\n",
			pkg:     "./" + actions, run: "TestPgRepackBesideDefinitions",
		},
	}
}

// ofEngine are those of runs: outages, reloads, restarts.
func ofEngine() []mutant {
	return []mutant{
		{
			name: "adrift", why: "runs that are this process' and that it does not carry go on when the store answers",
			file: "remediate/engine/member.go", search: `if e.carries(run.Run) {`,
			replace: `if true || e.carries(run.Run) {`,
			pkg:     "./remediate/engine", run: "TestOutageOfTheStore",
		},
		{
			name: "adrift, simulated", why: "the same, found by the simulator",
			file: "remediate/engine/member.go", search: `if e.carries(run.Run) {`,
			replace: `if true || e.carries(run.Run) {`,
			pkg:     "./remediate/engine", run: "TestSimulation",
		},
		{
			name: "demoted", why: "a demotion holds a run that acts too, found by the simulator",
			file: "remediate/engine/watch.go", search: `Demoted: beside.Demoted[run.Request.Policy], `,
			replace: "",
			pkg:     "./remediate/engine", run: "TestSimulation",
		},
		{
			name: "adrift, real", why: "the same, with real outages",
			file: "remediate/engine/member.go", search: `if e.carries(run.Run) {`,
			replace: `if true || e.carries(run.Run) {`,
			pkg:     "./cmd/upkeep", run: "TestOutages",
		},
		{
			name: "store's fault", why: "a store that is away is no fault of the run",
			file: "remediate/engine/carry.go", search: `|| store.Away(err) ||`,
			replace: `|| false && store.Away(err) ||`,
			pkg:     "./remediate/engine", run: "TestStoreIsNoFaultOfTheRun",
		},
		{
			name: "judges", why: "a process that could not renew its own lease declares no other dead",
			file: "remediate/journal/lease.go", search: `if me.expires < store.Millis(now) {`,
			replace: `if false && me.expires < store.Millis(now) {`,
			pkg:     "./remediate/journal", run: "TestNobodyIsBuriedAfterAnOutage",
		},
		{
			name: "reload keeps", why: "a target whose configuration has not changed is used again",
			file: "internal/product/app/targets.go", search: `old != nil && reflect.DeepEqual(old.of, of)`,
			replace: `old != nil && false && reflect.DeepEqual(old.of, of)`,
			pkg:     "./internal/product/app", run: "TestReloadLeavesAlone",
		},
		{
			name: "reload frees", why: "connections are closed when no run uses them any more",
			file: "remediate/engine/setting.go", search: `if n <= u.freed[0].setting {`,
			replace: `if false && n <= u.freed[0].setting {`,
			pkg:     "./remediate/engine", run: "TestSettingIsFreed",
		},
		{
			name: "elsewhere", why: "a run that was held goes on only where the server of its plan answers",
			file: "remediate/engine/present.go", search: "err := e.identified(ctx, run, a)\n",
			replace: "err := e.identified(ctx, run, a)\n\terr = nil\n",
			pkg:     "./remediate/engine", run: "TestGoesOnWhenItsServerAnswersAgain",
		},
		{
			name: "verdict elsewhere", why: "what another server measures is no verdict",
			file: "remediate/engine/verify.go", search: `refused && away(r) {`, replace: `refused && false && away(r) {`,
			pkg: "./remediate/engine", run: "TestNoVerdictByAnotherServer",
		},
		{
			name: "pause scope", why: "a pause of what does not exist would pause nothing",
			file: "internal/product/console/names.go", search: `if slices.Contains(names, name) {`,
			replace: `if true || slices.Contains(names, name) {`,
			pkg:     "./cmd/upkeep", run: "TestScript/serve",
		},
		{
			name: "outlives", why: "a server whose data folder is empty after a restart is not restarted",
			file: "remediate/actions/redis/folder.go", search: `if known && held.Fate == target.Lost {`,
			replace: `if false && known && held.Fate == target.Lost {`,
			pkg:     "./remediate/actions/redis", run: "TestRestartOutlives",
		},
		{
			name: "final", why: "a comparison that has failed is not made again",
			file:    "remediate/actions/redis/compare.go",
			search:  `return fmt.Errorf("%w: %w", fmt.Errorf(format, args...), remediate.ErrFinal)`,
			replace: `return errors.Join(fmt.Errorf(format, args...), nil)`,
			pkg:     "./remediate/actions/redis", run: "TestRestartComparesEachTime",
		},
		{
			name: "shorter", why: "keys that clients wrote since do not make up for lost ones",
			file: "remediate/actions/redis/compare.go", search: `s.AOFSize < appended && state.Loaded < all-may {`,
			replace: `false && state.Loaded < all-may {`,
			pkg:     "./remediate/actions/redis", run: "TestRestartThatLostKeysIsNotMadeGood",
		},
		{
			name: "backup's time", why: "a backup that was verified is as old as it is, whenever that was",
			file: "remediate/guard/backup.go", search: `if now.Sub(checked.At) <= within {`,
			replace: `if now.Sub(s.Verified.At) <= within {`,
			pkg:     "./internal/product/app", run: "TestBackupGuard",
		},
	}
}

// ofEvidence are those of what is taken for proven.
func ofEvidence() []mutant {
	return []mutant{
		{
			name: "first seen", why: "an index counts as unused not before upkeep first saw it",
			file: read + "usage/usage.go", search: `since := latest(begun, moment{`,
			replace: `since := latest(begun); _ = latest(moment{`,
			pkg:     "./" + actions, run: "TestUnusedIsProven/version_$/^a_fresh_index$",
		},
		{
			name: "promotion", why: "a promoted server has not counted its standbys' scans",
			file: read + "usage/book.go", search: `case b.Timeline != l.Timeline:`,
			replace: `case false && b.Timeline != l.Timeline:`,
			pkg:     "./" + actions, run: "TestUnusedIsProven/version_$/^failover$",
		},
		{
			name: "standby away", why: "a standby that was seen and is not there may use an index again",
			file: read + "usage/book.go", search: `time.Millisecond < standbyLife {`, replace: `time.Millisecond < 0 {`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^a_standby_away_for_a_day$",
		},
		{
			name: "track_counts", why: "nothing is unused while scans are not counted",
			file: read + "usage/usage.go", search: `Counted: e.Counts,`, replace: `Counted: true,`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^track_counts_off$",
		},
		{
			name: "emptied", why: "a crash empties the counters without a new start of the server",
			file: read + "usage/rows.go", search: `least(b.stats_reset, a.stats_reset)`, replace: `null::timestamptz`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^a_crash_of_a_session$",
		},
		{
			name: "extension", why: "what an extension has made is its own",
			file: actions + "advice/index.go", search: `d.objid in (c.oid, t.oid)`, replace: `d.objid in (c.oid)`,
			pkg: "./" + actions, run: "TestUnusedIsProven/version_$/^the_table_of_an_extension$",
		},
		{
			name: "young counters", why: "after a crash the catalog says how many rows a table has",
			file: read + "vacuum.sql", search: `when t.reltuples > t.live + t.dead then 'young'`,
			replace: `when t.reltuples > t.live + t.dead then 'whole'`,
			pkg:     "./" + read, run: "TestVacuumAfterCrash/version_$",
		},
		{
			name: "missing rights", why: "a plan with missing rights is shown, and does not act",
			file: "remediate/engine/look.go", search: `		err = missing`, replace: `		_ = missing`,
			pkg: "./remediate/engine", run: "TestLackingRights",
		},
	}
}

// ofInbox are those of alerts that come in.
func ofInbox() []mutant {
	return []mutant{
		{
			name: "listing", why: "a listing of alerts starts nothing that was not delivered",
			file: "remediate/inbox/reconcile.go", search: `case a.Firing && delivered(before, a.Alert) && !over`,
			replace: `case a.Firing && !over`,
			pkg:     "./remediate/inbox", run: "TestListingStartsNothing",
		},
		{
			name: "suppressed", why: "what was delivered and would not be now is not acted on",
			file: "remediate/guard/suppressed.go", search: `case why != "":`, replace: `case false && why != "":`,
			pkg: "./remediate/engine", run: "TestSuppressed",
		},
		{
			name: "suppressed step", why: "Alertmanager is asked again before each step",
			file: "remediate/guard/ask.go", search: `return g.During || g.Step`,
			replace: `return g.During || false && g.Step`,
			pkg:     "./remediate/engine", run: "TestSuppressed",
		},
		{
			name: "muted", why: "the routes of the configuration tell what is muted",
			file: "remediate/inbox/held.go", search: `by != "" {`, replace: `false && by != "" {`,
			pkg: "./remediate/inbox", run: "TestHeld$",
		},
		{
			name: "unread", why: "an alert that cannot be read costs only itself",
			file: "remediate/webhook/webhook.go", search: `case len(taken) == 0:`, replace: `case len(rest) > 0:`,
			pkg: "./remediate/webhook", run: "TestUnreadAlerts",
		},
		{
			name: "clock", why: "the beginning of an alert is compared by the clock of its source",
			file:    "remediate/inbox/incident.go",
			search:  `began := a.StartsAt.After(open.Alert.StartsAt) && byOurs(open.Alert, a.Alert, now).After(since)`,
			replace: `began := a.StartsAt.After(since)`,
			pkg:     "./remediate/inbox", run: "TestClockAhead",
		},
		{
			name: "parts", why: "a database that does not answer holds the runs of no other",
			file: "collectors/scrape/scrape.go", search: `if a.fault != nil && elsewhere(a.fault, subject) {`,
			replace: `if false && a.fault != nil && elsewhere(a.fault, subject) {`,
			pkg:     "./internal/product/app", run: "TestOneDatabaseRefuses",
		},
	}
}
