package text_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/internal/product/text"
)

func TestForecast(t *testing.T) {
	rows := []forecast.Row{
		{Resource: "filesystem", Unit: "bytes", Days: 28, Used: 50 << 30, Limit: new(80.0 * (1 << 30)),
			Growth: new(3.0 * (1 << 30)), Week: new(20.0 * (1 << 30)), Likely: new(864000.0), Soon: new(432000.0),
			Subject: map[string]string{"server": "h", "mountpoint": "/", "device": "d", "fstype": "ext4"}},
		{Resource: "inodes", Unit: "ratio", Days: 28, Used: 0.25, Limit: new(1.0), Growth: new(0.0001), Likely: new(1e9),
			Soon: new(9e8), Subject: map[string]string{"server": "h", "mountpoint": "/"}},
		{Resource: "connections", Unit: "number", Days: 3, Used: 40, Limit: new(97.0),
			Subject: map[string]string{"server": "main"}},
		{Resource: "table", Unit: "bytes", Days: 12, Used: 100 << 20, Growth: new(-5.0 * (1 << 20)), Week: new(-100.0),
			Subject: map[string]string{"server": "main", "database": "shop", "schema": "public", "table": "orders"}},
	}
	var b strings.Builder
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	if err := text.Forecast(&b, rows, false, now); err != nil {
		t.Fatal(err)
	}
	want := `RESOURCE     ON    USED    LIMIT   A DAY    A WEEK   AT THE LIMIT IN  ON          DAYS
filesystem   h /   50 GiB  80 GiB  +3 GiB   +20 GiB  5 d – 10 d       2026-10-11  28
inodes       h /   25 %  100 %  +0.01 %  –        over 3 years     –           28
connections  main  40      97      –        –        –                –           3
1 more do not grow and have no limit; --all shows them.
`
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(b.String())); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, b.String())
	}
	b.Reset()
	if err := text.Forecast(&b, rows, true, now); err != nil || !strings.Contains(b.String(), "main shop public orders") {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	if err := text.Forecast(&b, nil, true, now); err != nil || !strings.Contains(b.String(), "once an hour") {
		t.Errorf("%v %s", err, b.String())
	}
}
