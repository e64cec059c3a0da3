package rows

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

// A Movement is which rows go from where to where.
type Movement struct {
	Database string
	From, To Table // to none: they are deleted
	Column   string

	Age          time.Duration // rows older than this when the work begins; or
	Since, Until time.Time     // rows of since or later, and of before until
	Back         bool          // from the archive to the table
	Without      []string      // columns of the archive's own, which do not come back
}

// WhereText says which rows go, as a condition that a person reads.
func (m Movement) WhereText() string {
	column := pgx.Identifier{m.Column}.Sanitize()
	if m.Back {
		return fmt.Sprintf("%s >= '%s' AND %s < '%s'", column, m.Since.Format(time.RFC3339Nano), column,
			m.Until.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%s < now() - interval '%s seconds'", column, Seconds(m.Age))
}

// ages returns the type of the age column.
func (m Movement) ages(columns []column) (string, error) {
	for _, c := range columns {
		if c.Name != m.Column {
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
		return "", remediate.Refuse(remediate.ReasonUnfit, "column %s of %s is %s, and no timestamp or date",
			pgx.Identifier{m.Column}.Sanitize(), m.From, c.Type)
	}
	return "", remediate.Refuse(remediate.ReasonUnfit, "%s has no column %s", m.From,
		pgx.Identifier{m.Column}.Sanitize())
}

// Undo says how what was moved comes back.
func (m Movement) Undo() string {
	switch {
	case m.To == Table{}:
		return ""
	case m.Back:
		return "postgres/archive moves them again"
	default:
		return "postgres/restore_archived brings them back"
	}
}

// expect estimates how many rows of a table go.
func (m Movement) expect(ctx context.Context, q read.Querier, p Table) (float64, error) {
	if m.Back {
		return read.ReadArchived(ctx, q,
			target.Archive{Column: m.Column, To: target.Destination{Schema: p.Schema, Table: p.Name}}, m.Since, m.Until)
	}
	return read.ReadRetention(ctx, q, target.Archive{Schema: p.Schema, Table: p.Name, Column: m.Column, After: m.Age})
}

// SplitNames reads names with commas between.
func SplitNames(text string) (names []string) {
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
func (m Movement) condition(n int) string {
	column := "t." + pgx.Identifier{m.Column}.Sanitize()
	if m.Back {
		return fmt.Sprintf("coalesce(%s >= $%d::timestamptz and %s < $%d::timestamptz, false)", column, n, column, n+1)
	}
	return fmt.Sprintf("coalesce(%s < $%d::timestamptz, false)", column, n)
}

// Span reads the parameters since and until. Both are required: an empty one never
// means "all".
func Span(from, to string) (since, until time.Time, err error) {
	if since, err = moment("since", from); err != nil {
		return since, until, err
	}
	if until, err = moment("until", to); err != nil {
		return since, until, err
	}
	if !since.Before(until) {
		return since, until, remediate.Refuse(remediate.ReasonSubject,
			"the parameter until is %q, which is not after since, %q", to, from)
	}
	return since, until, nil
}

func moment(name, text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() > 0 {
			return at.UTC().Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, remediate.Refuse(remediate.ReasonSubject,
		"the parameter %s is %q; a day like 2026-01-31 or a moment like 2026-01-31T12:00:00Z was expected", name, text)
}

// Seconds writes an age for a step's Args.
func Seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// ErrUnknownStep is what a step says that no plan has made.
var ErrUnknownStep = errors.New("unknown kind of step")
