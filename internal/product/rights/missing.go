package rights

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// mostSchemas is how many schemas of a database are listed in which a right is missing.
const mostSchemas = 200

// Missing is what the role of upkeep may not do on one PostgreSQL server, of what it needs.
type Missing struct {
	Role      string
	Superuser bool     // it may do everything
	Server    []Gap    // on the server as a whole
	Databases []Within // those in which something is missing
	Unread    []string // databases that could not be read, and why
	Unseen    []string // rights that cannot be compared: upkeep rights writes them
}

// Within is what is missing within one database.
type Within struct {
	Database string
	Gaps     []Gap    // of the database as a whole
	Schemas  []Schema // in the order of their names
	More     int      // schemas that are left out
}

// Schema is what is missing in one schema.
type Schema struct {
	Name   string
	Tables int // in which something is missing
	Gaps   []Gap
}

// A Gap is one missing right.
type Gap struct {
	SQL string // the statement that grants it; a comment where no statement can
	For string // what needs it
}

// Nothing reports whether nothing is missing, of all that could be compared.
func (m Missing) Nothing() bool { return len(m.Server) == 0 && len(m.Databases) == 0 }

// SQL returns the statements of some gaps in one transaction: all are granted, or none.
func SQL(all ...Gap) string {
	var b strings.Builder
	b.WriteString("BEGIN;\n")
	var seen []string
	for _, l := range all {
		if !slices.Contains(seen, l.SQL) {
			seen = append(seen, l.SQL)
			b.WriteString(l.SQL + "\n")
		}
	}
	b.WriteString("COMMIT;\n")
	return b.String()
}

// Grants reports whether a statement grants it. Where none does, SQL is a comment that says what to do.
func (g Gap) Grants() bool { return !strings.HasPrefix(g.SQL, "--") }

// All returns what is missing in a database and in all its schemas.
func (w Within) All() []Gap {
	all := slices.Clone(w.Gaps)
	for _, s := range w.Schemas {
		all = append(all, s.Gaps...)
	}
	return all
}

// Membership returns the role that a right is the membership in, or "".
func Membership(r remediate.Right) string {
	if m := regexp.MustCompile(`^grant (pg_\w+) to :"role"$`).FindStringSubmatch(r.Grant); m != nil {
		return m[1]
	}
	return ""
}

// TableCondition returns the SQL that is true of a table c of pg_class on which the role has a right,
// or "" for a right that is about no table.
func TableCondition(r remediate.Right) string {
	if r.Grant == ownership {
		return "pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER')"
	}
	var all []string
	for privilege := range strings.SplitSeq(tablePrivileges(r), ",") {
		if privilege = strings.TrimSpace(privilege); privilege != "" {
			all = append(all, "pg_catalog.has_table_privilege(c.oid, '"+strings.ToUpper(privilege)+"')")
		}
	}
	return strings.Join(all, " and ")
}

// ownership is the right to do what the owner of a table may.
const ownership = `grant :"owner" to :"role"`

// tablePrivileges are those that a right has on a table or on all tables of a schema; "" where it has none.
func tablePrivileges(r remediate.Right) string {
	m := regexp.MustCompile(
		`^grant ([a-z, ]+) on (?:table :"schema"\.:"table"|all tables in schema :"schema") to :"role"$`).
		FindStringSubmatch(r.Grant)
	if m == nil {
		return ""
	}
	return m[1]
}

// Holds reports whether a right is one of a major version of PostgreSQL.
func Holds(r remediate.Right, major int) bool {
	return r.Since <= major && (r.Until == 0 || r.Until >= major)
}

