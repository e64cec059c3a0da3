package postgres_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// healthy is the most that a table or index as good as new may be said to have.
const healthy = 0.2

// near is how far an estimate may be from what pgstattuple measures.
const near = 0.15

// TestTableBloatAccuracy holds the estimate against pgstattuple. What is fresh
// may not be called bloated however its rows look; what is half empty must be.
func TestTableBloatAccuracy(t *testing.T) {
	var found []estimated
	for _, tc := range []struct {
		name, columns, values string
		with                  string
		remove                string // rows that are deleted
	}{
		{"narrow", "id int, v int", "n, n", "", ""},
		{"text", "id int, v text", "n, 'some text ' || n", "", ""},
		{"padding between", "a bool, b int8, c bool, d int8, e bool, f int8", "true, n, true, n, true, n", "", ""},
		{"nulls", "id int, a text, b int8, c timestamptz", "n, nullif('x' || n % 3, 'x0'), nullif(n % 2, 0), null", "",
			""},
		{"numeric and dates", "id int8, a numeric, b date, c timestamptz, d uuid",
			"n, n * 1.37, now(), now(), gen_random_uuid()", "", ""},
		{"fill factor 70", "id int, v text", "n, 'some text ' || n", "with (fillfactor = 70)", ""},
		{"two kilobytes a row", "id int, v text", "n, repeat(md5(n::text), 64)", "", ""},
		{"toast", "id int, v text", "n, (select string_agg(md5(n::text || i), '') from generate_series(1, 150) i)", "",
			""},
		{"widths from 300 to 800", "id int, v text", "n, repeat('x', 300 + n % 500)", "", ""},
		{"deleted 60 %", "id int, v text", "n, 'some text ' || n", "", "id % 5 < 3"},
		{"deleted 60 % with nulls", "id int, a text, b int8", "n, nullif('text ' || n % 3, 'text 0'), nullif(n % 2, 0)",
			"", "id % 5 < 3"},
		{"deleted 90 %", "id int, a bool, b int8", "n, true, n", "", "id % 10 <> 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address, _ := servertest.Database(t)
			rows := "20000"
			if tc.name == "toast" {
				rows = "2000"
			}
			servertest.Exec(t, address, "create extension pgstattuple",
				"create table t ("+tc.columns+") "+tc.with,
				"insert into t select "+tc.values+" from generate_series(1, "+rows+") n")
			if tc.remove != "" {
				servertest.Exec(t, address, "delete from t where "+tc.remove)
			}
			servertest.Exec(t, address, "vacuum (analyze, truncate off) t")
			db := connect(t, address)
			got, err := postgres.ReadTableBloat(t.Context(), db, postgres.Subject{Schema: "public", Table: "t"})
			if err != nil || len(got) != 1 {
				t.Fatalf("%d rows, %v", len(got), err)
			}
			free := number(t, db, "select (free_percent + dead_tuple_percent) / 100 from pgstattuple('t')")
			compare(t, got[0].Ratio, free, tc.remove != "")
			found = append(found, estimated{tc.name, got[0].Ratio, free})
		})
	}
	listed(t, "tables", found)
}

// TestIndexBloatAccuracy holds the estimate against pgstatindex.
func TestIndexBloatAccuracy(t *testing.T) {
	var found []estimated
	for _, tc := range []struct {
		name, columns, values, index string
		remove                       string
	}{
		{"serial", "id int", "n", "(id)", ""},
		{"unique text", "v text", "md5(n::text)", "(v)", ""},
		{"few values", "v int, w int", "n % 20, n", "(v)", ""},
		{"ten rows a value", "v int", "n / 10", "(v)", ""},
		{"two rows a value", "v int", "n / 2", "(v)", ""},
		{"few values, no sharing (numeric)", "v numeric", "n % 20", "(v)", ""},
		{"few values, included column", "v int, w int", "n % 20, n", "(v) include (w)", ""},
		{"two columns", "a int, b text", "n % 100, 'customer ' || n % 5000", "(a, b)", ""},
		{"nulls", "a text, b int", "nullif('x' || n % 3, 'x0'), n", "(a, b)", ""},
		{"expression", "v text", "'Customer ' || n", "(lower(v))", ""},
		{"partial", "id int, done bool", "n, n % 4 = 0", "(id) where done", ""},
		{"timestamps", "at timestamptz", "now() + n * interval '1 second'", "(at)", ""},
		{"fill factor 70", "id int", "n", "(id) with (fillfactor = 70)", ""},
		{"unique, deleted 70 %", "v text", "md5(n::text)", "(v)", "ascii(v) % 10 < 7"},
		{"serial, deleted 80 %", "id int", "n", "(id)", "id % 5 <> 0"},
		{"few values, deleted 70 %", "v int, w int", "n % 20, n", "(v)", "w % 10 < 7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address, _ := servertest.Database(t)
			servertest.Exec(t, address, "create extension pgstattuple",
				"create table t ("+tc.columns+")",
				"insert into t select "+tc.values+" from generate_series(1, 100000) n",
				"create index i on t using btree "+tc.index)
			if tc.remove != "" {
				servertest.Exec(t, address, "delete from t where "+tc.remove)
			}
			servertest.Exec(t, address, "vacuum (analyze) t")
			db := connect(t, address)
			got, err := postgres.ReadIndexBloat(t.Context(), db,
				postgres.Subject{Schema: "public", Table: "t", Index: "i"})
			if err != nil || len(got) != 1 {
				t.Fatalf("%d rows, %v", len(got), err)
			}
			// What building it anew wins is the truth; pgstatindex would have to be
			// given the fill factor and the effect of deduplication.
			before := number(t, db, "select pg_relation_size('i')::float8")
			servertest.Exec(t, address, "reindex index i")
			wins := 1 - number(t, db, "select pg_relation_size('i')::float8")/before
			compare(t, got[0].Ratio, wins, tc.remove != "")
			found = append(found, estimated{tc.name, got[0].Ratio, wins})
		})
	}
	listed(t, "indexes", found)
}

