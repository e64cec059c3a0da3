package packages_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/packages"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

func report(t *testing.T, kind, text string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &target.Packages{Name: "s", Kind: kind, Path: file}
	c := packages.Audit(p)
	w := collectors.NewWriter(c)
	err := c.Collect(t.Context(), w)
	if err != nil && w.Samples() > 0 {
		t.Errorf("%s: samples of a report that could not be read:\n%s", kind, w.Text())
	}
	if err == nil {
		collectortest.Promises(t, packages.Audit(p))
	}
	return string(w.Text()), err
}

func TestReports(t *testing.T) {
	for _, tc := range []struct {
		kind, text string
		want       []string
	}{
		{
			"pip",
			`{"dependencies":[{"name":"a","version":"1","vulns":[{"id":"PYSEC-1","fix_versions":["2"],"aliases":[],"description":""},{"id":"PYSEC-2","fix_versions":[]}]},{"name":"b","version":"1","vulns":[]},{"name":"c","skip_reason":"not found"}],"fixes":[]}`,
			[]string{`level="unknown"} 2`, `level="critical"} 0`, `fixable{server="s"} 1`},
		},
		{"pip", `{"dependencies":[{"name":"a","version":"1","vulns":[]}],"fixes":[]}`, []string{`level="unknown"} 0`}},
		{"npm", `{"auditReportVersion":2,"vulnerabilities":{},"metadata":{"dependencies":{"prod":4,"total":3}}}`,
			[]string{`level="critical"} 0`}},
		{
			"npm",
			`{"auditReportVersion":2,"vulnerabilities":{"a":{"name":"a","severity":"critical","fixAvailable":true},"b":{"severity":"moderate","fixAvailable":false},"c":{"severity":"high","fixAvailable":{"name":"d","version":"2"}},"d":{"severity":"info"}},"metadata":{}}`,
			[]string{`level="critical"} 1`, `level="high"} 1`, `level="medium"} 1`, `level="low"} 1`,
				`fixable{server="s"} 2`},
		},
		{
			"trivy",
			`{"SchemaVersion":2,"ArtifactName":"api:1","Results":[{"Target":"debian","Class":"os-pkgs","Vulnerabilities":[{"VulnerabilityID":"CVE-1","Severity":"HIGH","FixedVersion":"1.2"},{"VulnerabilityID":"CVE-2","Severity":"UNKNOWN"}]},{"Target":"app"}]}`,
			[]string{`level="high"} 1`, `level="unknown"} 1`, `fixable{server="s"} 1`},
		},
	} {
		got, err := report(t, tc.kind, tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.kind, err)
		}
		for _, want := range append(tc.want, "upkeep_packages_report_timestamp_seconds") {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %s in:\n%s", tc.kind, want, got)
			}
		}
	}
}

