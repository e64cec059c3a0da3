// Package packages asks which known vulnerabilities the packages of services have.
// Each file asks one question.
package packages

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/files"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Audit reports the known vulnerabilities of the packages of a service.
func Audit(t *target.Packages) collectors.Collector {
	gauge := func(name, help string, labels ...string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_packages_" + name, Type: collectors.Gauge, Help: help,
			Labels: append([]string{"server"}, labels...)}
	}
	c := audit{
		target: t,
		vulnerable: gauge("vulnerabilities",
			"Number of known vulnerabilities of packages by their level: critical, high, medium, low, or unknown "+
				"where the report has no level, as pip-audit's. One with several names counts once for a package.",
			"level"),
		fixable: gauge("vulnerabilities_fixable",
			"Number of them that a newer version of the package does not have.").WithoutPanel(collectors.AdHoc),
		skipped: gauge("skipped",
			"Number of packages that were not audited, as pip-audit says: their vulnerabilities are not known."),
		reported: gauge("report_timestamp_seconds",
			"When the report was made; vulnerabilities that were found later are not in it."),
		database: gauge("database_timestamp_seconds",
			"When the database was built that the scanner compared with; absent where neither the report nor "+
				"packages.database says."),
	}
	return collectors.Collector{
		Name:   "packages/audit",
		Target: t.Name,
		Doc: `Audit reports how many known vulnerabilities the packages of a service have, by severity.

Reads a report as JSON of pip-audit, npm audit, Trivy, Grype or OSV-Scanner; an image's has
the packages of its base too. A vulnerability with several names (CVE, GHSA, PYSEC)
counts once for a package, with the worst of its levels. Packages that were skipped are
counted; a report that skipped all of them, or scanned nothing, is an error and not
zero vulnerabilities. OSV-Scanner lists packages without vulnerabilities only with
--all-packages; without it a report that lists none is an error too. Where the path is a folder, pip-audit (of its
requirements.txt) or npm audit (of its package-lock.json, of npm 7 or later) is run,
when it is installed. It runs on a copy of the names and versions in that file: the
folder's own configuration (.npmrc) and options are not read, no package is built,
and nothing of upkeep's environment is passed on. A requirement must be pinned
(name==version). When upkeep runs as root, the program runs as the folder's owner.
Both ask the public registry; registry names another one for npm. Behind a proxy name
a report instead. Rights: to read the report or the folder. Cost: one file; a run
takes seconds to minutes, four times a day.`,
		Metrics: []*collectors.Metric{c.vulnerable, c.fixable, c.skipped, c.reported, c.database},
		Every:   6 * time.Hour,
		Timeout: 5 * time.Minute,
		Collect: c.collect,
	}
}

type audit struct {
	target                                           *target.Packages
	vulnerable, fixable, skipped, reported, database *collectors.Metric
}

func (c audit) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	text, at, err := c.report(ctx)
	if err != nil {
		return err
	}
	read := formats()[c.target.Kind]
	if read == nil {
		return fmt.Errorf("unknown kind of report: %q", c.target.Kind)
	}
	var t tally
	if err := read(plain(text), &t); err != nil {
		return fmt.Errorf("%s: it is no report of %s: %w", c.target.Path, c.target.Kind, err)
	}
	if t.nothing != "" {
		return fmt.Errorf("%s: nothing was audited: %s", c.target.Path, t.nothing)
	}
	if c.target.Database != "" {
		t.database, err = Built(c.target.Database) // what the report says is known all the same
	}
	found, fixable := t.counts()
	for _, s := range severities() {
		w.Set(c.vulnerable, float64(found[s]), c.target.Name, s)
	}
	w.Set(c.fixable, float64(fixable), c.target.Name)
	w.Set(c.skipped, float64(t.skipped), c.target.Name)
	if !t.made.IsZero() && t.made.Before(at) {
		at = t.made // the file may be a copy, which is newer than the report
	}
	w.Set(c.reported, float64(at.UnixMilli())/1000, c.target.Name)
	if !t.database.IsZero() {
		w.Set(c.database, float64(t.database.UnixMilli())/1000, c.target.Name)
	}
	return err
}

// reportMost is more than any report has.
const reportMost = 64 << 20

// report reads the report, or has it made.
func (c audit) report(ctx context.Context) (text []byte, at time.Time, err error) {
	info, err := os.Stat(c.target.Path)
	if err != nil {
		return nil, at, err
	}
	if !info.IsDir() {
		text, info, err := files.Read(c.target.Path, reportMost)
		if err != nil {
			return nil, at, err
		}
		return text, info.ModTime(), nil
	}
	text, err = runAudit(ctx, c.target, info)
	return text, time.Now(), err
}

// databaseMost is more than a file about a database has.
const databaseMost = 1 << 20

// Built returns when a database of Trivy was built, as the metadata.json beside it says.
func Built(path string) (at time.Time, err error) {
	text, _, err := files.Read(path, databaseMost)
	if err != nil {
		return at, err
	}
	var is struct{ UpdatedAt time.Time }
	if err := decode(text, &is); err != nil {
		return at, fmt.Errorf("%s: %w", path, err)
	}
	if is.UpdatedAt.IsZero() {
		return at, fmt.Errorf("%s: it has no UpdatedAt, so it is not the metadata.json of Trivy", path)
	}
	return is.UpdatedAt, nil
}
