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
	}
}