// The reports of each scanner as they are written: levels, names, times, and what was not audited.
func TestScanners(t *testing.T) {
	osv := func(groups string) string {
		return `{"results":[{"source":{"path":"/src/requirements.txt","type":"lockfile"},"packages":[{"package":{"name":"jinja2","version":"2.4.1","ecosystem":"PyPI"},"vulnerabilities":[` +
			`{"id":"GHSA-462w-v97r-4m45","aliases":["CVE-2019-10906"],"affected":[{"package":{"name":"jinja2","ecosystem":"PyPI"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.10.1"}]}]}],"database_specific":{"severity":"HIGH"}},` +
			`{"id":"PYSEC-2019-217","aliases":["CVE-2019-10906","GHSA-462w-v97r-4m45"],"affected":[]},` +
			`{"id":"PYSEC-2099-1","affected":[{"package":{"name":"another"},"ranges":[{"events":[{"fixed":"9"}]}]}],"database_specific":{"severity":7}}]` + groups + `}]}]}`
	}
	for name, tc := range map[string]struct {
		kind, text string
		want       []string
	}{
		"aliases of pip count once": {"pip",
			`{"dependencies":[{"name":"a","version":"1","vulns":[{"id":"PYSEC-1","fix_versions":[],"aliases":["GHSA-1","CVE-1"]},{"id":"GHSA-1","fix_versions":["2"],"aliases":["PYSEC-1"]},{"id":"GHSA-2","aliases":[]}]},{"name":"b","version":"1","vulns":[{"id":"PYSEC-1"}]}]}`,
			[]string{`level="unknown"} 3`, `fixable{server="s"} 1`, `skipped{server="s"} 0`}},
		"a name that joins two entries that were apart": {"pip",
			`{"dependencies":[{"name":"a","version":"1","vulns":[{"id":"PYSEC-1"},{"id":"CVE-1"},{"id":"GHSA-1","aliases":["cve-1","PYSEC-1"]}]}]}`,
			[]string{`level="unknown"} 1`}},
		"skipped is not clean": {"pip",
			`{"dependencies":[{"name":"a","version":"1","vulns":[]},{"name":"b","skip_reason":"Dependency not found on PyPI"}]}`,
			[]string{`level="unknown"} 0`, `skipped{server="s"} 1`}},
		"a byte order mark": {"pip", "\xef\xbb\xbf" + `{"dependencies":[{"name":"a","vulns":[{"id":"x"}]}]}`,
			[]string{`level="unknown"} 1`}},
		"UTF-16 of PowerShell": {"pip", utf16le(`{"dependencies":[{"name":"ä","vulns":[{"id":"x"}]}]}`),
			[]string{`level="unknown"} 1`}},
		"trivy": {"trivy",
			`{"SchemaVersion":2,"CreatedAt":"2021-08-25T12:20:30.000000005Z","Results":[{"Target":"a","Class":"lang-pkgs","Vulnerabilities":[{"VulnerabilityID":"CVE-1","VendorIDs":["GHSA-1"],"PkgName":"p","InstalledVersion":"1","Severity":"CRITICAL","FixedVersion":"2"},{"VulnerabilityID":"GHSA-1","PkgName":"p","InstalledVersion":"1","Severity":"LOW"},{"VulnerabilityID":"CVE-2","VendorIDs":["DSA-1"],"PkgName":"p","InstalledVersion":"1","Severity":"MEDIUM"},{"VulnerabilityID":"CVE-3","VendorIDs":["DSA-1"],"PkgName":"p","InstalledVersion":"1","Severity":"MEDIUM"}]},{"Target":"b","Class":"lang-pkgs","Vulnerabilities":[{"VulnerabilityID":"CVE-1","PkgName":"p","InstalledVersion":"1","Severity":"CRITICAL"},{"VulnerabilityID":"CVE-1","PkgName":"p","InstalledVersion":"1.1","Severity":"CRITICAL"}]}]}`,
			[]string{`level="critical"} 2`, `level="medium"} 2`, `level="low"} 0`, `fixable{server="s"} 1`,
				`report_timestamp_seconds{server="s"} 1629894030`}},
		"trivy, clean": {"trivy", `{"SchemaVersion":2,"Results":[{"Target":"debian","Class":"os-pkgs"}]}`,
			[]string{`level="critical"} 0`}},
		"grype": {"grype",
			`{"matches":[{"vulnerability":{"id":"GHSA-1","severity":"High","fix":{"versions":["2"],"state":"fixed"}},"relatedVulnerabilities":[{"id":"CVE-1"}],"artifact":{"name":"p","version":"1"}},{"vulnerability":{"id":"CVE-1","severity":"Critical","fix":{"versions":[],"state":"not-fixed"}},"relatedVulnerabilities":[],"artifact":{"name":"p","version":"1"}},{"vulnerability":{"id":"ELSA-1","severity":"Unknown","fix":{"state":""}},"relatedVulnerabilities":[{"id":"CVE-2"},{"id":"CVE-3"}],"artifact":{"name":"p","version":"1"}},{"vulnerability":{"id":"CVE-2","severity":"Negligible"},"artifact":{"name":"p","version":"1"}}],"source":{},"descriptor":{"name":"grype","version":"0.92.0","timestamp":"2021-08-25T12:20:30Z","db":{"status":{"schemaVersion":"v6.0.2","built":"2021-08-24T01:00:00Z","valid":true}}}}`,
			[]string{`level="critical"} 1`, `level="high"} 0`, `level="unknown"} 1`, `level="low"} 1`,
				`fixable{server="s"} 1`, `report_timestamp_seconds{server="s"} 1629894030`,
				`database_timestamp_seconds{server="s"} 1629766800`}},
		"grype before schema 6": {"grype",
			`{"matches":[],"descriptor":{"name":"grype","timestamp":"2021-08-25T12:20:30Z","db":{"built":"2021-08-24T01:00:00Z","schemaVersion":5}}}`,
			[]string{`level="critical"} 0`, `database_timestamp_seconds{server="s"} 1629766800`}},
		"osv, by its groups": {"osv", osv(`,"groups":[{"ids":["GHSA-462w-v97r-4m45","PYSEC-2019-217"],"aliases":["CVE-2019-10906"],"max_severity":"9.8"},{"ids":["PYSEC-2099-1"],"max_severity":""}]`),
			[]string{`level="critical"} 1`, `level="high"} 0`, `level="unknown"} 1`, `fixable{server="s"} 1`}},
		"osv, by the words of the entries": {"osv", osv(""), []string{`level="high"} 1`, `level="unknown"} 1`}},
		"osv, clean":                       {"osv", `{"results":[{"packages":[{"package":{"name":"a","version":"1"}}]}]}`, []string{`level="high"} 0`, `level="unknown"} 0`}},
	} {
		got, err := report(t, tc.kind, tc.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range tc.want {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("%s: no %s in:\n%s", name, want, got)
			}
		}
		if tc.kind != "grype" && strings.Contains(got, "database_timestamp") {
			t.Errorf("%s: a time of a database that the report does not have:\n%s", name, got)
		}
	}
}

