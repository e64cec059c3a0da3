package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A movement is which rows go from where to where.
type movement struct {
	database string
	from, to place // to none: they are deleted
	column   string

	age          time.Duration // rows older than this when the work begins; or
	since, until time.Time     // rows of since or later, and of before until
	back         bool          // from the archive to the table
	without      []string      // columns of the archive's own, which do not come back
}

// which says which rows go, as a condition that a person reads.
func (m movement) which() string {
	column := pgx.Identifier{m.column}.Sanitize()
	if m.back {
		return fmt.Sprintf("%s >= '%s' AND %s < '%s'", column, m.since.Format(time.RFC3339Nano), column, m.until.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%s < now() - interval '%s seconds'", column, seconds(m.age))
}

// args is the movement as a step carries it. There is no moment in it that changes
// from one day to the next, so that the plan of tomorrow is that of today.
func (m movement) args(subject map[string]string, from, to side, params map[string]string) map[string]string {
	args := map[string]string{
		"part": "rows", "database": m.database, "schema": subject["schema"], "table": subject["table"],
		"from_schema": m.from.Schema, "from_table": m.from.Table, "from_oid": strconv.FormatInt(from.OID, 10), "column": m.column,
		"lag": params["lag"], "wal": params["wal"],
	}
	if m.to != (place{}) {
		args["to_schema"], args["to_table"], args["to_oid"] = m.to.Schema, m.to.Table, strconv.FormatInt(to.OID, 10)
	}
	if m.back {
		args["since"], args["until"] = m.since.Format(time.RFC3339Nano), m.until.Format(time.RFC3339Nano)
		if params["without"] != "" {
			args["without"] = params["without"]
		}
	} else {
		args["age"] = seconds(m.age)
	}
	return args
}

// movementOf reads the movement of a step.
func movementOf(args map[string]string) (m movement, err error) {
	m = movement{
		database: args["database"], column: args["column"],
		from: place{args["from_schema"], args["from_table"]}, to: place{args["to_schema"], args["to_table"]},
	}
	if args["age"] != "" {
		age, err := strconv.ParseInt(args["age"], 10, 64)
		m.age = time.Duration(age) * time.Second
		if err != nil || m.age <= 0 {
			return m, fmt.Errorf("step: age %q: %w", args["age"], errNothing)
		}
		return m, nil
	}
	m.back, m.without = true, listed(args["without"])
	m.since, m.until, err = span(args)
	return m, err
}

// ages returns the type of the age column.
func (m movement) ages(columns []column) (string, error) {
	for _, c := range columns {
		if c.Name != m.column {
			continue
		}
		switch c.TypeOID {
		case 1082:
			return "date", nil
		case 1114:
			return "timestamp", nil
		case 1184:
			return "timestamptz", nil
		}
		return "", remediate.Refuse(remediate.ReasonUnfit, "column %s of %s is %s, and no timestamp or date", pgx.Identifier{m.column}.Sanitize(), m.from, c.Type)
	}
	return "", remediate.Refuse(remediate.ReasonUnfit, "%s has no column %s", m.from, pgx.Identifier{m.column}.Sanitize())
}

func (m movement) undo() string {
	switch {
	case m.to == place{}:
		return ""
	case m.back:
		return "postgres/archive moves them again"
	default:
		return "postgres/restore_archived brings them back"
	}
}

// expect estimates how many rows of a table go.
func (m movement) expect(ctx context.Context, q read.Querier, p place) (float64, error) {
	if m.back {
		return read.ReadArchived(ctx, q, target.Archive{Column: m.column, To: target.Destination{Schema: p.Schema, Table: p.Table}}, m.since, m.until)
	}
	return read.ReadRetention(ctx, q, target.Archive{Schema: p.Schema, Table: p.Table, Column: m.column, After: m.age})
}

// listed reads names with commas between.
func listed(text string) (names []string) {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// condition is the condition that row t goes; its parameters begin with $n. It is
// no bare comparison, so that no index is taken in the place of the blocks that
// are named beside it.
func (m movement) condition(n int) string {
	column := "t." + pgx.Identifier{m.column}.Sanitize()
	if m.back {
		return fmt.Sprintf("coalesce(%s >= $%d::timestamptz and %s < $%d::timestamptz, false)", column, n, column, n+1)
	}
	return fmt.Sprintf("coalesce(%s < $%d::timestamptz, false)", column, n)
}

// span reads the parameters since and until. Both are required: an empty one never
// means "all".
func span(params map[string]string) (since, until time.Time, err error) {
	if since, err = moment("since", params["since"]); err != nil {
		return since, until, err
	}
	if until, err = moment("until", params["until"]); err != nil {
		return since, until, err
	}
	if !since.Before(until) {
		return since, until, remediate.Refuse(remediate.ReasonSubject, "the parameter until is %q, which is not after since, %q", params["until"], params["since"])
	}
	return since, until, nil
}

func moment(name, text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() > 0 {
			return at.UTC().Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, remediate.Refuse(remediate.ReasonSubject, "the parameter %s is %q; a day like 2026-01-31 or a moment like 2026-01-31T12:00:00Z was expected", name, text)
}

// seconds writes an age for a step's Args.
func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// errNothing is what a step says that no plan has made.
var errNothing = errors.New("unknown kind of step")