// Find compares what is needed with what the role may that upkeep logs in as. It changes nothing. A
// table counts as needed wherever it is: no one can know which ones an alert will be about.
func Find(ctx context.Context, p *target.Postgres, needs []Need) (m Missing, err error) {
	server, err := p.Server()
	if err != nil {
		return m, err
	}
	var version int
	if err = server.QueryRow(ctx, `select current_user::text, current_setting('server_version_num')::int,
		coalesce((select rolsuper from pg_catalog.pg_roles where rolname = current_user), false)`).
		Scan(&m.Role, &version, &m.Superuser); err != nil || m.Superuser {
		return m, err
	}
	f := finder{role: pgx.Identifier{m.Role}.Sanitize()}
	for _, n := range needs {
		for _, r := range n.Rights {
			if Holds(r, version/10000) {
				f.add(n.By, r)
			}
		}
	}
	for _, w := range f.members {
		var member bool
		if err := server.QueryRow(ctx, "select pg_catalog.pg_has_role(current_user, $1, 'MEMBER')", w.name).
			Scan(&member); err != nil {
			return m, err
		}
		if !member {
			m.Server = append(m.Server, Gap{"GRANT " + w.name + " TO " + f.role + ";", w.needed()})
		}
	}
	m.Unseen = f.unseen
	if err = f.closed(ctx, p, server, &m); err != nil {
		return m, err
	}
	databases, err := p.Databases(ctx)
	for _, name := range databases {
		within, err := f.within(ctx, p, name)
		switch {
		case err != nil:
			m.Unread = append(m.Unread, fmt.Sprintf("%s: %v", name, err))
		case len(within.Gaps)+len(within.Schemas) > 0:
			m.Databases = append(m.Databases, within)
		}
	}
	return m, err
}

// A finder has the rights that are needed, each once, by what they are about.
type finder struct {
	role                               string // quoted
	members, databases, usages, tables []wanted
	unseen                             []string
}

// A wanted right, with who needs it.
type wanted struct {
	name string // of the role or the privileges; "" for that of the owner
	sql  string // true of a table where it is there
	by   []string
}

func (w wanted) needed() string { return strings.Join(w.by, ", ") }

// add sorts a right in.
func (f *finder) add(by string, r remediate.Right) {
	into := func(all *[]wanted, name, sql string) {
		i := slices.IndexFunc(*all, func(w wanted) bool { return w.name == name })
		if i < 0 {
			*all = append(*all, wanted{name: name, sql: sql})
			i = len(*all) - 1
		}
		if !slices.Contains((*all)[i].by, by) {
			(*all)[i].by = append((*all)[i].by, by)
		}
	}
	database := regexp.MustCompile(`^grant (connect|temporary) on database :"database" to :"role"$`).
		FindStringSubmatch(r.Grant)
	switch {
	case Membership(r) != "":
		into(&f.members, Membership(r), "")
	case database != nil && database[1] == "connect": // see closed
	case database != nil:
		into(&f.databases, database[1], "")
	case r.Grant == `grant usage on schema :"schema" to :"role"`:
		into(&f.usages, "usage", "")
	case r.Grant == ownership:
		into(&f.tables, "", TableCondition(r))
	case tablePrivileges(r) != "":
		into(&f.tables, tablePrivileges(r), TableCondition(r))
	default:
		if text := by + ": " + r.Grant; !slices.Contains(f.unseen, text) {
			f.unseen = append(f.unseen, text)
		}
	}
}

// closed finds the databases that the role may not connect to.
func (f *finder) closed(ctx context.Context, p *target.Postgres, server *target.Database, m *Missing) error {
	rows, err := server.Query(ctx, `select datname::text from pg_catalog.pg_database
		where datallowconn and not datistemplate and datconnlimit <> -2
		and not pg_catalog.has_database_privilege(oid, 'CONNECT') order by datname`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		if !p.LeavesAlone(name) {
			m.Server = append(m.Server, Gap{"GRANT CONNECT ON DATABASE " + pgx.Identifier{name}.Sanitize() + " TO " +
				f.role + ";", Watching})
		}
	}
	return err
}

