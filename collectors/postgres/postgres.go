// Package postgres asks PostgreSQL. Each file asks one question; the query is in
// the .sql file of the same name and what it must answer in testdata. What an
// action measures it reads with the same function as the collector.
package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A Querier runs one query.
type Querier = target.Querier

// A Subject names what is asked about. An empty field means all.
type Subject struct {
	Schema, Table, Index string
}

// eachDatabase asks every database of a server, one after the other, so that a slow
// one keeps one connection busy and no more. A database that fails does not keep the others
// from answering; its error is a *collectors.PartError.
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
			faults = append(faults, &collectors.PartError{Label: "database", Value: name, Err: err})
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not every database was asked: %w", errors.Join(faults...))
		}
	}
	return errors.Join(faults...)
}

const (
	// tables and indexes are the limits of a server: how many are exported one by one.
	tables  = 10_000
	indexes = 30_000
)

func gauge(name, help string, labels ...string) *collectors.Metric {
	return &collectors.Metric{Name: "upkeep_postgres_" + name, Type: collectors.Gauge, Help: help,
		Labels: append([]string{"server"}, labels...)}
}

func counter(name, help string, labels ...string) *collectors.Metric {
	return &collectors.Metric{Name: "upkeep_postgres_" + name, Type: collectors.Counter, Help: help,
		Labels: append([]string{"server"}, labels...)}
}

// readServer returns the rows of an answer about the whole server.
func readServer[T any](ctx context.Context, t *target.Postgres, sql string, args ...any) ([]T, error) {
	server, err := t.Server()
	if err != nil {
		return nil, err
	}
	return target.Rows[T](ctx, server, sql, args...)
}

// An in is a row of one database.
type in[T any] struct {
	Database string
	Row      T
}

// readEach returns the rows of every database. Those that were read are returned
// also where another database failed.
func readEach[T any](ctx context.Context, t *target.Postgres, read func(q Querier) ([]T, error)) (all []in[T],
	err error) {
	err = eachDatabase(ctx, t, func(database string, q Querier) error {
		rows, err := read(q)
		for _, r := range rows {
			all = append(all, in[T]{database, r})
		}
		return err
	})
	return all, err
}

// reader finds the databases of a server.
func reader(t *target.Postgres) func(name string) (Querier, error) {
	return func(name string) (Querier, error) { return t.Database(name) }
}
