package packages

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// formats are the programs whose reports can be read.
func formats() map[string]func([]byte, *tally) error {
	return map[string]func([]byte, *tally) error{"pip": pip, "npm": npm, "trivy": trivy, "grype": grype, "osv": osv}
}

// plain returns a text as UTF-8 without a byte order mark: PowerShell writes what is redirected
// into a file with one, and as UTF-16.
func plain(text []byte) []byte {
	order := binary.ByteOrder(binary.LittleEndian)
	switch {
	case bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	case !bytes.HasPrefix(text, []byte{0xff, 0xfe}):
		return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	}
	var units []uint16
	for text = text[2:]; len(text) > 1; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	return []byte(string(utf16.Decode(units)))
}

func pip(text []byte, t *tally) error {
	var report struct {
		Dependencies []struct {
			Name, Version string
			Skipped       string `json:"skip_reason"`
			Vulns         []struct {
				ID      string
				Aliases []string
				Fix     []string `json:"fix_versions"`
			}
		}
	}
	if err := decode(text, &report); err != nil {
		return err
	}
	if report.Dependencies == nil {
		return errors.New("it has no dependencies")
	}
	if len(report.Dependencies) == 0 {
		t.nothing = "pip-audit lists no package; look at what it is pointed at"
	}
	why := ""
	for i, d := range report.Dependencies {
		if d.Name == "" || d.Skipped == "" && d.Vulns == nil { // an SBOM has dependencies too
			return fmt.Errorf("entry %d of its dependencies has no name, or neither vulns nor a skip_reason", i+1)
		}
		if d.Skipped != "" {
			t.skipped++
			why = cmp.Or(why, d.Skipped)
			continue
		}
		for _, v := range d.Vulns {
			t.add(finding{of: d.Name + " " + d.Version, ids: names(v.ID, v.Aliases...), fixable: len(v.Fix) > 0})
		}
	}
	if t.skipped > 0 && t.skipped == len(report.Dependencies) {
		t.nothing = fmt.Sprintf("pip-audit skipped all of its %d packages (%s); let it ask an index that has them",
			t.skipped, quoted(why))
	}
	return nil
}

// names returns the names of a vulnerability without empty ones.
func names(id string, aliases ...string) []string {
	return slices.DeleteFunc(append([]string{id}, aliases...), func(s string) bool { return s == "" })
}

// npm counts packages that are vulnerable, as npm itself does.
func npm(text []byte, t *tally) error {
	var report struct {
		Vulnerabilities map[string]struct {
			Severity string
			Fix      json.RawMessage `json:"fixAvailable"` // false, true, or which version
		}
		Metadata struct {
			Dependencies *struct{ Total int }
		}
		Message string // of a request that failed; error is empty then
		Error   *struct{ Code, Summary, Detail string }
	}
	if err := decode(text, &report); err != nil {
		return err
	}
	if e := report.Error; e != nil {
		said := strings.TrimSpace(e.Code + " " + e.Summary)
		return fmt.Errorf("npm audit failed: %s", quoted(cmp.Or(said, report.Message, e.Detail, "it does not say why")))
	}
	if report.Vulnerabilities == nil {
		return errors.New("it has no vulnerabilities, not even an empty list of them; npm 7 or later writes one")
	}
	if len(report.Vulnerabilities) == 0 {
		switch all := report.Metadata.Dependencies; {
		case all == nil:
			return errors.New("it does not say how many packages were audited: metadata.dependencies is missing")
		case all.Total == 0:
			t.nothing = "npm audit found no packages; look at what it is pointed at"
		}
	}
	for name, v := range report.Vulnerabilities {
		t.add(finding{of: name, severity: v.Severity,
			fixable: len(v.Fix) > 0 && string(v.Fix) != "false" && string(v.Fix) != "null"})
	}
	return nil
}

func trivy(text []byte, t *tally) error {
	var report struct {
		SchemaVersion int
		CreatedAt     time.Time
		Results       []struct {
			Class           string
			Vulnerabilities []struct {
				ID               string `json:"VulnerabilityID"`
				VendorIDs        []string
				PkgName          string
				InstalledVersion string
				Severity         string
				FixedVersion     string
			}
		}
	}
	if err := decode(text, &report); err != nil {
		return err
	}
	if report.SchemaVersion == 0 {
		return errors.New("it has no SchemaVersion")
	}
	t.made = report.CreatedAt
	audited := false
	for _, r := range report.Results {
		audited = audited || len(r.Vulnerabilities) > 0 || r.Class == "" || strings.HasSuffix(r.Class, "-pkgs")
		for _, v := range r.Vulnerabilities {
			t.add(finding{of: v.PkgName + " " + v.InstalledVersion, ids: names(v.ID, oneEach(v.VendorIDs)...),
				severity: v.Severity, fixable: v.FixedVersion != ""})
		}
	}
	if !audited {
		t.nothing = "trivy found no packages to scan; look at what it is pointed at, and that --scanners has vuln"
	}
	return nil
}

