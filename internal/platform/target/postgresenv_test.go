package target_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// PostgreSQL's own programs get in their environment what we know, and of
// our own environment no more than they need.
func TestEnviron(t *testing.T) {
	t.Setenv("UPKEEP_SECRET", "ours")
	t.Setenv("PG_STORE_PASSWORD", "ours")
	t.Setenv("PGPASSWORD_OTHER", "ours")
	t.Setenv("PGAPPNAME", "another")
	t.Setenv("PGTZ", "UTC")
	password := func() (string, error) { return `p"w' d`, nil }
	for _, test := range []struct {
		url, says string // says is in the error, where there is one
		want      []string
	}{
		{
			url: "postgres://ann%20e@db.example:6000/app?sslmode=require&connect_timeout=3&application_name=x",
			want: []string{"PGHOST=db.example", "PGPORT=6000", "PGUSER=ann e", `PGDATABASE=other "db"`,
				"PGSSLMODE=require", "PGCONNECT_TIMEOUT=3", "PGAPPNAME=upkeep x", `PGPASSWORD=p"w' d`, "PGTZ=UTC",
				"LC_ALL=C"},
		},
		{url: "postgres://ann@/app?host=/var/run/postgresql&port=6000",
			want: []string{"PGHOST=/var/run/postgresql", "PGPORT=6000"}},
		{url: "postgres://ann@one,two:7000/app?target_session_attrs=read-write&sslmode=prefer",
			want: []string{"PGHOST=one,two", "PGPORT=5432,7000", "PGTARGETSESSIONATTRS=read-write"}},
		{url: "host=db user=ann", says: "as a URL"},
		{url: "postgres://ann@db/app?statement_cache_capacity=3", says: `the parameter "statement_cache_capacity"`},
	} {
		t.Run(test.url, func(t *testing.T) {
			p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: test.url, Password: password})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			env, err := p.Environ(`other "db"`, "upkeep x")
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "p\"w") {
					t.Errorf("Environ: %v, want an error that says %q", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !slices.Contains(env, want) {
					t.Errorf("%s is not in %q", want, env)
				}
			}
			if strings.Contains(strings.Join(env, "\n"), "ours") {
				t.Error("more than is needed is passed on")
			}
		})
	}
}