// utf16le returns a text as PowerShell redirects it.
func utf16le(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// A report that was copied is as old as it says, and one that says a time to come as its file.
func TestReportsAge(t *testing.T) {
	at := func(text string) (s string) {
		got, err := report(t, "trivy", text)
		if err != nil {
			t.Fatal(err)
		}
		_, s, _ = strings.Cut(got, `report_timestamp_seconds{server="s"} `)
		return s[:4]
	}
	const clean = `,"Results":[{"Class":"os-pkgs"}]}`
	file := at(`{"SchemaVersion":2` + clean)
	if got := at(`{"SchemaVersion":2,"CreatedAt":"2099-01-01T00:00:00Z"` + clean); got != file {
		t.Errorf("a report of 2099: %s…, its file %s…", got, file)
	}
	if got := at(`{"SchemaVersion":2,"CreatedAt":"2021-08-25T12:20:30Z"` + clean); got != "1629" {
		t.Errorf("a report of 2021: %s…", got)
	}
}

// The age of Trivy's database is what the file beside it says.
func TestDatabaseOfTrivy(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"report.json": `{"SchemaVersion":2,"Results":[{"Class":"os-pkgs"}]}`,
		"metadata.json": `{"Version":2,"NextUpdate":"2021-08-24T07:00:00Z","UpdatedAt":"2021-08-24T01:00:00Z"}`,
		"other.json":    `{}`})
	collect := func(database string) (string, error) {
		c := packages.Audit(&target.Packages{Name: "s", Kind: "trivy", Path: filepath.Join(dir, "report.json"),
			Database: filepath.Join(dir, database)})
		w := collectors.NewWriter(c)
		err := c.Collect(t.Context(), w)
		return string(w.Text()), err
	}
	got, err := collect("metadata.json")
	if err != nil || !strings.Contains(got, `database_timestamp_seconds{server="s"} 1629766800`) {
		t.Errorf("%v\n%s", err, got)
	}
	// A file that cannot be read costs the age of the database, and no count.
	for _, file := range []string{"other.json", "gone.json", "."} {
		got, err := collect(file)
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, file)) {
			t.Errorf("%s: %v", file, err)
		}
		if !strings.Contains(got, `level="critical"} 0`) || !strings.Contains(got, "report_timestamp_seconds") ||
			strings.Contains(got, "database_timestamp") {
			t.Errorf("%s:\n%s", file, got)
		}
	}
}

