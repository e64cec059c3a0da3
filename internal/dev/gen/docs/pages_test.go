package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/remediate"
)

func TestCommittedPagesAreCurrent(t *testing.T) {
	files, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", "..", "..", "..", name))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is old; run make generate\n%s", name, diff)
		}
	}
}

func TestDutiesNameUnitsThatThereAre(t *testing.T) {
	var names []string
	for _, c := range catalog.EveryCollector() {
		names = append(names, c.Name)
	}
	for _, a := range catalog.EveryAction() {
		names = append(names, a.Name)
	}
	rules, err := alerts.Parse(alerts.Files())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		names = append(names, r.Name)
	}
	var reference strings.Builder
	for _, page := range []string{"cli.md", "config.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		reference.Write(text)
	}
	for _, d := range duties() {
		for _, way := range d.ways {
			if !strings.Contains(reference.String(), "\n## "+way+"\n") &&
				!strings.Contains(reference.String(), "\n## `"+way+"[]`\n") {
				t.Errorf("%q: there is no %s", d.what, way)
			}
		}
		for _, u := range d.units {
			if !slices.Contains(names, u) {
				t.Errorf("%q: there is no %s", d.what, u)
			}
		}
	}
}

// A manual of such a system has these many rows. Each is done by an existing test, or is not yet.
func TestEveryDutyIsShown(t *testing.T) {
	rows := make(map[string]int)
	for _, d := range duties() {
		rows[d.when]++
		if len(d.tests) == 0 && !strings.HasPrefix(d.missing, "not yet: ") {
			t.Errorf("%q is shown by no test, and is not said to be missing", d.what)
		}
		if len(d.tests) > 0 && len(d.units)+len(d.ways) == 0 {
			t.Errorf("%q is shown, and done by nothing", d.what)
		}
		for _, name := range d.tests {
			folder, test, _ := strings.Cut(name, " ")
			if !hasTest(t, folder, test) {
				t.Errorf("%q: there is no test %s", d.what, name)
			}
		}
	}
	want := map[string]int{"day": 5, "week": 9, "month": 8, "quarter": 5, "when it is asked for": 6}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows of the manual (-want +got)\n%s", diff)
	}
}

// What is said of upkeep beside others is shown by tests, or says that it is not so.
func TestComparisonsAreShown(t *testing.T) {
	for _, one := range peers() {
		for _, x := range one.points {
			if len(x.tests) == 0 && !strings.HasPrefix(x.ours, "no") {
				t.Errorf("%s, %s: shown by no test", one.name, x.what)
			}
			for _, name := range x.tests {
				if folder, test, _ := strings.Cut(name, " "); !hasTest(t, folder, test) {
					t.Errorf("%s, %s: there is no test %s", one.name, x.what, name)
				}
			}
		}
	}
}

// hasTest says whether the folder has the test, and the script of its case.
func hasTest(t *testing.T, folder, test string) bool {
	t.Helper()
	root := filepath.Join("..", "..", "..", "..", folder)
	test, part, parted := strings.Cut(test, "/")
	files, err := filepath.Glob(filepath.Join(root, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	if parted {
		scripts, err := filepath.Glob(filepath.Join(root, "testdata", "*", part+".txtar"))
		if err != nil || len(scripts) != 1 {
			return false
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+test+"(t *testing.T) {") {
			return true
		}
	}
	return false
}

func TestEveryStateHasAMeaning(t *testing.T) {
	for _, s := range remediate.States() {
		if meaning(s) == "" {
			t.Errorf("%s has no meaning", s)
		}
	}
}
