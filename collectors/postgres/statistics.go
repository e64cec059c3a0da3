package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What ANALYZE found out, as column_statistics (relid, attnum, width, null_frac,
// distinct_values). The catalog is three times cheaper than the view over it,
// and only a superuser may read it.
const (
	fromCatalog = `with column_statistics as (
  select starelid as relid, staattnum as attnum, stawidth as width, stanullfrac as null_frac, stadistinct as distinct_values
    from pg_statistic
   where not stainherit
)
`
	fromView = `with column_statistics as materialized (
  select c.oid as relid, a.attnum, s.avg_width as width, s.null_frac, s.n_distinct as distinct_values
    from pg_stats s
    join pg_namespace n on n.nspname = s.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
    join pg_attribute a on a.attrelid = c.oid and a.attname = s.attname
   where not s.inherited
)
`
)

// withStatistics puts the part that reads column statistics before a query, in
// the form that the role may read.
func withStatistics(ctx context.Context, q Querier, query string) (string, error) {
	rows, err := q.Query(ctx, "select has_table_privilege('pg_catalog.pg_statistic', 'SELECT')")
	if err != nil {
		return "", err
	}
	catalog, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
	if err != nil {
		return "", err
	}
	if catalog {
		return fromCatalog + query, nil
	}
	return fromView + query, nil
}

// An unseenError says that some statistics are hidden from the role.
type unseenError struct {
	what string
	n    int
}

func (e *unseenError) Error() string {
	return fmt.Sprintf("the statistics of %d %s are hidden from this role: grant pg_read_all_data to it", e.n, e.what)
}

// unseen returns an error when n is not 0.
func unseen(what string, n int) error {
	if n == 0 {
		return nil
	}
	return &unseenError{what, n}
}

// shapes reads what an estimate needs to know of each table or index.
func shapes[T any](ctx context.Context, q Querier, sql string, args ...any) ([]T, error) {
	query, err := withStatistics(ctx, q, sql)
	if err != nil {
		return nil, err
	}
	return target.Rows[T](ctx, q, query, args...)
}

// wants adds the role to grant to an error of a right that is missing.
func wants(err error, role string) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == pgerrPrivilege {
		return fmt.Errorf("%w: grant %s to the role", err, role)
	}
	return err
}

// pgerrPrivilege is the error code of a right that is missing.
const pgerrPrivilege = "42501"

// ErrHidden says that the server shows what was asked to certain roles only.
var ErrHidden = errors.New("hidden from this role")

// hidden returns an ErrHidden that names what is hidden and the grant that shows it.
func hidden(what, role string) error {
	return fmt.Errorf("%s is %w: grant %s to it", what, ErrHidden, role)
}
