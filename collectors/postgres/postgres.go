// Package postgres asks PostgreSQL. Each file asks one question; the query is in
// the .sql file of the same name and what it must answer in testdata. What an
// action measures it reads with the same function as the collector.
package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/target"
)

// A Querier runs one query. A connection, a pool and a transaction are Queriers.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// A Subject names what is asked about. What is empty stands for all.
type Subject struct {
	Schema, Table, Index string
}

// eachDatabase asks every database of a server, one after the other, so that a slow
// one keeps one connection busy and no more. A database that fails does not keep the others
// from answering; its error is returned.
func eachDatabase(ctx context.Context, t *target.Postgres, ask func(database string, q Querier) error) error {
	names, err := t.Databases(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, name := range names {
		database, err := t.Database(name)
		if err == nil {
			err = ask(name, database)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("database %s: %w", name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(faults...)
}
