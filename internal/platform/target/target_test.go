package target_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func postgres(t *testing.T, url string, password target.Password) *target.Postgres {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Every database is found, also one that was made a moment ago; none that cannot
// be connected to, and no template.
func TestDatabasesAreFound(t *testing.T) {
	p := postgres(t, servertest.Postgres(t), nil)
	_, one := servertest.Database(t)
	_, two := servertest.Database(t)
	_, closed := servertest.Database(t)
	servertest.Exec(t, servertest.Postgres(t), "alter database "+closed+" allow_connections false")
	names, err := p.Databases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{one, two, "postgres"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s was not found: %v", want, names)
		}
	}
	if slices.Contains(names, closed) || slices.Contains(names, "template1") {
		t.Errorf("found databases that cannot be queried: %v", names)
	}
}

// Reading cannot change what is stored: the server itself refuses.
func TestReadingIsReadOnly(t *testing.T) {
	url, name := servertest.Database(t)
	servertest.Exec(t, url, "create table t (id int)", "create sequence s")
	p := postgres(t, url, nil)
	db, err := p.Database(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"insert into public.t values (1)", "drop table public.t",
		"select pg_catalog.setval('public.s', 1)"} {
		if err := db.QueryRow(t.Context(), sql).Scan(); err == nil || errors.Is(err, pgx.ErrNoRows) {
			t.Errorf("%s succeeded: %v", sql, err)
		}
	}
	if again, err := p.Database(name); err != nil || again != db {
		t.Errorf("a second connection for the same database: %v", err)
	}
}

// However many databases there are, few connections are kept; and each is used
// again, also after the server has ended it.
func TestConnectionsAreFew(t *testing.T) {
	url := servertest.Postgres(t)
	p := postgres(t, url, nil)
	var names []string
	for range 9 {
		_, name := servertest.Database(t)
		names = append(names, name)
	}
	ask := func(name string) (pid int) {
		t.Helper()
		d, err := p.Database(name)
		if err == nil {
			err = d.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&pid)
		}
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	for range 3 {
		for _, name := range names {
			ask(name)
		}
	}
	server, err := p.Server()
	if err != nil {
		t.Fatal(err)
	}
	var open int
	if err := server.QueryRow(t.Context(),
		"select count(*) from pg_stat_activity where application_name = 'upkeep' and datname like 'test_%'").
		Scan(&open); err != nil || open > 5 {
		t.Errorf("%d connections %v", open, err)
	}
	one := ask(names[0])
	if again := ask(names[0]); again != one {
		t.Errorf("session %d and then %d", one, again)
	}
	servertest.Exec(t, url, fmt.Sprintf("select pg_terminate_backend(%d, 5000)", one))
	time.Sleep(1100 * time.Millisecond) // a connection is tried after a second of silence
	if again := ask(names[0]); again == one {
		t.Errorf("session %d answers after its end", one)
	}
}

// A question that is slow keeps no question about the server waiting; one that
// takes longer than its deadline ends on the server too.
func TestSlowQuestion(t *testing.T) {
	url, name := servertest.Database(t)
	p := postgres(t, url, nil)
	db, err := p.Database(name)
	if err != nil {
		t.Fatal(err)
	}
	slow, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		close(began)
		ended <- db.QueryRow(slow, "select pg_sleep(60)").Scan(new(any))
	}()
	<-began
	server, err := p.Server()
	if err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	var n int
	if err := server.QueryRow(t.Context(), "select 1").Scan(&n); err != nil || time.Since(from) > 30*time.Second {
		t.Errorf("%v after %s", err, time.Since(from))
	}
	if err := <-ended; err == nil {
		t.Error("a minute passed in two seconds")
	}
	servertest.Eventually(t, "it does not run on the server any more", func() error {
		err := db.QueryRow(t.Context(), "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and "+
			"state = 'active' and pid <> pg_backend_pid()").Scan(&n)
		if err == nil && n != 0 {
			err = fmt.Errorf("%d still run", n)
		}
		return err
	})
}

