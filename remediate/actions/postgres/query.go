package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
)

// one asks for one row.
func one[T any](ctx context.Context, q read.Querier, to pgx.RowToFunc[T], sql string, args ...any) (v T, err error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return v, err
	}
	return pgx.CollectExactlyOneRow(rows, to)
}

// many asks for any number of rows.
func many[T any](ctx context.Context, q read.Querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// A rower asks a question that has one row for an answer.
type rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
