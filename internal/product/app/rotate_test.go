package app_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A password that is rotated, in the server and in the file or the program that has it, is taken up by the next
// connection, without a reload; the connections that are there go on.
func TestPasswordIsRotated(t *testing.T) {
	t.Parallel()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // of this test alone
	hba := filepath.Join(dir, "hba.conf")
	rules := "host all upkeep 127.0.0.1/32 trust\nhost all rotated 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(hba, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Settings: map[string]string{"hba_file": hba, "fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() }) // its data goes with it
	cache := servertest.Redis(t, "--requirepass", "none yet")
	options, err := redis.ParseURL(cache.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.Password = "none yet"
	admin := redis.NewClient(options)
	t.Cleanup(func() { _ = admin.Close() }) // nothing is written

	file, program := filepath.Join(dir, "password"), filepath.Join(dir, "program")
	if err := sandbox.WriteProgram(program, "#!/bin/sh\nexec cat "+file+"\n", 0o700); err != nil {
		t.Fatal(err)
	}
	rotate := func(password string) {
		t.Helper()
		servertest.Exec(t, server.URL, "alter role rotated password '"+password+"'")
		if err := admin.ACLSetUser(t.Context(), "rotated", "reset", "on", ">"+password, "+@all", "~*").Err(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	servertest.Exec(t, server.URL, "create role rotated login")
	rotate("first")
	at := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.User("rotated")
		return u.String()
	}
	text := fmt.Sprintf("data_dir: %s\ntargets:\n  postgres:\n    - {name: by file, url: %q, password_file: %s}\n"+
		"    - {name: by program, url: %[2]q, password_command: [%[4]s]}\n"+
		"  redis:\n    - {name: by file, url: %[5]q, password_file: %[3]s}\n"+
		"    - {name: by program, url: %[5]q, password_command: [%[4]s]}\n", dir, at(server.URL), file, program, at(cache.URL))
	c, err := config.Parse("upkeep.yaml", []byte(text), app.Known())
	if err != nil {
		t.Fatal(err)
	}
	set, err := app.Targets(c)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	sessions := func() (all []string) {
		for _, p := range set.Postgres {
			all = append(all, backend(t, p))
		}
		for _, r := range set.Redis {
			id, err := r.Client.ClientID(t.Context()).Result()
			if err != nil {
				t.Fatalf("redis %s: %v", r.Name, err)
			}
			all = append(all, fmt.Sprint(id))
		}
		return all
	}
	before := sessions()
	rotate("second")
	if now := sessions(); fmt.Sprint(now[:2]) != fmt.Sprint(before[:2]) {
		t.Errorf("a rotated password ended the sessions %v, now %v", before, now)
	}
	servertest.Exec(t, server.URL, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'rotated'")
	_ = admin.ClientKillByFilter(t.Context(), "user", "rotated") // ACL SETUSER may have ended them
	servertest.Eventually(t, "the pools go on with the new password", func() error {
		for _, p := range set.Postgres {
			if _, err := p.Databases(t.Context()); err != nil {
				return err
			}
		}
		for _, r := range set.Redis {
			if err := r.Client.Ping(t.Context()).Err(); err != nil {
				return err
			}
		}
		return nil
	})
	for i, now := range sessions() {
		if now == before[i] {
			t.Errorf("session %s is the one of before", now)
		}
	}
	if err := os.WriteFile(file, []byte("third\n"), 0o600); err != nil { // in the file alone
		t.Fatal(err)
	}
	if _, err := set.Postgres[0].Session(t.Context(), "postgres", "upkeep", nil); err == nil {
		t.Error("the server takes a password that it does not have: the test shows nothing")
	}
}

// backend is the number of a target's session for reading.
func backend(t *testing.T, p *target.Postgres) (pid string) {
	t.Helper()
	d, err := p.Server()
	if err == nil {
		err = d.QueryRow(t.Context(), "select pg_backend_pid()::text").Scan(&pid)
	}
	if err != nil {
		t.Fatalf("postgres %s: %v", p.Name, err)
	}
	return pid
}
