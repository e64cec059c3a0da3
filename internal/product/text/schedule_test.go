package text_test

import (
	"os"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

func ExampleCalendar() {
	summer := time.FixedZone("", 2*60*60)
	err := text.Calendar(os.Stdout, console.Calendar{
		Next: []schedule.Coming{
			{Schedule: "nightly", At: time.Date(2026, 6, 4, 3, 0, 0, 0, summer), Zone: "Europe/Berlin",
				Action: "redis/bgsave", Mode: remediate.Auto, Subject: map[string]string{"server": "cache"}},
			{Schedule: "first Sunday", At: time.Date(2026, 6, 7, 1, 0, 0, 0, summer), Zone: "Europe/Berlin",
				Action: "postgres/reindex", Mode: remediate.Ask, Query: "bloat > 0.3", Windows: []string{"night"}},
		},
		Last: []console.Happened{
			{
				Occurrence: schedule.Occurrence{Schedule: "nightly", At: time.Date(2026, 6, 3, 3, 0, 0, 0, summer),
					Zone: "Europe/Berlin", Outcome: schedule.Punctual},
				Runs: []console.Made{{ID: 7, State: remediate.Resolved}},
			},
			{Occurrence: schedule.Occurrence{Schedule: "nightly", At: time.Date(2026, 6, 2, 3, 0, 0, 0, summer),
				Zone: "Europe/Berlin", Outcome: schedule.Skipped, Why: "missed, and a newer one has come"}},
		},
	})
	if err == nil {
		err = text.Calendar(os.Stdout, console.Calendar{})
	}
	if err != nil {
		panic(err)
	}
	// Output:
	// NEXT                         ZONE           SCHEDULE      ACTION            MODE  ON
	// Thu 2026-06-04 03:00 +02:00  Europe/Berlin  nightly       redis/bgsave      auto  server="cache"
	// Sun 2026-06-07 01:00 +02:00  Europe/Berlin  first Sunday  postgres/reindex  ask   each of bloat > 0.3, in the window night
	//
	// LAST                         ZONE           SCHEDULE  RESULT   RUNS        WHY
	// Wed 2026-06-03 03:00 +02:00  Europe/Berlin  nightly   run      7 resolved  –
	// Tue 2026-06-02 03:00 +02:00  Europe/Berlin  nightly   skipped  –           missed, and a newer one has come
	// No schedules.
}
