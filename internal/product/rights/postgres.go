package rights

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// head begins the script for psql.
const head = `-- Rights of upkeep on PostgreSQL 13 and later, as statements for psql 13 or later. Once
-- for each database, and once more for each table that an action is to work on:
--
--   psql -v role=upkeep -v schema=public -v table=logs -f FILE DATABASE
--
-- Without a table, what needs one is left out, and said. Granting twice is the same as
-- once. Who runs this must own the objects, or be a superuser.
\set ON_ERROR_STOP on
set client_min_messages = warning;
set search_path = pg_catalog, public;
`

// roleDefault is the name of the role if the psql variable is not set.
const roleDefault = `\if :{?role}
\else
\set role %s
\endif
`

// tail of the beginning: defaults of psql variables, and the owner of the table. A member of
// a superuser may do all that a superuser may, and no role is a member of itself.
const variables = `\if :{?schema}
\else
\set schema public
\endif
\if :{?database}
\else
\set database :DBNAME
\endif
\set lends false
\set owns false
select pg_get_userbyid(d.datdba) as database_owner, r.rolname = :'role' as owns_database, r.rolname <> :'role' and not r.rolsuper as lends_database
  from pg_database d join pg_roles r on r.oid = d.datdba where d.datname = current_database() \gset
\if :{?table}
select to_regclass(format('%I.%I', :'schema', :'table')) is null as gone \gset
\if :gone
do $$ begin raise exception 'there is no table of that name in that schema of this database'; end $$;
\endif
select pg_get_userbyid(c.relowner) as owner, r.rolname = :'role' as owns, r.rolname <> :'role' and not r.rolsuper as lends
  from pg_class c join pg_roles r on r.oid = c.relowner where c.oid = to_regclass(format('%I.%I', :'schema', :'table')) \gset
\endif
`

// ofSuperuser is said where an owner's rights cannot be lent: of a table or a database.
const ofSuperuser = `do $$ begin raise exception 'the %[1]s belongs to a superuser, and who may act for it is one: give the %[1]s an owner of its own before (alter %[1]s … owner to …)'; end $$;
`

// PostgresScript writes the needs as a script for psql. A variable that is not set is
// read from the server: the owner of the table, the database. A role of "" is the
// psql variable role, or Role.
func PostgresScript(role string, needs []Need) string {
	var b strings.Builder
	b.WriteString(head)
	if role == "" {
		fmt.Fprintf(&b, roleDefault, literal(Role))
	} else {
		fmt.Fprintf(&b, "\\set role %s\n", literal(role))
	}
	b.WriteString(variables)
	b.WriteString("select " + strings.Join(versions(needs), ", ") + " \\gset\n")
	for _, n := range needs {
		fmt.Fprintf(&b, "\n-- %s: %s\n", n.By, n.Summary)
		if len(n.Rights) == 0 {
			b.WriteString("-- Nothing beyond that.\n")
		}
		for len(n.Rights) > 0 {
			n.Rights = block(&b, n.By, n.Rights)
		}
	}
	return b.String()
}

// literal quotes a text for one of psql's own commands, where a backslash escapes
// and a line ends the command.
func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + "'"
}

// span names the variable that says whether a right is for the server's version.
func span(r remediate.Right) string {
	switch {
	case r.Since == 0 && r.Until == 0:
		return ""
	case r.Until == 0:
		return fmt.Sprintf("since_%d", r.Since)
	case r.Since == 0:
		return fmt.Sprintf("until_%d", r.Until)
	}
	return fmt.Sprintf("from_%d_to_%d", r.Since, r.Until)
}

// versions are the expressions of those variables.
func versions(needs []Need) []string {
	const version = "current_setting('server_version_num')::int / 10000"
	all := []string{version + " as version"}
	for _, n := range needs {
		for _, r := range n.Rights {
			if span(r) == "" {
				continue
			}
			until := r.Until
			if until == 0 {
				until = 999
			}
			if text := fmt.Sprintf("%s between %d and %d as %s", version, r.Since, until,
				span(r)); !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	slices.Sort(all[1:])
	return all
}

// wants returns the variables that a right needs and that have no default.
func wants(r remediate.Right) (all []string) {
	variable := regexp.MustCompile(`:["']([a-z_]+)["']`)
	for _, m := range variable.FindAllStringSubmatch(r.Grant, -1) {
		name := m[1]
		switch name {
		case "role", "database", "database_owner", "schema":
			continue
		case "owner":
			name = "table"
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// block writes the first of the rights and those behind it that hang on the same,
// and returns the rest.
func block(b *strings.Builder, by string, all []remediate.Right) []remediate.Right {
	first := all[0]
	same := func(r remediate.Right) bool { return span(r) == span(first) && slices.Equal(wants(r), wants(first)) }
	n := 1
	for n < len(all) && same(all[n]) {
		n++
	}
	when := span(first)
	if when != "" {
		fmt.Fprintf(b, "\\if :%s\n", when)
	}
	vars := wants(first)
	for _, name := range vars {
		fmt.Fprintf(b, "\\if :{?%s}\n", name)
	}
	for _, r := range all[:n] {
		statement(b, r)
	}
	for _, name := range slices.Backward(vars) {
		fmt.Fprintf(b, "\\else\n\\warn %s\n\\endif\n",
			literal(fmt.Sprintf("%s: rights are left out that name the %s; give psql -v %s=…", by, name, name)))
	}
	if when != "" {
		b.WriteString("\\endif\n")
	}
	return all[n:]
}

// statement writes one grant, and lends the owner's rights only where that is not
// to lend a superuser's.
func statement(b *strings.Builder, r remediate.Right) {
	grant := strings.TrimRight(line(r.Grant), "; ") + ";"
	if r.For != "" {
		grant += " -- " + line(r.For)
	}
	grant += "\n"
	what, suffix := "table", ""
	switch {
	case strings.HasPrefix(grant, `grant :"owner" to`):
	case strings.HasPrefix(grant, `grant :"database_owner" to`):
		what, suffix = "database", "_database"
	default:
		b.WriteString(grant)
		return
	}
	fmt.Fprintf(b, "\\if :lends%[1]s\n%[2]s\\elif :owns%[1]s\n\\else\n", suffix, grant)
	fmt.Fprintf(b, ofSuperuser+"\\endif\n", what)
}
