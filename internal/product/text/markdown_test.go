package text_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/remediate"
)

// The draft of a postmortem has the alert, the plan, who agreed, every entry and
// both measures, and no text of others becomes markup in it.
func TestMarkdown(t *testing.T) {
	at := time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)
	before, after, limit := 0.667, 0.01, 0.2
	hostile := "täble|`x`\n# not a heading"
	s := console.RunDetails{
		Lowers: "upkeep_postgres_table_dead_ratio",
		Run: remediate.Run{
			ID: 7, State: remediate.Resolved, Why: "it went | down", Created: at, Changed: at.Add(90 * time.Second),
			Before: &before, After: &after,
			Request: remediate.Request{Action: "postgres/vacuum", Subject: map[string]string{"table": hostile},
				Policy: "dead rows", By: "alert/PostgresDeadRows", Limit: &limit},
			Plan: remediate.Plan{Steps: []remediate.Step{{Do: "VACUUM `t`"}},
				Facts: []string{"1 of 2 rows are dead"}},
		},
		Incident: &remediate.Incident{Opened: at,
			Alert: remediate.Alert{Labels: map[string]string{"alertname": "PostgresDeadRows"},
				Annotations: map[string]string{"summary": "dead\n## rows"}}},
		Entries: []remediate.Entry{
			{At: at, To: remediate.Received, Why: "asked"},
			{At: at, Note: remediate.NoteApproved, By: "ann", Why: "plan x"},
			{At: at, From: remediate.Allowed, To: remediate.Allowed, Step: 1, Why: "VACUUM"},
			{At: at, From: remediate.Applied, To: remediate.Resolved, Why: "it went | down"},
		},
	}
	var b strings.Builder
	text.Markdown(&b, s)
	want := "# Run 7: postgres/vacuum is resolved\n\n" +
		"| | |\n| --- | --- |\n" +
		"| on | `` table=\"täble\\|`x`\\n# not a heading\" `` |\n" +
		"| asked for by | `alert/PostgresDeadRows` |\n" +
		"| policy | `dead rows`, step 1 |\n" +
		"| `upkeep_postgres_table_dead_ratio` | 66.7 % → 1 %, limit 20 % |\n" +
		"| from, to | 2026-03-01 01:02:03.000Z, 2026-03-01 01:03:33.000Z (1m30s) |\n" +
		"| outcome | `it went \\| down` |\n\n" +
		"## What was wrong\n\n`PostgresDeadRows` since 2026-03-01 01:02:03.000Z.\n\n`dead ## rows`\n\n" +
		"## Plan " + s.Run.Plan.Question() + "\n\n1. `` VACUUM `t` ``\n- `1 of 2 rows are dead`\n\n" +
		"## Who decided\n\n- 2026-03-01 01:02:03.000Z, `ann`: approved, `plan x`\n\n" +
		"## Timeline\n\n| at | what | why |\n| --- | --- | --- |\n" +
		"| 2026-03-01 01:02:03.000Z | received | `asked` |\n" +
		"| 2026-03-01 01:02:03.000Z | approved | `plan x` |\n" +
		"| 2026-03-01 01:02:03.000Z | step 1 | `VACUUM` |\n" +
		"| 2026-03-01 01:02:03.000Z | resolved | `it went \\| down` |\n\n" +
		"## Questions for people\n\n- What did users notice, from when to when?\n- What was the cause, and what " +
		"would have shown it earlier?\n- What will be changed so that it does not come back, who does it, and until " +
		"when?\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
