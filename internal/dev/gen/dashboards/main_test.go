package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommittedDashboardsAreCurrent(t *testing.T) {
	for name, d := range every(t) {
		want, err := render(d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "dashboards", name))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("dashboards/%s is old; run make generate\n%s", name, diff)
		}
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	for name, d := range every(t) {
		taken := make(map[[2]int]string)
		for _, p := range d.Panels {
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if x >= 24 || taken[[2]int{x, y}] != "" {
						t.Fatalf("%s: panel %q is out of the grid or over %q", name, p.Title, taken[[2]int{x, y}])
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

func every(t *testing.T) map[string]dashboard {
	t.Helper()
	d, err := all()
	if err != nil || len(d) == 0 {
		t.Fatalf("all: %v %v", d, err)
	}
	return d
}
