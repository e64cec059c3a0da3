package relation

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
)

//go:embed contract.sql
var contractSQL string

// A Reader reads contracts on one server.
type Reader struct {
	Version int    // of the server, as a number
	System  string // its system identifier

	sql string
}

// serverSQL reports which server answers. Any role; 13 and later.
const serverSQL = "select current_setting('server_version_num')::int, system_identifier::text from " +
	"pg_catalog.pg_control_system()"

// NewReader asks the server who it is.
func NewReader(ctx context.Context, q read.Querier) (r Reader, err error) {
	rows, err := q.Query(ctx, serverSQL)
	if err != nil {
		return r, fmt.Errorf("the server's version and system identifier: %w", err)
	}
	type server struct {
		Version int
		System  string
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[server])
	if err != nil {
		return r, fmt.Errorf("the server's version and system identifier: %w", err)
	}
	return Reader{Version: s.Version, System: s.System, sql: since(contractSQL, s.Version)}, nil
}

// since leaves the lines out that an older server does not understand, and the
// comments.
func since(sql string, version int) string {
	var all []string
	for line := range strings.Lines(sql) {
		if rest, newer := strings.CutPrefix(line, "/*15*/"); newer {
			if version < 150000 {
				continue
			}
			line = rest
		}
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			all = append(all, line)
		}
	}
	return strings.Join(all, "")
}

// Read returns the contract of some relations, as the catalog has them now. One that
// is not there is not in it.
//
// In READ COMMITTED that is the catalog of this moment, also within a transaction;
// in REPEATABLE READ that of the transaction's snapshot, while statements there work
// by the catalog of the moment.
func (r Reader) Read(ctx context.Context, q read.Querier, oids []int64) (c Contract, err error) {
	c = Contract{System: r.System, Relations: make(map[int64]Relation)}
	rows, err := q.Query(ctx, r.sql, oids)
	if err != nil {
		return c, fmt.Errorf("the definitions of tables: %w", err)
	}
	lines := make(map[int64][]Line)
	var oid int64
	var l Line
	if _, err := pgx.ForEachRow(rows, []any{&oid, &l.Kind, &l.Name, &l.Text, &l.Mark}, func() error {
		lines[oid] = append(lines[oid], l)
		return nil
	}); err != nil {
		return c, fmt.Errorf("the definitions of tables: %w", err)
	}
	for oid, all := range lines {
		c.Relations[oid] = relationOf(oid, all)
	}
	return c, nil
}

// Read returns the contract of some relations of a server that was not asked before.
func Read(ctx context.Context, q read.Querier, oids []int64) (Contract, error) {
	r, err := NewReader(ctx, q)
	if err != nil {
		return Contract{}, err
	}
	return r.Read(ctx, q, oids)
}
