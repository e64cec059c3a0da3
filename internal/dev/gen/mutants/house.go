package main

// ofHouse are mistakes of a contributor, which a test of the code base finds.
func ofHouse() []mutant {
	const (
		house   = "./internal/dev/house"
		catalog = "./internal/product/catalog"
		path    = "github.com/ai-micro-service/upkeep/internal/product/"
	)
	return []mutant{
		{
			name: "upward", why: "a package imports from lower floors",
			file: "internal/platform/web/web.go", search: "\npackage web\n",
			replace: "\npackage web\n\nimport _ \"" + path + "config\"\n",
			pkg:     house, run: "TestFloors$",
		},
		{
			name: "sideways", why: "packages of one floor do not import each other",
			file: "internal/product/config/config.go", search: "\npackage config\n",
			replace: "\npackage config\n\nimport _ \"" + path + "catalog\"\n",
			pkg:     house, run: "TestFloors$",
		},
		{
			name: "around", why: "files of a package use one another one way",
			file: "remediate/actions/docker/prunesettings.go", search: "\ntype prune struct",
			replace: "\ntype around = image\n\ntype prune struct",
			pkg:     house, run: "TestFilesUseOneAnotherOneWay",
		},
		{
			name: "undeclared", why: "a collector writes what it declares",
			file: "collectors/postgres/server.go", search: "{c.up, c.down, c.info, c.start}",
			replace: "{c.up, c.down, c.start}",
			pkg:     "./collectors/postgres", run: "TestServer$",
		},
		{
			name: "runbook", why: "each alert has its runbook",
			file: "alerts/upkeep.rules.yaml",
			search: "          runbook_url: https://github.com/ai-micro-service/upkeep/blob/main/docs/runbooks/" +
				"UpkeepRunStuck.md\n",
			pkg: "./alerts", run: "TestAnnotations",
		},
		{
			name: "suite", why: "each action runs the suite of actions",
			file: "remediate/actions/redis/defrag_test.go", search: "actiontest.Run(t, ", replace: "_ = (",
			pkg: house, run: "TestUnitsKeepTheirPromises",
		},
		{
			name: "comment of a package", why: "each package says what it is for",
			file:   "internal/dev/tree/tree.go",
			search: "// Package tree copies the tree, for what tries a change of it.\n", replace: "",
			pkg: house, run: "TestPackageComments",
		},
		{
			name: "comment", why: "each exported name says what it promises",
			file: "internal/dev/tree/tree.go",
			search: "// Copy copies what git tracks in the tree at root, and what it would be asked to track, to " +
				"dir.\n", replace: "",
			pkg: house, run: "TestComments",
		},
		{
			name: "panel", why: "a panel reads a metric that is declared",
			file: "dashboards/remediation.json", search: "upkeep_notifications_pending{",
			replace: "upkeep_notifications_gone{",
			pkg:     catalog, run: "TestRulesAndPanelsReadWhatIsDeclared",
		},
		{
			name: "source of a panel", why: "the boards that are committed are those of the source",
			file: "internal/dev/gen/dashboards/remediation.go", search: `itself.of("upkeep_notifications_pending")`,
			replace: `itself.of("upkeep_notifications_gone")`,
			pkg:     "./internal/dev/gen/dashboards", run: "TestCommittedDashboardsAreCurrent",
		},
		{
			name: "name of a guard", why: "the name of a guard is a label and a reason: it is not changed by the way",
			file: "remediate/guardnames.go", search: `ReasonPause      = "pause"`, replace: `ReasonPause      = "halt"`,
			pkg: "./remediate/guard", run: "TestPeople$",
		},
		{
			name: "name of a guard in its file", why: "a guard has the name that package remediate lists",
			file: "remediate/guard/pause.go", search: "Name: remediate.ReasonPause,", replace: `Name: "halt",`,
			pkg: "./remediate/guard", run: "TestAll$",
		},
		{
			name: "name of a guard in a statement", why: "the end of a pause wakes what waits for it",
			file: "remediate/journal/pause.go", search: "remediate.ReasonPause); err != nil",
			replace: `"halt"); err != nil`,
			pkg:     "./remediate/journal", run: "TestTheEndOfAPauseWakes",
		},
		{
			name: "text of a guard", why: "what has a page has a text",
			file: "remediate/guard/cooldown.go",
			search: "Doc: \"Cooldown makes the run wait until the cooldown of the policy has passed since the last " +
				"run of this \" +\n\t\t\t\"action on this subject.\"",
			replace: "Doc: \"\"",
			pkg:     "./internal/dev/gen/docs", run: "TestCommittedPagesAreCurrent",
		},
		{
			name: "init", why: "nothing happens when a package is imported",
			file: "internal/dev/tree/tree.go", search: "// Copy copies", replace: "func init() {}\n\n// Copy copies",
			pkg: house, run: "TestHabits",
		},
		{
			name: "interface", why: "an interface asks for three methods at most",
			file: "internal/dev/tree/tree.go", search: "// Copy copies",
			replace: "type wide interface {\n\tA()\n\tB()\n\tC()\n\tD()\n}\n\n// Copy copies",
			pkg:     house, run: "TestHabits",
		},
	}
}
