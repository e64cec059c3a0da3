package demo

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
)

// findings are what PostgreSQL's and Redis' own tools say of the servers, asked
// beside upkeep and not through it.
type findings struct {
	deadRows, liveRows int64 // of orders
	indexBytes         int64 // of sessions_token
	saves, changes     int64 // of Redis
}

// examineSQL needs no right that an ordinary user has not.
const examineSQL = `select n_dead_tup, n_live_tup, pg_relation_size('public.sessions_token')
  from pg_stat_user_tables where relname = 'orders'`

// examine asks psql and redis-cli.
func examine(ctx context.Context, s Servers) (f findings, err error) {
	out, err := tool(ctx, "psql", "--no-psqlrc", "--csv", "--tuples-only", "--command", examineSQL, s.Postgres)
	if err != nil {
		return f, err
	}
	row, err := csv.NewReader(strings.NewReader(out)).Read()
	if err != nil || len(row) != 3 {
		return f, fmt.Errorf("psql said %q", out)
	}
	for i, into := range []*int64{&f.deadRows, &f.liveRows, &f.indexBytes} {
		if *into, err = strconv.ParseInt(row[i], 10, 64); err != nil {
			return f, fmt.Errorf("psql said %q: %w", out, err)
		}
	}
	u, err := url.Parse(s.Redis)
	if err != nil {
		return f, err
	}
	out, err = tool(ctx, "redis-cli", "-h", u.Hostname(), "-p", u.Port(), "info", "persistence")
	if err != nil {
		return f, err
	}
	f.saves, f.changes = info(out, "rdb_saves"), info(out, "rdb_changes_since_last_save")
	return f, nil
}

// info reads one number of Redis' INFO; -1 where it is not there.
func info(text, name string) int64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// tool runs one of the servers' own tools with an argument vector.
func tool(ctx context.Context, name string, args ...string) (string, error) {
	path, err := child.Find(name)
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is well formed
		if len(found) == 0 {
			return "", fmt.Errorf("%s is not installed: install postgresql-client and redis-tools", name)
		}
		path = found[len(found)-1]
	}
	r, err := child.Run(ctx, child.Program{Path: path, Args: args})
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(r.Said)))
	}
	return string(r.Out), nil
}

// Servers says where the demo's servers are.
type Servers struct {
	Postgres string // URL of the sick database
	Redis    string // URL
	Console  string // URL
}
