package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	sight "github.com/ai-micro-service/upkeep/internal/product/look"
)

// A look is printed with what each finding costs, the figures that show it and what mends it, and never without what is
// not known.
func TestPrintLook(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)
	shop := map[string]string{"server": "main", "database": "shop", "table": "orders"}
	figure := []sight.Evidence{{What: "upkeep_x_ratio", Value: "75 %", From: "postgres/x", At: at, Since: &at, Note: "estimated"}}
	r := sight.Report{
		Targets: []sight.Seen{{Server: "main", Kind: "postgres", Pending: []string{"postgres/wal"}}, {Server: "cache", Kind: "redis"}},
		Findings: []sight.Finding{
			{Kind: "postgres/setting_fsync", Severity: "critical", Harm: sight.Data, Server: "main", Title: "fsync is off",
				Cost: "a crash can destroy all data", Evidence: figure, ByHand: "ALTER SYSTEM SET fsync = on;"},
			{Kind: "postgres/table_bloat", Severity: "warning", Harm: sight.Space, Server: "main", Subject: shop, Bytes: 1 << 30,
				Title: "75 % of table orders is bloat", Cost: "disk", Evidence: figure,
				Plan: &sight.Plan{Action: "postgres/repack", Command: "upkeep plan postgres/repack server=main"}},
			{Kind: "postgres/unused_index", Severity: "info", Harm: sight.Space, Server: "main", Subject: shop, Seconds: 90,
				Title: "no query has used it", Cost: "disk", Candidate: &sight.Candidate{Since: at, Enough: at, Why: "a standby"}},
			{Kind: "redis/no_limit", Severity: "info", Harm: sight.Service, Server: "cache", Title: "no limit", Cost: "memory",
				Plan: &sight.Plan{Action: "redis/defrag"}},
		},
		Left: []sight.Left{{Server: "main", Kind: "postgres/table_bloat", Count: 3}},
		Unknown: []sight.Unknown{{Server: "main", What: "postgres/sessions", Why: "hidden", SQL: "GRANT x TO y;"},
			{Server: "cache", What: "redis/slowlog", Why: "NOPERM"}},
	}
	var b strings.Builder
	printLook(&b, r)
	want := `CRITICAL (data) on main: fsync is off
  cost: a crash can destroy all data
  upkeep_x_ratio = 75 % (postgres/x, 12:00:00, counted since 2026-11-30 12:00:00, estimated)
  by hand: ALTER SYSTEM SET fsync = on;

WARNING (space, 1 GiB) on main, database shop: 75 % of table orders is bloat
  cost: disk
  upkeep_x_ratio = 75 % (postgres/x, 12:00:00, counted since 2026-11-30 12:00:00, estimated)
  plan: upkeep plan postgres/repack server=main

INFO (space, 1m30s) on main, database shop: no query has used it
  cost: disk
  candidate: evidence since 2026-11-30 12:00:00, enough on 2026-11-30 12:00:00; a standby

INFO (service) on cache: no limit
  cost: memory
  plan: redis/defrag (a name in it cannot be typed: ask for JSON)

and 3 more of postgres/table_bloat on main, each as large at most
NOT KNOWN on main, postgres/sessions: hidden
  GRANT x TO y;
NOT KNOWN on cache, redis/slowlog: NOPERM
NOT READ YET on main: postgres/wal
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := onlyOf(&r, "mani", ""); err == nil || !strings.Contains(err.Error(), "targets: main, cache") {
		t.Errorf("a server that no target has: %v", err)
	}
	if err := onlyOf(&r, "cache", "service"); err != nil || len(r.Findings) != 1 || len(r.Unknown) != 1 || len(r.Left) != 0 ||
		len(r.Targets) != 1 {
		t.Errorf("%v %+v", err, r)
	}
}