// What is no report is an error, and never a count of none.
func TestNoReports(t *testing.T) {
	for _, tc := range []struct{ kind, text, want string }{
		{"pip", "", "it is no report of pip"},
		{"pip", "[]", "it is no report of pip"},
		{"pip", `{"vulnerabilities":{}}`, "it has no dependencies"},
		{"npm", `{"error":{"code":"ENOLOCK","summary":"no lockfile"}}`, "npm audit failed: ENOLOCK no lockfile"},
		{"npm", `{"advisories":{}}`, "npm 7 or later"},
		{"trivy", `{}`, "it has no SchemaVersion"},
		{"trivy", `<html>`, "it is no report of trivy"},
		{"trivy", `{"SchemaVersion":2}`, "nothing was audited: trivy found no packages"},
		{"trivy", `{"SchemaVersion":2,"Results":[{"Class":"secret"}]}`, "nothing was audited: trivy found no packages"},
		{"npm", `{"message":"request to https://r.example/-/npm failed, reason: getaddrinfo ENOTFOUND r.example","error":{"summary":"","detail":""}}`,
			"npm audit failed: request to https://r.example/-/npm failed, reason: getaddrinfo ENOTFOUND"},
		{"npm", `{"error":{"summary":"","detail":"see\u001b[31m the log"}}`, `npm audit failed: see\u001b[31m the log`},
		{"npm", `{"error":{}}`, "npm audit failed: it does not say why"},
		{"pip", `{"dependencies":[{"name":"a","skip_reason":"not on PyPI"},{"name":"b","skip_reason":"x"}],"fixes":[]}`,
			"nothing was audited: pip-audit skipped all of its 2 packages (not on PyPI)"},
		{"grype", `{"matches":[]}`, "no descriptor of grype"},
		{"grype", `{"descriptor":{"name":"grype"}}`, "it has no matches"},
		{"osv", `{}`, "it has no results"},
		{"osv", `{"results":{}}`, "it is no report of osv"},
		{"pip", `{"dependencies":[],"fixes":[]}`, "nothing was audited: pip-audit lists no package"},
		{"pip", `{"bomFormat":"CycloneDX","dependencies":[{"ref":"a","dependsOn":[]}]}`, "entry 1 of its dependencies has no name"},
		{"pip", `{"dependencies":[{"name":"a","version":"1"}]}`, "neither vulns nor a skip_reason"},
		{"npm", `{"auditReportVersion":2,"vulnerabilities":{},"metadata":{"dependencies":{"prod":1,"total":0}}}`,
			"nothing was audited: npm audit found no packages"},
		{"npm", `{"vulnerabilities":{}}`, "it does not say how many packages were audited"},
		{"osv", `{"results":[]}`, "nothing was audited: osv-scanner lists no package; with --all-packages"},
		{"osv", `{"SchemaVersion":2,"Results":[{"Class":"os-pkgs"}]}`, "nothing was audited: osv-scanner lists no package"},
		{"osv", `{"results":[{"packages":[{}]}]}`, "one of its packages has no name"},
		{"grype", " \n", "it is no report of grype"},
		{"pip", "", "report.json: it is no report of pip: it is empty"},
		{"pip", "[]", "line 1: the whole is a list, and an object with keys was expected"},
		{"pip", "{\n\"dependencies\": {\"a\": 1}}", "line 2: dependencies is an object with keys, and a list was expected"},
		{"pip", "{\"dependencies\":[\n{\"name\":\"a\",\n\"vulns\":[{\"id\":7}]}]}", "line 3: dependencies.vulns.id is a number, and text was expected"},
		{"npm", `{"vulnerabilities":[]}`, "line 1: vulnerabilities is a list, and an object with keys was expected"},
		{"npm", `{"vulnerabilities":{"a":{"severity":true}}}`, "severity is true or false, and text was expected"},
		{"osv", `{"results":{}}`, "line 1: results is an object with keys, and a list was expected"},
		{"trivy", `{"SchemaVersion":2,"Results":[{"Vul`, "it ends in the middle of its JSON"},
		{"trivy", "{\n<html>", "it is no JSON: line 2: invalid character '<'"},
		{"trivy", `{"SchemaVersion":2,"CreatedAt":"yesterday"}`, `yesterday is no time; one like 2026-01-31T12:00:00Z was expected`},
		{"trivy", `{"SchemaVersion":2,"CreatedAt":7}`, "one of its times is no text"},
		{"snyk", `{}`, "unknown kind of report"},
	} {
		if _, err := report(t, tc.kind, tc.text); err == nil || !strings.Contains(err.Error(), tc.want) ||
			strings.Contains(err.Error(), ": json: ") {
			t.Errorf("%s %q: %v", tc.kind, tc.text, err)
		}
	}
	for _, p := range []target.Packages{{Kind: "trivy", Path: t.TempDir()}, {Kind: "grype", Path: t.TempDir()},
		{Kind: "osv", Path: t.TempDir()}, {Kind: "pip", Path: "/nowhere/at/all"}} {
		c := packages.Audit(&p)
		if err := c.Collect(t.Context(), collectors.NewWriter(c)); err == nil {
			t.Errorf("%+v is no error", p)
		}
	}
}

// A folder is audited by the tool itself. Where the tool cannot, that is an error
// that says why, and never a count of none.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "requirements.txt"), []byte("requests==2.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "/nowhere")
	for kind, want := range map[string]string{"pip": "pip-audit is not installed here",
		"npm": "npm is not installed here"} {
		c := packages.Audit(&target.Packages{Name: "s", Kind: kind, Path: dir})
		if err := c.Collect(t.Context(), collectors.NewWriter(c)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