// within finds what is missing in a database.
func (f *finder) within(ctx context.Context, p *target.Postgres, name string) (w Within, err error) {
	w.Database = name
	d, err := p.Database(name)
	if err != nil {
		return w, err
	}
	for _, right := range f.databases {
		var has bool
		if err := d.QueryRow(ctx, "select pg_catalog.has_database_privilege(current_database(), $1)",
			right.name).Scan(&has); err != nil {
			return w, err
		}
		if !has {
			w.Gaps = append(w.Gaps, Gap{"GRANT " + strings.ToUpper(right.name) + " ON DATABASE " +
				pgx.Identifier{name}.Sanitize() + " TO " + f.role + ";", right.needed()})
		}
	}
	if len(f.tables)+len(f.usages) == 0 {
		return w, nil
	}
	conditions := []string{"true"}
	for _, right := range f.tables {
		conditions = append(conditions, right.sql)
	}
	rows, err := d.Query(ctx, `select n.nspname::text, pg_catalog.has_schema_privilege(n.oid, 'USAGE'), r.rolname::text,
		r.rolsuper, count(*)::int, array[count(*) filter (where not (`+strings.Join(conditions,
		`)), count(*) filter (where not (`)+`))]::int[]
		from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		join pg_catalog.pg_roles r on r.oid = c.relowner
		where c.relkind in ('r', 'p', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
		and n.nspname !~ '^pg_toast' and n.nspname !~ '^pg_temp' group by 1, 2, 3, 4 order by 1, 3`)
	if err != nil {
		return w, err
	}
	owned, err := pgx.CollectRows(rows, pgx.RowToStructByPos[tablesOf])
	for _, t := range owned {
		f.schema(&w, t)
	}
	w.Schemas = slices.DeleteFunc(w.Schemas, func(s Schema) bool { return len(s.Gaps) == 0 })
	if n := len(w.Schemas) - mostSchemas; n > 0 {
		w.Schemas, w.More = w.Schemas[:mostSchemas], n
	}
	return w, err
}

// tablesOf are the tables of one owner in one schema.
type tablesOf struct {
	Schema    string
	Usage     bool
	Owner     string
	Superuser bool
	Tables    int
	Gap       []int // how many are without each of the rights, after the one that all have
}

// schema adds what is missing on the tables of one owner.
func (f *finder) schema(w *Within, t tablesOf) {
	if len(w.Schemas) == 0 || w.Schemas[len(w.Schemas)-1].Name != t.Schema {
		w.Schemas = append(w.Schemas, Schema{Name: t.Schema})
	}
	s := &w.Schemas[len(w.Schemas)-1]
	add := func(l Gap) {
		if !slices.Contains(s.Gaps, l) {
			s.Gaps = append(s.Gaps, l)
		}
	}
	schema := pgx.Identifier{t.Schema}.Sanitize()
	for _, right := range f.usages {
		if !t.Usage {
			add(Gap{"GRANT USAGE ON SCHEMA " + schema + " TO " + f.role + ";", right.needed()})
		}
	}
	most := 0
	for i, right := range f.tables {
		n := t.Gap[i+1]
		most = max(most, n)
		switch {
		case n == 0:
		case right.name != "":
			add(Gap{"GRANT " + strings.ToUpper(right.name) + " ON ALL TABLES IN SCHEMA " + schema + " TO " + f.role +
				";", right.needed()})
		case t.Superuser: // who may act for a superuser is one
			tables := fmt.Sprintf("-- %d tables in the schema %s belong", n, line(schema))
			if n == 1 {
				tables = fmt.Sprintf("-- 1 table in the schema %s belongs", line(schema))
			}
			add(Gap{tables + " to the superuser " + line(pgx.Identifier{t.Owner}.Sanitize()) + ": give another owner " +
				"(ALTER TABLE … OWNER TO …)", right.needed()})
		default:
			add(Gap{"GRANT " + pgx.Identifier{t.Owner}.Sanitize() + " TO " + f.role + ";", right.needed()})
		}
	}
	s.Tables += most
}
