package packages_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		{"pip", `{"dependencies":[],"fixes":[]}`, []string{`level="unknown"} 0`}},
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
	} {
		if _, err := report(t, tc.kind, tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %q: %v", tc.kind, tc.text, err)
		}
	}
	for _, p := range []target.Packages{{Kind: "trivy", Path: t.TempDir()}, {Kind: "pip", Path: "/nowhere/at/all"}} {
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
