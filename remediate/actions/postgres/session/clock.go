package session

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
)

// clockMost is how far the server's clock and upkeep's may be apart where an age
// decides what goes. Clocks that are kept by NTP differ by less than a second, and
// those that are not by a minute or two; what is off by more was set wrongly.
const clockMost = 5 * time.Minute

// CheckClock refuses to go by an age while the server's clock and upkeep's disagree.
func CheckClock(ctx context.Context, q read.Querier, now func() time.Time) error {
	if now == nil {
		now = time.Now
	}
	before := now()
	server, err := One(ctx, q, pgx.RowTo[time.Time], "select clock_timestamp()")
	if err != nil {
		return fmt.Errorf("the server's time: %w", err)
	}
	after := now()
	if server.Before(before.Add(-clockMost)) || server.After(after.Add(clockMost)) {
		return remediate.Refuse(remediate.ReasonClock,
			"the server's clock shows %s, and upkeep's %s: which rows are past their age is not known; correct the "+
				"wrong clock", server.UTC().Format(time.RFC3339),
			after.UTC().Format(time.RFC3339))
	}
	return nil
}
