package postgres

import (
	"context"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Reads are the questions to one database, each read as its collector reads it.
func Reads() map[string]func(context.Context, Querier) error {
	return map[string]func(context.Context, Querier) error{
		"databasesize":   read[databaseSizeRow](databaseSizeSQL),
		"duplicateindex": read[indexTraits](duplicateIndexSQL),
		"invalidindex":   read[InvalidIndexRow](invalidIndexSQL),
		"sequences":      read[sequenceRow](sequencesSQL),
		"tablesize":      read[tableSizeRow](tableSizeSQL),
		"vacuum":         read[VacuumRow](vacuumSQL, "", ""),
		"indexbloat": func(ctx context.Context, q Querier) error {
			_, err := ReadIndexBloat(ctx, q, Subject{})
			return err
		},
		"tablebloat": func(ctx context.Context, q Querier) error {
			_, err := ReadTableBloat(ctx, q, Subject{})
			return err
		},
	}
}

func read[T any](sql string, args ...any) func(context.Context, Querier) error {
	return func(ctx context.Context, q Querier) error {
		_, err := target.Rows[T](ctx, q, sql, args...)
		return err
	}
}
