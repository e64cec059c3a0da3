package remediate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Labels are never cut, since two alerts would become one; annotations say that they were.
func TestBounded(t *testing.T) {
	labels := func(n, size int) map[string]string {
		all := map[string]string{"alertname": "A"}
		for i := range n {
			all[fmt.Sprint("l", i)] = strings.Repeat("x", size)
		}
		return all
	}
	for want, all := range map[string]map[string]string{
		"": labels(63, 100), "65 labels": labels(64, 1), "4098 bytes": labels(1, 4096), "labels have": labels(10, 2000),
	} {
		_, err := remediate.Alert{Labels: all}.Bounded()
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	notes := map[string]string{"limit": "0.5", "description": strings.Repeat("ß", 10<<10), "zzz": "last"}
	for i := range 100 {
		notes[fmt.Sprintf("n%03d", i)] = strings.Repeat("y", 1000)
	}
	a, err := remediate.Alert{Labels: labels(1, 1), Annotations: notes}.Bounded()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for name, value := range a.Annotations {
		size += len(name) + len(value)
	}
	if d := a.Annotations["description"]; a.Annotations["limit"] != "0.5" || !strings.HasSuffix(d,
		"ß… (cut by upkeep: it has 20480 bytes)") || size > 34<<10 || a.Annotations["zzz"] != "" ||
		!strings.Contains(a.Annotations["upkeep_cut"], "annotations were left out") || len(a.Annotations) > 65 {
		t.Errorf("%d annotations with %d bytes: %.200v", len(a.Annotations), size, a.Annotations)
	}
	if notes["zzz"] == "" {
		t.Error("the caller's annotations were changed")
	}
}
