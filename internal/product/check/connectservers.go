package check

import (
	"context"
	"fmt"
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
	v.scope(ctx, p)
	if super {
		v.seen.Text += ", superuser"
	}
	// A standby has the identifier of its primary, and another start. The role may not be allowed to read it.
	if err := server.QueryRow(ctx, `select c.system_identifier::text || ' ' ||
		extract(epoch from pg_catalog.pg_postmaster_start_time())::text from pg_catalog.pg_control_system() c`).Scan(&v.seen.server); err != nil {
		v.seen.server = ""
	}
	extensions := v.extensions(ctx, p, databases)
	v.seen.Text += "; extensions: " + extensions
	v.statements(preloaded, extensions)
	if super {
		return
	}
	for _, need := range v.needs(rights.Postgres) {
		v.postgresRights(ctx, p, databases, number/10000, user, need)
	}
}

// statements says where slow statements stay unknown.
func (v visit) statements(preloaded, extensions string) {
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
}

// scope says which names in the lists of databases are of no database that can be read.
func (v visit) scope(ctx context.Context, p *target.Postgres) {
	s, err := p.Scope(ctx)
	if err != nil {
		v.warn(v.at, "%s: its databases cannot be compared with the configuration: %v; look at the server's log",
			v.seen.What, err)
		return
	}
	place := func(key string, all []string, name string) place { return v.at.in(key, slices.Index(all, name)) }
	const instead = "it has %s; names are compared as they are, without patterns"
	for _, name := range s.Absent {
		v.fault(place("databases", p.Only, name), "%s has no database %q, which databases names; %s", v.seen.What, name,
			meant(name, s.All, fmt.Sprintf(instead, few(s.All))))
	}
	for _, name := range s.Closed {
		v.fault(place("databases", p.Only, name),
			"%s: upkeep's role may not connect to the database %q, which databases names, or it is a template; grant "+
				"connect on it, or take it out", v.seen.What, name)
	}
	for _, name := range s.Unused {
		v.warn(place("exclude", p.Exclude, name), "%s has no database %q, which exclude names; %s", v.seen.What, name,
			meant(name, s.All, fmt.Sprintf(instead, few(s.All))))
	}
	if len(s.All) > 0 && s.Left == 0 {
		v.fault(v.at, "%s: databases and exclude leave no database of the server, so none is read; it has %s",
			v.seen.What, few(s.All))
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
		if !rights.Holds(r, major) {
			continue
		}
		if role := rights.Membership(r); role != "" {
			server, err := p.Server()
			if err != nil {
				return
			}
			var member bool
			if err := server.QueryRow(ctx, "select pg_catalog.pg_has_role(current_user, $1, 'MEMBER')",
				role).Scan(&member); err == nil && !member {
				v.warn(v.at, "%s: %s needs %s (%s); run: grant %s to %s", v.seen.What, by(need), role, r.For,
					role, pgx.Identifier{user}.Sanitize())
			}
			continue
		}
		if condition := rights.TableCondition(r); condition != "" {
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

func (v visit) sentinel(ctx context.Context, s *target.Sentinel) {
	text, err := s.Client.Info(ctx).Result()
	if err != nil {
		v.unreachable(ctx, "url", err)
		return
	}
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "sentinel_masters:"); ok {
			v.seen.Text = "Sentinel, watches " + n
			return
		}
	}
	v.fault(v.at.in("url"), "%s watches no primary and is no Sentinel; a Redis server belongs into targets.redis",
		v.seen.What)
}

func (v visit) redis(ctx context.Context, r *target.Redis) {
	conn, done := rights.RedisConn(r)
	defer done()
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
			if rights.RedisAllows(ctx, conn, right.Grant) {
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