// oneEach returns those names that are of one vulnerability. An advisory of a distribution (DSA-…,
// RHSA-…) is about several.
func oneEach(ids []string) (of []string) {
	for _, id := range ids {
		switch kind, _, _ := strings.Cut(strings.ToUpper(id), "-"); kind {
		case "CVE", "GHSA", "PYSEC", "GO", "RUSTSEC", "OSV":
			of = append(of, id)
		}
	}
	return of
}

func grype(text []byte, t *tally) error {
	var report struct {
		Matches []struct {
			Vulnerability struct {
				ID, Severity string
				Fix          struct{ State string }
			}
			Related  []struct{ ID string } `json:"relatedVulnerabilities"`
			Artifact struct{ Name, Version string }
		}
		Descriptor struct {
			Name      string
			Timestamp time.Time
			DB        struct {
				Built  time.Time // before schema 6
				Status struct{ Built time.Time }
			}
		}
	}
	if err := decode(text, &report); err != nil {
		return err
	}
	if report.Matches == nil || report.Descriptor.Name != "grype" {
		return errors.New("it has no matches, or no descriptor of grype; grype -o json writes both")
	}
	t.made, t.database = report.Descriptor.Timestamp, report.Descriptor.DB.Status.Built
	if t.database.IsZero() {
		t.database = report.Descriptor.DB.Built
	}
	for _, m := range report.Matches {
		ids := []string{m.Vulnerability.ID}
		if len(oneEach(ids)) > 0 { // what an advisory is related to are its vulnerabilities, several
			for _, r := range m.Related {
				ids = append(ids, oneEach([]string{r.ID})...)
			}
		}
		t.add(finding{of: m.Artifact.Name + " " + m.Artifact.Version, ids: names("", ids...),
			severity: m.Vulnerability.Severity, fixable: m.Vulnerability.Fix.State == "fixed"})
	}
	return nil
}

// An osvPackage is what OSV-Scanner says of one package.
type osvPackage struct {
	Package         struct{ Name, Version string }
	Vulnerabilities []struct {
		ID       string
		Aliases  []string
		Affected []struct {
			Package struct{ Name string }
			Ranges  []struct{ Events []struct{ Fixed string } }
		}
		Specific struct{ Severity any } `json:"database_specific"` // a word, in the databases that have one
	}
	Groups []struct {
		IDs         []string
		Aliases     []string
		MaxSeverity string `json:"max_severity"` // a score of CVSS, or nothing
	}
}

func osv(text []byte, t *tally) error {
	var report struct {
		Results *[]struct{ Packages []osvPackage }
	}
	if err := decode(text, &report); err != nil {
		return err
	}
	if report.Results == nil {
		return errors.New("it has no results; osv-scanner --format json writes them")
	}
	// Without --all-packages a report of packages that are all sound is the same as one of none.
	t.nothing = "osv-scanner lists no package; with --all-packages it lists those without vulnerabilities too"
	for _, r := range *report.Results {
		for _, p := range r.Packages {
			if p.Package.Name == "" {
				return errors.New("one of its packages has no name")
			}
			t.nothing = ""
			of := p.Package.Name + " " + p.Package.Version
			for _, v := range p.Vulnerabilities {
				word, _ := v.Specific.Severity.(string)
				one := finding{of: of, ids: names(v.ID, v.Aliases...), severity: word}
				for _, a := range v.Affected {
					for _, ranges := range a.Ranges {
						for _, e := range ranges.Events {
							one.fixable = one.fixable || e.Fixed != "" &&
								(a.Package.Name == "" || a.Package.Name == p.Package.Name)
						}
					}
				}
				t.add(one)
			}
			for _, g := range p.Groups {
				t.add(finding{of: of, ids: names("", append(g.IDs, g.Aliases...)...), severity: byScore(g.MaxSeverity)})
			}
		}
	}
	return nil
}

// byScore returns the severity of a score of CVSS, as its specification has it.
func byScore(score string) string {
	v, err := strconv.ParseFloat(score, 64)
	switch {
	case err != nil || v <= 0:
		return ""
	case v >= 9:
		return "critical"
	case v >= 7:
		return "high"
	case v >= 4:
		return "medium"
	}
	return "low"
}
