package check

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/remediate"
)

func (v visit) postgres(ctx context.Context, p *target.Postgres) {
	server, err := p.Server()
	if err != nil {
		v.unreachable(ctx, "url", err)
		return
	}
	var number int
	var version, user, preloaded string
	var super bool
	err = server.QueryRow(ctx,
		`select current_setting('server_version_num')::int, split_part(current_setting('server_version'), ' ', 1),
		current_user::text,
		coalesce((select rolsuper from pg_catalog.pg_roles where rolname = current_user), false),
		coalesce((select setting from pg_catalog.pg_settings where name = 'shared_preload_libraries'), 'hidden')`).
		Scan(&number, &version, &user, &super, &preloaded)
	if err != nil {
		v.unreachable(ctx, "url", err)
		return
	}
	databases, err := p.Databases(ctx)
	if err != nil {
		v.unreachable(ctx, "url", err)
		return
	}
	v.seen.Text = fmt.Sprintf("PostgreSQL %s as %s, %d databases (%s)", version, user, len(databases), few(databases))
	if super {
		v.seen.Text += ", superuser"
	}
	extensions := v.extensions(ctx, p, databases)
	v.seen.Text += "; extensions: " + extensions
	switch {
	case preloaded == "hidden": // which needs pg_monitor, and that is said below
	case !slices.Contains(strings.FieldsFunc(preloaded, func(r rune) bool { return r == ',' || r == ' ' || r == '"' }),
		"pg_stat_statements"):
		v.warn(v.at, "%s does not load pg_stat_statements, so slow statements are unknown; add it to "+
			"shared_preload_libraries, restart, and create extension pg_stat_statements", v.seen.What)
	case !strings.Contains(extensions, "pg_stat_statements"):
		v.warn(v.at, "%s has the extension pg_stat_statements in no database, so slow statements are unknown; run "+
			"create extension pg_stat_statements in one", v.seen.What)
	}
	if super {
		return
	}
	for _, need := range v.needs(rights.Postgres) {
		v.postgresRights(ctx, p, databases, number/10000, user, need)
	}
}

// extensions lists those that upkeep uses, with where they are.
func (v visit) extensions(ctx context.Context, p *target.Postgres, databases []string) string {
	in := make(map[string][]string)
	for _, name := range databases {
		d, err := p.Database(name)
		if err != nil {
			continue
		}
		rows, err := d.Query(ctx,
			"select extname::text from pg_catalog.pg_extension where extname in ('pg_stat_statements', "+
				"'pgstattuple', 'pg_repack')")
		if err != nil {
			v.warn(v.at, "%s: database %s cannot be read: %v; grant connect on it, or exclude it", v.seen.What, name,
				err)
			continue
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			v.warn(v.at, "%s: the extensions of database %s cannot be read: %v; look at the server's log", v.seen.What,
				name, err)
			continue
		}
		for _, n := range names {
			in[n] = append(in[n], name)
		}
	}
	var all []string
	for _, n := range []string{"pg_stat_statements", "pgstattuple", "pg_repack"} {
		if len(in[n]) > 0 {
			all = append(all, n+" in "+few(in[n]))
		}
	}
	if len(all) == 0 {
		return "none of pg_stat_statements, pgstattuple, pg_repack"
	}
	return strings.Join(all, "; ")
}

// postgresRights reports which rights of a need the role does not have.
func (v visit) postgresRights(ctx context.Context, p *target.Postgres, databases []string, major int, user string,
	need rights.Need) {
	for _, r := range need.Rights {
		if r.Since > major || r.Until != 0 && r.Until < major {
			continue
		}
		if role := regexp.MustCompile(`^grant (pg_\w+) to :"role"$`).FindStringSubmatch(r.Grant); role != nil {
			server, err := p.Server()
			if err != nil {
				return
			}
			var member bool
			if err := server.QueryRow(ctx, "select pg_catalog.pg_has_role(current_user, $1, 'MEMBER')",
				role[1]).Scan(&member); err == nil && !member {
				v.warn(v.at, "%s: %s needs %s (%s); run: grant %s to %s", v.seen.What, by(need), role[1], r.For,
					role[1], pgx.Identifier{user}.Sanitize())
			}
			continue
		}
		if condition := tableCondition(r); condition != "" {
			v.tableRights(ctx, p, databases, need, r, condition)
		}
	}
}

func by(n rights.Need) string {
	if n.By == rights.Watching {
		return "collecting"
	}
	return n.By
}

