package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/dashboards"
)

func TestCommittedDashboardsAreCurrent(t *testing.T) {
	boards := every(t)
	root := filepath.Join("..", "..", "..", "..")
	same := func(path, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is old; run make generate\n%s", path, diff)
		}
	}
	var names []string
	for _, b := range boards {
		want, err := render(b.dashboard)
		if err != nil {
			t.Fatal(err)
		}
		same(filepath.Join("dashboards", b.file), string(want))
		names = append(names, b.file)
	}
	same(filepath.Join("docs", "dashboards.md"), reference(boards))
	embedded, err := fs.Glob(dashboards.Files(), "*.json")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, embedded); diff != "" {
		t.Errorf("the binary has other dashboards than are generated, -want +got:\n%s", diff)
	}
}

func every(t testing.TB) []file {
	t.Helper()
	boards, err := all()
	if err != nil || len(boards) == 0 {
		t.Fatalf("all: %v %v", boards, err)
	}
	return boards
}
