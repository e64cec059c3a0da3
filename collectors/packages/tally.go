package packages

import (
	"slices"
	"strings"
	"time"
)

// severities are all levels that are exported, the worst first, so that a level without findings is 0.
func severities() []string { return []string{"critical", "high", "medium", "low", "unknown"} }

// level returns the severity by which a finding is counted. Scanners have names of their own, and
// what none of them has is unknown, never harmless.
func level(severity string) string {
	switch severity = strings.ToLower(severity); severity {
	case "critical", "high", "medium", "low":
		return severity
	case "moderate":
		return "medium"
	case "info", "negligible":
		return "low"
	}
	return "unknown"
}

// A finding is one entry of a report: a package, and a vulnerability by all its names.
type finding struct {
	of       string   // the package and its version
	ids      []string // CVE, GHSA, PYSEC, …; none where the report has none
	severity string
	fixable  bool
}

// A tally is what a report says.
type tally struct {
	findings []finding
	skipped  int       // packages that were not audited
	nothing  string    // why nothing was audited; "" where something was
	made     time.Time // as the report says; zero where it does not
	database time.Time // when the scanner's database was built; zero where the report does not say
}

func (t *tally) add(f finding) { t.findings = append(t.findings, f) }

// counts returns how many vulnerabilities of packages were found, by level, and how many of them are
// fixable. Databases list one vulnerability under several names: entries of one package that share a name
// are one, with the worst of their severities.
func (t *tally) counts() (byLevel map[string]int, fixable int) {
	same := make([]int, len(t.findings)) // same[i] is an earlier entry of the same vulnerability, or i
	first := func(i int) int {
		for same[i] != i {
			i = same[i]
		}
		return i
	}
	named := make(map[[2]string]int)
	for i, f := range t.findings {
		same[i] = i
		for _, id := range f.ids {
			key := [2]string{f.of, strings.ToUpper(id)}
			before, known := named[key]
			if !known {
				named[key] = i
				continue
			}
			a, b := first(i), first(before)
			same[max(a, b)] = min(a, b)
		}
	}
	all := severities()
	worst, fixed := make(map[int]int), make(map[int]bool)
	for i, f := range t.findings {
		one, rank := first(i), slices.Index(all, level(f.severity))
		if before, known := worst[one]; !known || rank < before {
			worst[one] = rank
		}
		fixed[one] = fixed[one] || f.fixable
	}
	byLevel = make(map[string]int)
	for one, rank := range worst {
		byLevel[all[rank]]++
		if fixed[one] {
			fixable++
		}
	}
	return byLevel, fixable
}