// A password is asked for at each new connection; its absence is an error that
// names the server and not the secret.
func TestPasswords(t *testing.T) {
	asked := 0
	p := postgres(t, servertest.Postgres(t), func() (string, error) {
		if asked++; asked > 1 {
			return "", errors.New("the file is gone")
		}
		return "hunter2", nil
	})
	if _, err := p.Databases(t.Context()); err != nil || asked != 1 {
		t.Errorf("Databases: %v, asked %d times", err, asked)
	}
	_, err := p.Session(t.Context(), "postgres", "test", nil)
	if err == nil || !strings.Contains(err.Error(), "postgres main: the file is gone") ||
		strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Session: %v", err)
	}
}

func TestSessionTellsWhoItIs(t *testing.T) {
	url, name := servertest.Database(t)
	p := postgres(t, url, nil)
	var notices []string
	c, err := p.Session(t.Context(), name, "upkeep postgres/vacuum",
		func(severity, message string) { notices = append(notices, severity+" "+message) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }() // nothing was written
	var application string
	if err := c.QueryRow(t.Context(), "select current_setting('application_name')").Scan(&application); err != nil ||
		application != "upkeep postgres/vacuum" {
		t.Errorf("application_name %q %v", application, err)
	}
	if _, err := c.Exec(t.Context(), "do $$ begin raise warning 'hear me'; end $$"); err != nil ||
		!slices.Equal(notices, []string{"WARNING hear me"}) {
		t.Errorf("notices %q %v", notices, err)
	}
}

func TestRedisPassword(t *testing.T) {
	s := servertest.Redis(t, "--requirepass", "hunter2")
	for _, test := range []struct {
		name     string
		password target.Password
		ok       bool
	}{
		{"right", func() (string, error) { return "hunter2", nil }, true},
		{"wrong", func() (string, error) { return "hunter3", nil }, false},
		{"none", nil, false},
		{"unreadable", func() (string, error) { return "", errors.New("the file is gone") }, false},
	} {
		r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: s.URL, Password: test.password})
		if err != nil {
			t.Fatal(err)
		}
		err = r.Client.Ping(t.Context()).Err()
		if (err == nil) != test.ok || err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", test.name, err)
		}
		r.Close()
	}
}

func TestWrongURLs(t *testing.T) {
	if _, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: "postgres://h:port/db"}); err == nil {
		t.Error("an invalid port was accepted")
	}
	if _, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: "http://h"}); err == nil {
		t.Error("a scheme that is not Redis' was taken")
	}
}

// An excluded database is not among the server's, nor is one that is not listed where some are.
func TestExclude(t *testing.T) {
	url, name := servertest.Database(t)
	for _, tc := range []struct {
		only, exclude []string
		want          bool
	}{
		{nil, []string{name}, false}, {nil, []string{"rdsadmin"}, true}, {nil, nil, true},
		{[]string{name}, nil, true}, {[]string{"postgres"}, nil, false}, {[]string{name}, []string{name}, false},
		{[]string{name, "not there"}, nil, true},
	} {
		p, err := target.NewPostgres(target.PostgresConfig{Name: "s", URL: url, Databases: tc.only, Exclude: tc.exclude})
		if err != nil {
			t.Fatal(err)
		}
		names, err := p.Databases(t.Context())
		if err != nil || slices.Contains(names, name) != tc.want || p.LeavesAlone(name) == tc.want {
			t.Errorf("only %q, without %q: %q, %v", tc.only, tc.exclude, names, err)
		}
		p.Close()
	}
}

// A database that upkeep looks at can be dropped, renamed and copied all the same, at the
// first try, while its collectors go on; afterwards it is asked again.
func TestDatabasesAreGivenUp(t *testing.T) {
	t.Parallel()
	address := servertest.Postgres(t)
	p := postgres(t, address, nil)
	asked := func(name string) error {
		d, err := p.Database(name)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		return d.QueryRow(t.Context(), "select 1").Scan(&n)
	}
	c, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // nothing is left to be written
	do := func(sql string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	do("create database given")
	if err := asked("given"); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // as collectors do: whatever answers is asked again and again
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				_ = asked("given") // while it has another name, it is not there
			}
		}
	}()
	do("create database copied template given")
	do("alter database given rename to taken")
	do("alter database taken rename to given")
	servertest.Eventually(t, "given is asked again", func() bool { return asked("given") == nil })
	do("drop database given")
	do("drop database copied")
	close(stop)
	<-stopped
}
