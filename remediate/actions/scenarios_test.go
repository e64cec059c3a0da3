// Package actions_test holds the scenarios of degraded databases: each says how a
// server got into trouble, what was asked for, how the run must end, and what must
// be as before. They are carried out by the real engine on real servers.
package actions_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// houseKey finds the harness in the environment of a script.
type houseKey struct{}

func TestScenarios(t *testing.T) {
	server := servertest.Postgres(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/scenarios",
		Setup: func(e *testscript.Env) error {
			ctx := context.Background() // the cleanup needs it too
			h, err := newHarness(ctx)
			if err != nil {
				return err
			}
			h.dir = e.WorkDir
			e.Values[houseKey{}] = h
			e.Defer(func() {
				if err := h.close(); err != nil {
					e.T().Log("cleanup:", err)
					e.T().FailNow()
				}
			})
			if err := h.settle(ctx, server); err != nil {
				return err
			}
			e.Setenv("DATABASE", h.database)
			e.Setenv("ROLE", h.role)
			return h.configure("")
		},
		Cmds: commands(),
	})
}

// settle makes a database and a role of the scenario's own on the shared server.
func (h *harness) settle(ctx context.Context, server string) (err error) {
	n := rand.Uint32()
	h.database, h.role = fmt.Sprintf("sick_%08x", n), fmt.Sprintf("nurse_%08x", n)
	if h.urls["main"], err = at(server, h.database); err != nil {
		return err
	}
	if err := execute(ctx, server, "create database "+h.database+" strategy file_copy",
		"create role "+h.role+" login"); err != nil {
		return err
	}
	h.cleanup = append(h.cleanup, func() error {
		if err := h.forget(ctx, server); err != nil {
			return err
		}
		return execute(ctx, server, "drop database "+h.database+" with (force)", "drop role "+h.role)
	})
	return nil
}

// forget rolls back what a scenario has prepared and not ended.
func (h *harness) forget(ctx context.Context, server string) error {
	u, err := at(server, h.database)
	if err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, u)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }() // nothing is left to be written
	rows, err := c.Query(ctx, "select 'rollback prepared ' || quote_literal(gid) from pg_prepared_xacts where "+
		"database = current_database()")
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return execute(ctx, u, all...)
}

// execute runs statements, each on its own.
func execute(ctx context.Context, url string, statements ...string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }() // nothing is left to be written
	for _, s := range statements {
		if _, err := c.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// There are enough of them, and each says what it shows.
func TestScenariosAreReadable(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 25 {
		t.Errorf("%d scenarios, want 25 at least", len(files))
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) == 0 || text[0] != '#' {
			t.Errorf("%s does not begin by saying what it shows", f)
		}
	}
}