// tableCondition returns the SQL that is true of a table on which the role has a right,
// or "" for a right that is about no table.
func tableCondition(r remediate.Right) string {
	if r.Grant == `grant :"owner" to :"role"` {
		return "pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER')"
	}
	m := regexp.MustCompile(
		`^grant ([a-z, ]+) on (?:table :"schema"\.:"table"|all tables in schema :"schema") to :"role"$`).
		FindStringSubmatch(r.Grant)
	if m == nil {
		return ""
	}
	var all []string
	for privilege := range strings.SplitSeq(m[1], ",") {
		all = append(all, "pg_catalog.has_table_privilege(c.oid, "+"'"+strings.ToUpper(strings.TrimSpace(privilege))+
			"')")
	}
	return strings.Join(all, " and ")
}

// tableRights says on how many tables a right is missing.
func (v visit) tableRights(ctx context.Context, p *target.Postgres, databases []string, need rights.Need,
	r remediate.Right, condition string) {
	var lacks []string
	tables := 0
	for _, name := range databases {
		d, err := p.Database(name)
		if err != nil {
			continue
		}
		rows, err := d.Query(ctx, `select n.nspname::text, c.relname::text, `+condition+
			` from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
			where c.relkind in ('r', 'p', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
			and n.nspname !~ '^pg_toast' and n.nspname !~ '^pg_temp'`)
		if err != nil {
			continue // said with the extensions
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
			Schema, Table string
			Has           bool
		}])
		if err != nil {
			continue
		}
		for _, t := range all {
			tables++
			if !t.Has {
				lacks = append(lacks, name+": "+pgx.Identifier{t.Schema, t.Table}.Sanitize())
			}
		}
	}
	if len(lacks) > 0 {
		advice := "upkeep rights " + need.By + " writes the grants"
		if need.By == rights.Watching {
			advice = "upkeep rights writes the grants"
		}
		v.warn(v.at, "%s: %s needs the right %s on %d of %d tables (%s); %s", v.seen.What, by(need),
			strings.TrimSuffix(strings.TrimPrefix(r.Grant, "grant "), ` to :"role"`), len(lacks), tables, few(lacks),
			advice)
	}
}

func (v visit) redis(ctx context.Context, r *target.Redis) {
	options := *r.Client.Options()
	options.PoolSize = 1
	alone := goredis.NewClient(&options) // a transaction that could not be left is of no other command
	defer func() { _ = alone.Close() }() // nothing was written
	conn := alone.Conn()
	defer func() { _ = conn.Close() }()
	info, err := conn.Info(ctx, "server").Result()
	if err != nil && !goredis.HasErrorPrefix(err, "NOPERM") {
		v.unreachable(ctx, "url", err)
		return
	}
	version := "of unknown version"
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			version = text
		}
	}
	v.seen.Text = "Redis " + version
	if user, err := conn.Do(ctx, "acl", "whoami").Text(); err == nil {
		v.seen.Text += " as " + user
	}
	lacks := make(map[string][]string) // who needs each missing right
	var order []string
	for _, need := range v.needs(rights.Redis) {
		for _, right := range need.Rights {
			if v.redisAllows(ctx, conn, right.Grant) {
				continue
			}
			if lacks[right.Grant] == nil {
				order = append(order, right.Grant)
			}
			lacks[right.Grant] = append(lacks[right.Grant], by(need))
		}
	}
	for _, grant := range order {
		v.warn(v.at, "%s: %s needs the right %s; run: ACL SETUSER … %s", v.seen.What, few(lacks[grant]), grant, grant)
	}
}

// redisAllows reports whether the user may run a command. It is not run: it is put into
// a transaction, at which the server looks at the rights, and the transaction is
// discarded.
func (v visit) redisAllows(ctx context.Context, conn *goredis.Conn, grant string) bool {
	words := strings.Split(strings.TrimPrefix(grant, "+"), "|")
	arguments := map[string][]any{
		"slowlog|get": {1}, "client|setname": {"upkeep"}, "client|pause": {1, "write"}, "config|get": {"dir"},
		"config|set": {"activedefrag", "no"}, "hello": {2},
	}
	var command []any
	for _, w := range words {
		command = append(command, w)
	}
	command = append(command, arguments[strings.Join(words, "|")]...)
	denied := func(err error) bool { return goredis.HasErrorPrefix(err, "NOPERM") }
	switch words[0] {
	case "hello":
		return true // the connection has been made
	case "multi", "discard":
		err := conn.Do(ctx, "multi").Err()
		if err == nil {
			err = conn.Do(ctx, "discard").Err()
		}
		return !denied(err)
	}
	if err := conn.Do(ctx, "multi").Err(); err != nil {
		return true // not known; the right to multi is said by itself
	}
	defer func() { _ = conn.Do(ctx, "discard").Err() }() // the connection is closed after all
	return !denied(conn.Do(ctx, command...).Err())
}
