package look_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// Why a look explains no statement: PostgreSQL runs immutable functions while it plans, and one of any user
// gets back the rights of the session, whatever role was set before.
func TestExplainRunsFunctions(t *testing.T) {
	t.Parallel()
	url, _ := servertest.Database(t)
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(t.Context()) }() // the database is dropped
	var us, ran string
	if err := db.QueryRow(t.Context(), "select session_user").Scan(&us); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`create function pick() returns int language plpgsql immutable as $$
		begin
			perform set_config('role', 'none', true);
			perform set_config('look.ran', current_user, false);
			return 1;
		end $$`,
		"begin read only",
		"set local role pg_monitor", // a role with less than ours
		"explain (costs off) select * from pg_class where oid = pick()",
	} {
		if _, err := db.Exec(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if err := db.QueryRow(t.Context(), "select current_setting('look.ran', true)").Scan(&ran); err != nil {
		t.Fatal(err)
	}
	if ran != us {
		t.Errorf("the function ran as %q, want %q: EXPLAIN has become harmless, and a look could make use of it", ran, us)
	}
}
