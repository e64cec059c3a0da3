package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// While others read and write, an index is built anew and another is dropped: no
// transaction fails, and every row is in the index that is left.
func TestIndexesUnderLoad(t *testing.T) {
	c := open(t)
	c.fill(t, 20_000, "create extension amcheck", "create index "+quoted(twin)+" on "+c.qTable+" (key)",
		"vacuum "+c.qTable, "analyze "+c.qTable)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	var done atomic.Int64
	faults := make(chan error, 8)
	for client := range 8 {
		conn := c.connect(t)
		clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := transact(conn, c.qTable, client, n); err != nil {
					faults <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wait := func(more int64) {
		for end := done.Load() + more; done.Load() < end && len(faults) == 0; time.Sleep(5 * time.Millisecond) {
		}
	}
	wait(50)
	for _, step := range []struct {
		action remediate.Action
		params map[string]string
	}{{postgres.Reindex(c.server), nil}, {postgres.DropIndex(c.server), because("duplicate")}} {
		subject := c.subject("server", "database", "schema", "table", "index")
		if step.params != nil { // the rebuild has made the other one the older
			subject["index"] = twin
		}
		plan, err := step.action.Plan(t.Context(), remediate.Request{Action: step.action.Name, Subject: subject,
			Params: step.params})
		if err != nil {
			t.Fatalf("%s: %v", step.action.Name, err)
		}
		before := done.Load()
		if err := applyAll(t, step.action, plan); err != nil {
			t.Fatalf("%s: %v", step.action.Name, err)
		}
		t.Logf("%s: %d transactions went on beside it", step.action.Name, done.Load()-before)
		wait(50)
	}
	stop()
	clients.Wait()
	close(faults)
	if err := errors.Join(collect(faults)...); err != nil {
		t.Errorf("transactions of others: %v", err)
	}
	if n := c.number(t, "select count(*) from pg_class where relname in ($1, $2)", index, twin); n != 1 {
		t.Errorf("%d indexes are left, want 1", n)
	}
	servertest.Exec(t, c.url,
		"select bt_index_check(i.indexrelid, true) from pg_index i where i.indrelid = '"+quotedLiteral(c.qTable)+"'::regclass")
	if left := c.invalid(t); left != "" {
		t.Errorf("left: %s", left)
	}
}

func quotedLiteral(s string) string {
	out := ""
	for _, r := range s {
		if r == '\'' {
			out += "'"
		}
		out += string(r)
	}
	return out
}

func collect(faults <-chan error) (all []error) {
	for err := range faults {
		all = append(all, err)
	}
	return all
}

// transact is one transaction as an application makes them.
func transact(conn *pgx.Conn, table string, client, n int) error {
	ctx := context.Background() // it is ended between two transactions only
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, statement := range []string{
			"insert into " + table + " values ($1, md5($2::text))",
			"update " + table + " set key = md5($2::text || 'x') where id = $1",
			"delete from " + table + " where id = $1 - 5 and key <> $2::text",
		} {
			if _, err := tx.Exec(ctx, statement, 1_000_000*(client+1)+n, fmt.Sprint(client, n)); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	})
}
