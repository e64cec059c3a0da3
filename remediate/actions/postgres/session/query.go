package session

import (
	"context"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
)

// One asks for one row.
func One[T any](ctx context.Context, q read.Querier, to pgx.RowToFunc[T], sql string, args ...any) (v T, err error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return v, err
	}
	return pgx.CollectExactlyOneRow(rows, to)
}

// Many asks for any number of rows.
func Many[T any](ctx context.Context, q read.Querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// A Rower asks a question that has one row for an answer.
type Rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
