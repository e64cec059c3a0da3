package main

import "strings"

// A peer is a program that people know, and compare with.
type peer struct {
	name, about string
	points      []point
}

// A point is one thing that people do with either. What is said of upkeep is shown by tests, but where it
// says that upkeep does not do it.
type point struct {
	what, theirs, ours string
	tests              []string // the package's folder, a space and the test; none where ours begins with "no"
}

const (
	ofConsole = "internal/product/console "
	ofApp     = "internal/product/app "
	ofEngine  = "remediate/engine "
)

func peers() []peer { return []peer{ofAlertmanager(), ofPgHero(), ofRundeck(), ofRiver()} }

func ofAlertmanager() peer {
	return peer{"Alertmanager's page",
		"It shows alerts and makes silences. upkeep has an Alertmanager in it, or uses yours, whose page " +
			"stays what it is.",
		[]point{
			{"what fires",
				"each alert with its labels, in its groups",
				"each alert by severity, since when, and what is done about it: the policy, the " +
					"run, whom it waits for",
				[]string{ofConsole + "TestNow", ofProgram + "TestConsoleClicked"}},
			{"what is about to fire",
				"no: it gets what fires",
				"the pending alerts of Prometheus",
				[]string{ofConsole + "TestNow"}},
			{"groups",
				"by the labels of a route",
				"no: a list",
				nil},
			{"silences",
				"made, changed, ended, and shown before what they would match",
				"counted beside the alerts that they silence; its own while it acts on a subject. " +
					"People make theirs in Alertmanager's page",
				[]string{"remediate/silence TestHoldAndRelease", "internal/product/embedded TestNumberOfSilences"}},
			{"what was",
				"no: what is resolved is gone",
				"each run with its plan, its evidence and its journal, for 400 days",
				[]string{ofConsole + "TestRunPage", ofConsole + "TestRunsFilter"}},
			{"who may",
				"all who may see it, by a user and password for all of it",
				"five roles, by token, password or session; each change is journalled with who " +
					"made it",
				[]string{ofApp + "TestRoles"}},
			{"without JavaScript",
				"no",
				"every page and every button",
				[]string{ofProgram + "TestConsoleClicked"}},
		}}
}

func ofPgHero() peer {
	return peer{"pgHero",
		"It shows what a PostgreSQL server needs, and leaves the rest to people.",
		[]point{
			{"what is wrong, at one look",
				"slow statements, unused, duplicate and invalid indexes, long transactions, " +
					"connections, sequences, wraparound, lag",
				"the same and bloat, statistics, prepared transactions, slots, triggers, " +
					"constraints, settings; ranked, each with its evidence and the plan that mends it",
				[]string{ofApp + "TestLook", ofConsole + "TestLookPage"}},
			{"indexes that are missing",
				"advises them from the statements, with pg_query",
				"foreign keys without an index, and large tables that are scanned; no: it does " +
					"not read which columns a statement selects by",
				[]string{ofApp + "TestLook"}},
			{"EXPLAIN",
				"of any statement, in the browser",
				"no: PostgreSQL runs immutable functions while it plans, and they would run with " +
					"upkeep's rights",
				[]string{"internal/product/look TestExplainRunsFunctions"}},
			{"sessions",
				"lists what runs, and ends it or all at once",
				"the worst ones of each kind; ends one by a plan that checks again whose session " +
					"it is",
				[]string{onPostgres + "TestTerminate", onPostgres + "TestTerminateLeavesAnother"}},
			{"statements over time",
				"in a table of the database, filled by cron",
				"in Prometheus; a month beside the month before in the report, a day beside its " +
					"week in Look",
				[]string{"internal/product/report TestFiguresOfMetrics", "internal/product/look TestReadChanged"}},
			{"what mends it",
				"no: a person does",
				"vacuum, reindex, repack, archive and more, with guards, a plan and the " +
					"measurement after it",
				[]string{onPostgres + "TestReindex", ofEngine + "TestVerifiedByTheExpression"}},
			{"alerts",
				"no",
				"rules of Prometheus, each with a runbook",
				[]string{ofProgram + "TestLoopEmbedded"}},
			{"Redis, Docker, hosts",
				"no; figures of the machine from some cloud services",
				"the same as for PostgreSQL",
				[]string{ofApp + "TestLook"}},
		}}
}

