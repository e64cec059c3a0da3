package rows

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// inZone has the session compare a column without a time zone as the plan said it:
// what a database or a role is set to may have changed since.
func inZone(ctx context.Context, c *pgx.Conn, zone string) error {
	if zone == "" {
		return nil
	}
	if _, err := c.Exec(ctx, "select set_config('timezone', $1, false)", zone); err != nil {
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
	zone, err := session.One(ctx, q, pgx.RowTo[string], "select current_setting('TimeZone')")
	if err != nil {
		return "", fmt.Errorf("the time zone of the session: %w", err)
	}
	return zone, nil
}

// SetUp makes the settings of a session for a movement. Moments are written as text
// between batches: another form of them may name a time zone that is read as another's.
// Zone is that of the plan, "" where no column is compared in one.
func SetUp(ctx context.Context, c *pgx.Conn, zone string) error {
	if _, err := c.Exec(ctx, "set default_transaction_isolation = 'read committed'; set datestyle = 'ISO, YMD'; set "+
		"row_security = off; set jit = off; set max_parallel_workers_per_gather = 0"); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return inZone(ctx, c, zone)
}
