package host_test

import (
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/host"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// What a machine has mounted differs, so the samples are held against df here
// and against the contract in the suite.
func TestFilesystem(t *testing.T) {
	collectortest.HostContract(t, host.Filesystem)
	c := host.Filesystem(&target.Host{Name: "s", Root: "/"})
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("df", "--output=pcent", "/").Output()
	if err != nil {
		t.Fatal(err)
	}
	percent := strings.TrimSuffix(strings.Fields(string(out))[1], "%")
	want, err := strconv.ParseFloat(percent, 64)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(w.Text())) {
		if !strings.HasPrefix(line, "upkeep_host_filesystem_used_ratio{") ||
			!strings.Contains(line, `mountpoint="/",`) {
			continue
		}
		got, err := strconv.ParseFloat(strings.Fields(line)[len(strings.Fields(line))-1], 64)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(math.Ceil(got*100)-want) > 1 { // df rounds up
			t.Errorf("used %.4f, df says %s %%", got, percent)
		}
		return
	}
	t.Errorf("nothing about / in:\n%s", w.Text())
}