// An estimated is one shape of a table or index, what was estimated of it, and what it was.
type estimated struct {
	name            string
	estimate, truth float64
}

const page = "../../docs/accuracy.md"

// listed holds the page of the errors to what was found; -update writes it.
func listed(t *testing.T, kind string, found []estimated) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), "<!-- "+kind+" -->\n")
	table, tail, ended := strings.Cut(rest, "<!-- end -->")
	if !ok || !ended {
		t.Fatalf("%s has no place for %s", page, kind)
	}
	var b strings.Builder
	for _, e := range found {
		row := fmt.Sprintf("| %s | %.2f | %.2f | %+.2f |\n", e.name, e.estimate, e.truth, e.estimate-e.truth)
		b.WriteString(row)
		t.Log(strings.TrimSpace(row))
		var estimate, truth float64
		_, figures, there := strings.Cut(table, "| "+e.name+" | ")
		if _, err := fmt.Sscanf(figures, "%f | %f", &estimate, &truth); !there || err != nil ||
			math.Abs(estimate-e.estimate) > 0.05 || math.Abs(truth-e.truth) > 0.05 {
			if flag.Lookup("update").Value.String() != "true" {
				t.Errorf("%s says %.2f and %.2f of %q, and it is %.2f and %.2f; go test ./collectors/postgres -run "+
					"Accuracy -update", page, estimate, truth, e.name, e.estimate, e.truth)
			}
		}
	}
	if flag.Lookup("update").Value.String() == "true" {
		lines := strings.SplitAfterN(table, "\n", 3) // the heading of the table stays
		if err := os.WriteFile(page,
			[]byte(head+"<!-- "+kind+" -->\n"+lines[0]+lines[1]+b.String()+"<!-- end -->"+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t *testing.T, estimate, truth float64, sick bool) {
	t.Helper()
	switch {
	case !sick && estimate > healthy:
		t.Errorf("as good as new, and estimated at %.3f", estimate)
	case sick && (estimate < truth-near || estimate > truth+near):
		t.Errorf("estimated %.3f, which is not near %.3f", estimate, truth)
	}
}

func number(t *testing.T, db *pgx.Conn, query string) (v float64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), query).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The worst are measured where pgstattuple is, once, and agree with the estimate.
func TestWorstAreMeasured(t *testing.T) {
	address, name := servertest.Database(t)
	servertest.Exec(t, address, "create table t (id int primary key, v text)",
		"insert into t select n, md5(n::text) from generate_series(1, 600000) n", "delete from t where id % 10 <> 0",
		"vacuum (analyze, truncate off) t", "create table small (id int primary key)")
	p := looked(t, target.PostgresConfig{URL: address})
	sample := func(metric, index, method string) string {
		return fmt.Sprintf(`upkeep_postgres_%s_bloat_ratio{server="s",database="%s",schema="public",table="t",%smethod="%s"`, metric, name, index, method)
	}
	tables, indexes := postgres.TableBloat(p), postgres.IndexBloat(p)
	if got := collectortest.Answer(t, tables) + collectortest.Answer(t, indexes); strings.Contains(got,
		`database="`+name+`",schema="public",table="t",method="pgstattuple`) ||
		strings.Contains(got, `index="t_pkey",method="pgstatindex"`) {
		t.Errorf("measured without the extension:\n%s", got)
	}
	servertest.Exec(t, address, `create schema "Odd; --"`, `create extension pgstattuple schema "Odd; --"`)
	for _, tc := range []struct {
		c                     collectors.Collector
		metric, index, method string
	}{{tables, "table", "", "pgstattuple_approx"}, {indexes, "index", `index="t_pkey",`, "pgstatindex"}} {
		got := collectortest.Answer(t, tc.c)
		estimate, measured := value(t, got, sample(tc.metric, tc.index, "estimate")),
			value(t, got, sample(tc.metric, tc.index, tc.method))
		if math.Abs(estimate-measured) > near || measured < 0.5 {
			t.Errorf("%s: estimated %.3f, measured %.3f", tc.metric, estimate, measured)
		}
		if strings.Contains(got, `table="small",method="pgst`) ||
			strings.Contains(got, `index="small_pkey",method="pgst`) {
			t.Errorf("what is small is measured:\n%s", got)
		}
	}
	servertest.Exec(t, address, "create role sighted_only login in role pg_read_all_data",
		`grant usage on schema "Odd; --" to sighted_only`)
	t.Cleanup(func() {
		servertest.Exec(t, servertest.Postgres(t), "drop owned by sighted_only", "drop role sighted_only")
	})
	t.Cleanup(func() { servertest.Exec(t, address, "drop owned by sighted_only") })
	c := postgres.IndexBloat(looked(t, target.PostgresConfig{URL: strings.Replace(address, "upkeep@", "sighted_only@",
		1)}))
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err == nil || !strings.Contains(err.Error(), "grant pg_stat_scan_tables") ||
		!strings.Contains(string(w.Text()), `index="t_pkey",method="estimate"`) {
		t.Errorf("a role that may not measure: %v", err)
	}
}