func ofRundeck() peer {
	return peer{"Rundeck",
		"It runs any script on any machine, when a person, a schedule or a webhook says so.",
		[]point{
			{"what it can do",
				"whatever a script can",
				"no scripts: its own actions, each of which knows what it relies on and checks " +
					"that again as it acts",
				[]string{ofEngine + "TestPlanHasChanged"}},
			{"an alert starts it",
				"a webhook starts a job",
				"a policy decides by the rule and by what was measured; a chain goes on where a " +
					"step did not help",
				[]string{ofProgram + "TestLoopEmbedded", ofEngine + "TestChain"}},
			{"what would it do",
				"no: a script says that itself",
				"a plan with its SQL, its size and its undo, before anything is changed",
				[]string{ofApp + "TestLook", ofEngine + "TestPreviewChangesNothing"}},
			{"did it help",
				"the exit code",
				"the metric before and after, and the alert's own expression",
				[]string{ofEngine + "TestVerifiedByTheExpression"}},
			{"a person allows it",
				"who may run the job runs it",
				"one plan and its amount, by a signed link, a button or a command; by another " +
					"person where that is asked for",
				[]string{ofConsole + "TestApproveByLink", ofConsole + "TestOtherPerson"}},
			{"killed midway",
				"the run has failed, and its output ends",
				"it goes on or is undone, as the target shows",
				[]string{ofProgram + "TestKilledUnderLoad"}},
			{"who may",
				"rules by project, job and machine",
				"five roles, for all targets; no rules by target",
				[]string{ofApp + "TestRoles"}},
			{"live",
				"the output as it is written; aborted by a button",
				"the progress of the statement; cancelled by a button, and the server's own " +
					"statement with it",
				[]string{ofProgram + "TestConsoleClicked"}},
		}}
}

func ofRiver() peer {
	return peer{"River UI",
		"It shows the jobs of a queue in PostgreSQL. upkeep's runs are shown alike.",
		[]point{
			{"find one",
				"by state, kind, queue and priority",
				"by state, action, policy, target, time and text; in the URL",
				[]string{ofConsole + "TestRunsFilter"}},
			{"one job",
				"arguments, attempts, errors, a timeline",
				"plan, guards and their answers, progress, a chart of the metric around it, the " +
					"journal",
				[]string{ofConsole + "TestRunPage"}},
			{"change it",
				"cancel, retry, delete; many at once",
				"approve, reject, cancel, retry, each with a reason; no deleting, and one at a " +
					"time",
				[]string{ofProgram + "TestConsoleClicked", ofConsole + "TestForms"}},
			{"live",
				"asks every few seconds",
				"the server tells it, and what was missed comes after a new connection",
				[]string{ofConsole + "TestEvents"}},
			{"stop everything",
				"pauses a queue",
				"pauses all, an action, a policy or a target, until a time",
				[]string{ofEngine + "TestPauseHoldsAndEnds", ofConsole + "TestForms"}},
			{"who may",
				"a user and password for all of it",
				"five roles",
				[]string{ofApp + "TestRoles"}},
		}}
}

func comparePage() string {
	p := new(page)
	p.f("# Beside what you know\n\nPoint by point, with what each does better. What is said of upkeep is shown by " +
		"the test beside it. What is said of the others is\nwhat their documentation says in November 2026.\n")
	for _, one := range peers() {
		p.f("\n## %s\n\n%s\n\n| | %s | upkeep | shown by |\n| --- | --- | --- | --- |\n", one.name, one.about, one.name)
		for _, x := range one.points {
			p.f("| %s | %s | %s | %s |\n", cell(x.what), cell(x.theirs), cell(x.ours), code(x.tests))
		}
	}
	return strings.TrimRight(p.String(), "\n") + "\n"
}
