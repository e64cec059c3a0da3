package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// Rows of a database that is not in UTF-8 come back byte by byte, also characters that
// are one and the same in Unicode, and one that Unicode has not; and a table and its
// columns may have names of that encoding.
func TestFilesKeepEncodings(t *testing.T) {
	t.Parallel()
	for encoding, rows := range map[string][]string{
		"EUC_JP":  {`\xadf0`, `\xa2e2`, `\x8ff3fd`, `\xadb5`},
		"LATIN1":  {`\xe4f6fc`, `\x80`},
		"WIN1252": {`\xe480`, `\x81`},
	} {
		t.Run(encoding, func(t *testing.T) {
			server := servertest.Postgres(t)
			u, err := url.Parse(server)
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("test_%08x", rand.Uint32())
			servertest.Exec(t, server, "create database "+name+" encoding '"+encoding+"' locale 'C' template template0")
			t.Cleanup(func() { servertest.Exec(t, server, "drop database "+name+" with (force)") })
			u.Path = "/" + name
			table := "t"
			if encoding != "EUC_JP" {
				table = "täble"
			}
			c := servertest.Connect(t, u.String())
			run := func(sql string) {
				t.Helper()
				if _, err := c.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			run("set client_encoding = 'UTF8'")
			run(fmt.Sprintf(`create table "%s" (at timestamptz default '2001-01-01', "%[1]s" text)`, table))
			for _, r := range rows {
				run(fmt.Sprintf(`insert into "%s" ("%[1]s") values (convert_from('%s', '%s'))`, table, r, encoding))
			}
			text := func() (all string) {
				t.Helper()
				if err := c.QueryRow(t.Context(),
					fmt.Sprintf(`select coalesce(string_agg(convert_to("%s", '%s')::text, ' ' order by convert_to("%[1]s", '%[2]s')), '') from "%[1]s"`, table, encoding)).Scan(&all); err != nil {
					t.Fatal(err)
				}
				return all
			}
			before := text()
			p, err := serverOf(remote{URL: u.String(), Folder: t.TempDir(),
				Entry: target.Archive{Database: name, Schema: "public", Table: table, Column: "at",
					After: time.Hour}}.child(t))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			request := remediate.Request{Subject: map[string]string{"server": "main", "database": name,
				"schema": "public", "table": table}}
			if err := carryOut(t, postgres.Archive(p), request); err != nil {
				t.Fatal(err)
			}
			if got := text(); got != "" {
				t.Fatalf("rows are left: %s", got)
			}
			request.Params = map[string]string{"since": "2000-01-01", "until": "2100-01-01"}
			if err := carryOut(t, postgres.RestoreArchived(p), request); err != nil {
				t.Fatal(err)
			}
			if after := text(); after != before {
				t.Errorf("the rows are %s, and were %s", after, before)
			}
		})
	}
}

// A value that the server writes and does not read keeps its row in the table.
func TestFilesTakenBack(t *testing.T) {
	t.Parallel()
	s := stocked(t, nil)
	s.put(t, 10, 0)
	servertest.Exec(t, s.url, "create domain public.few as int",
		"alter table "+s.qTable+" add column round circle, add column few public.few, add column fews public.few[]")
	for _, bad := range []struct{ column, value string }{{"round", "circle(point(1, 1), -2)"}, {"few", "11"},
		{"fews", "'{11}'"}} {
		servertest.Exec(t, s.url, "update "+s.qTable+" set "+bad.column+" = "+bad.value,
			"alter domain public.few add constraint few check (value < 10) not valid")
		err := carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()})
		if no, refused := remediate.Refused(err); !refused || no.Reason != remediate.ReasonUnfit ||
			!strings.Contains(no.Detail, `"`+bad.column+`"`) {
			t.Errorf("%s: %v, want a refusal", bad.column, err)
		}
		if n := s.number(t, "select count(*) from "+s.qTable+" where "+s.old); n != 10 {
			t.Fatalf("%s: %d rows are left of 10", bad.column, n)
		}
		servertest.Exec(t, s.url, "alter domain public.few drop constraint few",
			"update "+s.qTable+" set round = '<(1,1),2>', few = 9, fews = '{9,null}'")
	}
	if err := carryOut(t, postgres.Archive(s.server), remediate.Request{Subject: s.subject()}); err != nil {
		t.Error(err)
	}
}
