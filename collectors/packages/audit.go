// Package packages asks which known vulnerabilities the packages of services have.
// Each file asks one question.
package packages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
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
			"Number of known vulnerabilities by their level: critical, high, medium, low, or unknown where the "+
				"report has none, as pip-audit's.", "level"),
		fixable: gauge("vulnerabilities_fixable",
			"Number of them that a newer version of the package does not have.").WithoutPanel(collectors.AdHoc),
		reported: gauge("report_timestamp_seconds",
			"When the report was made; vulnerabilities that were found later are not in it."),
	}
	return collectors.Collector{
		Name:   "packages/audit",
		Target: t.Name,
		Doc: `Audit reports how many known vulnerabilities the packages of a service have, by severity.

Reads a report as JSON of pip-audit, npm audit or trivy; trivy's is that of an image
too, with the packages of its base. Where the path is a folder, pip-audit (of its
requirements.txt) or npm audit (of its package-lock.json, of npm 7 or later) is run,
when it is installed. It runs on a copy of the names and versions in that file: the
folder's own configuration (.npmrc) and options are not read, no package is built,
and nothing of upkeep's environment is passed on. A requirement must be pinned
(name==version). When upkeep runs as root, the program runs as the folder's owner.
Both ask the public registry; registry names another one for npm. Behind a proxy name
a report instead. Rights: to read the report or the folder. Cost: one file; a run
takes seconds to minutes, four times a day.`,
		Metrics: []*collectors.Metric{c.vulnerable, c.fixable, c.reported},
		Every:   6 * time.Hour,
		Timeout: 5 * time.Minute,
		Collect: c.collect,
	}
}

type audit struct {
	target                        *target.Packages
	vulnerable, fixable, reported *collectors.Metric
}

// severities are all levels that are exported, so that a level without findings is 0.
func severities() []string { return []string{"critical", "high", "medium", "low", "unknown"} }

// A tally counts vulnerabilities.
type tally struct {
	bySeverity map[string]int
	fixable    int
}

func (t *tally) add(severity string, fixable bool) {
	switch severity = strings.ToLower(severity); severity {
	case "critical", "high", "low":
	case "medium", "moderate":
		severity = "medium"
	case "info", "negligible":
		severity = "low"
	default:
		severity = "unknown"
	}
	t.bySeverity[severity]++
	if fixable {
		t.fixable++
	}
}

func (c audit) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	text, at, err := c.report(ctx)
	if err != nil {
		return err
	}
	t := tally{bySeverity: make(map[string]int)}
	read := map[string]func([]byte, *tally) error{"pip": pip, "npm": npm, "trivy": trivy}[c.target.Kind]
	if read == nil {
		return fmt.Errorf("unknown kind of report: %q", c.target.Kind)
	}
	if err := read(text, &t); err != nil {
		return fmt.Errorf("%s: it is no report of %s: %w", c.target.Path, c.target.Kind, err)
	}
	for _, s := range severities() {
		w.Set(c.vulnerable, float64(t.bySeverity[s]), c.target.Name, s)
	}
	w.Set(c.fixable, float64(t.fixable), c.target.Name)
	w.Set(c.reported, float64(at.UnixMilli())/1000, c.target.Name)
	return nil
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

func pip(text []byte, t *tally) error {
	var report struct {
		Dependencies []struct {
			Vulns []struct {
				Fix []string `json:"fix_versions"`
			}
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return err
	}
	if report.Dependencies == nil {
		return errors.New("it has no dependencies")
	}
	for _, d := range report.Dependencies {
		for _, v := range d.Vulns {
			t.add("", len(v.Fix) > 0)
		}
	}
	return nil
}

// npm counts packages that are vulnerable, as npm itself does.
func npm(text []byte, t *tally) error {
	var report struct {
		Vulnerabilities map[string]struct {
			Severity string
			Fix      json.RawMessage `json:"fixAvailable"` // false, true, or which version
		}
		Error *struct{ Code, Summary string }
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return err
	}
	if report.Error != nil {
		return fmt.Errorf("npm audit failed: %s %s", report.Error.Code, report.Error.Summary)
	}
	if report.Vulnerabilities == nil {
		return errors.New("it has no vulnerabilities, not even an empty list of them; npm 7 or later writes one")
	}
	for _, v := range report.Vulnerabilities {
		t.add(v.Severity, len(v.Fix) > 0 && string(v.Fix) != "false" && string(v.Fix) != "null")
	}
	return nil
}

func trivy(text []byte, t *tally) error {
	var report struct {
		SchemaVersion int
		Results       []struct {
			Vulnerabilities []struct{ Severity, FixedVersion string }
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return err
	}
	if report.SchemaVersion == 0 {
		return errors.New("it has no SchemaVersion")
	}
	for _, r := range report.Results {
		for _, v := range r.Vulnerabilities {
			t.add(v.Severity, v.FixedVersion != "")
		}
	}
	return nil
}
