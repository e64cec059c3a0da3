package postgres

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

// clocked refuses to go by an age while the server's clock and upkeep's disagree.
func clocked(ctx context.Context, q read.Querier, now func() time.Time) error {
	if now == nil {
		now = time.Now
	}
	before := now()
	server, err := one(ctx, q, pgx.RowTo[time.Time], "select clock_timestamp()")
	if err != nil {
		return fmt.Errorf("the server's time: %w", err)
	}
	after := now()
	if server.Before(before.Add(-clockMost)) || server.After(after.Add(clockMost)) {
		return remediate.Refuse(remediate.ReasonClock, "the server's clock shows %s, and upkeep's %s: which rows are past their age is not known; correct the wrong clock", server.UTC().Format(time.RFC3339), after.UTC().Format(time.RFC3339))
	}
	return nil
}

// inZone has the session compare a column without a time zone as the plan said it:
// what a database or a role is set to may have changed since.
func inZone(ctx context.Context, c *pgx.Conn, s remediate.Step) error {
	if s.Args["zone"] == "" {
		return nil
	}
	if _, err := c.Exec(ctx, "select set_config('timezone', $1, false)", s.Args["zone"]); err != nil {
		return fmt.Errorf("the time zone of the plan: %w", err)
	}
	return nil
}

// zoneOf is the time zone in which the server compares a column without one, "" for a
// column that has one.
func zoneOf(ctx context.Context, q read.Querier, kind string) (string, error) {
	if kind == "timestamptz" {
		return "", nil
	}
	zone, err := one(ctx, q, pgx.RowTo[string], "select current_setting('TimeZone')")
	if err != nil {
		return "", fmt.Errorf("the time zone of the session: %w", err)
	}
	return zone, nil
}
