package serverlog_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors/postgres/serverlog"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// started starts a server of which a role "watcher" may monitor.
func started(t *testing.T, set map[string]string) *sandbox.Postgres {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p, err := servertest.StartPostgres(t.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "pg"), Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	servertest.Exec(t, p.URL, "create role watcher login in role pg_monitor", `create role "Poor" login`)
	return p
}

// watching is a server as a target of a role.
func watching(t *testing.T, p *sandbox.Postgres, role string, log target.PostgresLog) *target.Postgres {
	t.Helper()
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	pg, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: u.String(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Close)
	return pg
}

func connected(t *testing.T, p *sandbox.Postgres) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), p.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // its server ends
	return c
}

// provoke makes a server write all that.
func provoke(t *testing.T, p *sandbox.Postgres) {
	t.Helper()
	a, b := connected(t, p), connected(t, p)
	do := func(c *pgx.Conn, sql string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	do(a, "create table secret (id int primary key, pad text)")
	do(a, "begin; select pg_advisory_xact_lock(1)")
	do(b, "begin; select pg_advisory_xact_lock(2)")
	waits := make(chan error, 1)
	go func() {
		_, err := a.Exec(context.Background(), "select pg_advisory_xact_lock(2)")
		waits <- err
	}()
	_, err := b.Exec(t.Context(), "select pg_advisory_xact_lock(1)")
	if err = errors.Join(err, <-waits); err == nil {
		t.Fatal("no deadlock")
	}
	do(a, "rollback")
	do(b, "rollback")
	do(a, "set work_mem = '64kB'; select count(*) from (select i from generate_series(1, 50000) i order by -i) x")
	for range 2 {
		if _, err := a.Exec(t.Context(), "insert into secret values (1, 'value'), (1, 'value')"); err == nil {
			t.Fatal("a key twice")
		}
	}
	var all []*pgx.Conn
	servertest.Eventually(t, "a client is sent away", func() error {
		c, err := pgx.Connect(t.Context(), p.URL)
		if err == nil {
			all = append(all, c)
			return errors.New("one more is taken")
		}
		if !strings.Contains(err.Error(), "53300") {
			return err
		}
		return nil
	})
	for _, c := range all {
		_ = c.Close(t.Context()) // its server ends
	}
	if err := syscall.Kill(int(b.PgConn().PID()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the server has recovered", func() error {
		if a.Ping(t.Context()) == nil {
			return errors.New("the other session goes on")
		}
		c, err := pgx.Connect(t.Context(), p.URL)
		if err != nil {
			return err
		}
		return c.Close(t.Context())
	})
}

// A server says what it has met: in each format, from its file here, through the server, and from a file or a container that
// is named. Of its twin there is nothing to say.
func TestRead(t *testing.T) {
	t.Parallel()
	set := map[string]string{"logging_collector": "on", "deadlock_timeout": "20ms", "log_temp_files": "0",
		"max_connections": "8", "superuser_reserved_connections": "0", "max_wal_senders": "0",
		"log_line_prefix": "%m [%p] %q%u@%d %e ", "log_timezone": "Europe/Berlin"}
	p := started(t, set)
	began := time.Now().Add(-time.Minute)
	provoke(t, p)
	want := map[serverlog.Class]string{serverlog.Deadlock: "40P01", serverlog.NoConnections: "53300",
		serverlog.Temporary: "", serverlog.Killed: "", serverlog.Recovered: "", serverlog.Failed: "23505"}
	check := func(how string, r serverlog.Report, err error) {
		t.Helper()
		got := make(map[serverlog.Class]string)
		for _, g := range r.Groups {
			got[g.Class] = g.State
			if g.First.Before(began) || g.Last.Before(g.First) || g.Last.After(time.Now().Add(time.Minute)) ||
				g.Class == serverlog.Failed && g.Count != 2 || (g.Bytes > 0) != (g.Class == serverlog.Temporary) {
				t.Errorf("%s: %+v", how, g)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil || r.Note != "" || r.Since.Before(began) {
			t.Errorf("%s: %v, %q, since %s (-want +got):\n%s", how, err, r.Note, r.Since, diff)
		}
	}
	watcher := watching(t, p, "watcher", target.PostgresLog{})
	r, err := serverlog.Read(t.Context(), watcher)
	check("the file here", r, err)
	if !strings.HasPrefix(r.From, "log file "+p.Dir) {
		t.Errorf("read from %s", r.From)
	}
	file := strings.TrimPrefix(r.From, "log file ")
	r, err = serverlog.Read(t.Context(), watching(t, p, "watcher", target.PostgresLog{File: file}))
	check("a file that is named", r, err)

	unreadable(t, file)
	refused(t, watcher, "cannot be read here", "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file"+
		`(text, bigint, bigint, boolean) TO "watcher";`)
	refused(t, watching(t, p, "Poor", target.PostgresLog{}), "hidden from this role", `GRANT pg_monitor TO "Poor";`)
	refused(t, watching(t, p, "Poor", target.PostgresLog{File: p.Dir}), "not a plain file", "")
}

// unreadable makes a file one that upkeep does not open in a folder of others. The server does.
func unreadable(t *testing.T, file string) {
	t.Helper()
	if err := os.Link(file, file+".twice"); err != nil {
		t.Fatal(err)
	}
}

// refused reads a log that cannot be read, and compares why, and what would help.
func refused(t *testing.T, p *target.Postgres, why, sql string) {
	t.Helper()
	_, err := serverlog.Read(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%v, want %s", err, why)
	}
	n, _ := errors.AsType[*serverlog.NotKnown](err)
	if n == nil {
		n = new(serverlog.NotKnown)
	}
	if n.SQL != sql {
		t.Errorf("%q, want %q", n.SQL, sql)
	}
}

// The twin, which writes all three formats, has nothing to say, read here and by the server; and what is granted as
// the message says is enough.
func TestReadOfTwin(t *testing.T) {
	t.Parallel()
	p := started(t, map[string]string{"logging_collector": "on", "log_destination": "stderr,csvlog,jsonlog",
		"log_connections": "on"})
	servertest.Exec(t, p.URL, "select 1", "checkpoint")
	watcher := watching(t, p, "watcher", target.PostgresLog{})
	here, err := serverlog.Read(t.Context(), watcher)
	if err != nil || len(here.Groups) != 0 || here.Bytes == 0 || !strings.HasSuffix(here.From, ".json") {
		t.Errorf("%+v, %v", here, err)
	}
	if _, err := pgx.Connect(t.Context(), strings.Replace(p.URL, "/postgres?", "/secret?", 1)); err == nil {
		t.Fatal("there is such a database")
	}
	for _, end := range []string{".json", ".csv", ".log"} {
		name := strings.TrimSuffix(strings.TrimPrefix(here.From, "log file "), ".json") + end
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		local := watching(t, p, "Poor", target.PostgresLog{File: name})
		r, err := serverlog.Read(t.Context(), local)
		if err != nil || int(r.Bytes) < len(text) || len(r.Groups) != 1 || r.Groups[0].Class != serverlog.Failed ||
			r.Groups[0].State != "3D000" || strings.Contains(fmt.Sprint(r), "secret") {
			t.Errorf("%s: %+v, %v", end, r, err)
		}
	}
	servertest.Exec(t, p.URL, "grant execute on function pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) "+
		"to watcher")
	unreadable(t, strings.TrimPrefix(here.From, "log file "))
	sent, err := serverlog.Read(t.Context(), watcher)
	if err != nil || len(sent.Groups) != 1 || !strings.HasSuffix(sent.From, ".json, by pg_read_binary_file") {
		t.Errorf("%+v, %v", sent, err)
	}
}

// A server that writes its log elsewhere says so, and a file of another program is not its log.
func TestReadNowhere(t *testing.T) {
	t.Parallel()
	p := started(t, map[string]string{"cluster_name": "17/main"})
	watcher := watching(t, p, "watcher", target.PostgresLog{})
	refused(t, watcher, "logging_collector is off", "")
	refused(t, watcher, "/var/log/postgresql/postgresql-17-main.log", "")
	own := filepath.Join(p.Dir, "postgres.log")
	named := watching(t, p, "watcher", target.PostgresLog{File: own})
	if r, err := serverlog.Read(t.Context(), named); err != nil || len(r.Groups) != 0 || r.Since.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	other := filepath.Join(t.TempDir(), "other.log")
	if err := os.WriteFile(other, []byte("a log of something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := serverlog.Read(t.Context(), watching(t, p, "Poor", target.PostgresLog{File: other})); err == nil ||
		!strings.Contains(err.Error(), "no line of it is one of PostgreSQL") {
		t.Error(err)
	}
}

// containerID is that of the container of an engine's answers.
const containerID = "4f1d00"

// engine is one with a container called db, whose log is there, by a driver.
func engine(t *testing.T, root, driver, logPath string) *target.Docker {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("API-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/containers/json"):
			_, _ = io.WriteString(w, `[{"Id":"`+containerID+`","Names":["/db"],"State":"running"}]`)
		case strings.HasSuffix(r.URL.Path, "/containers/"+containerID+"/json"):
			_ = json.NewEncoder(w).Encode(map[string]any{"Id": containerID, "Name": "/db", "LogPath": logPath,
				"State":      map[string]any{"Status": "running", "StartedAt": "2026-03-01T12:00:00Z"},
				"HostConfig": map[string]any{"LogConfig": map[string]any{"Type": driver}},
				"Config":     map[string]any{"Labels": map[string]string{}}})
		}
	}))
	t.Cleanup(s.Close)
	d, err := target.NewDocker(target.DockerConfig{Name: "engine", Host: strings.Replace(s.URL, "http://", "tcp://", 1),
		Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// The log of a container is read where its engine keeps it, and nothing else that an engine names.
func TestReadContainer(t *testing.T) {
	t.Parallel()
	p := started(t, nil)
	if _, err := connected(t, p).Exec(t.Context(), "select 1 / 0 as secret"); err == nil {
		t.Fatal("it divides by zero")
	}
	text, err := os.ReadFile(filepath.Join(p.Dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	root, name := t.TempDir(), "/containers/"+containerID+"/"+containerID+"-json.log"
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		one, err := json.Marshal(map[string]string{ // the text first, as the driver has it
			"log": line, "stream": "stderr",
			"time": time.Now().UTC().Format(time.RFC3339Nano)})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&kept, "%s\n", one)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, name), []byte(kept.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	db := func(d *target.Docker, container string) *target.Postgres {
		return watching(t, p, "Poor", target.PostgresLog{Docker: d, Container: container})
	}
	good := engine(t, root, "json-file", name)
	r, err := serverlog.Read(t.Context(), db(good, "db"))
	if err != nil || len(r.Groups) != 1 || r.Groups[0].State != "22012" || r.Groups[0].Count != 1 ||
		r.From != "log of container db" || strings.Contains(fmt.Sprint(r), "secret") {
		t.Errorf("%+v, %v", r, err)
	}
	// The driver has rotated it, and compressed a file: each says that it was divided by zero once. One is being compressed.
	path := filepath.Join(root, name)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.WriteString(z, kept.String()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for end, text := range map[string][]byte{".1": []byte(kept.String()), ".1.gz": packed.Bytes()[:packed.Len()/2],
		".2.gz": packed.Bytes(), ".3": []byte(kept.String())} {
		if err := os.WriteFile(path+end, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * serverlog.Span) // by its name only: its lines are of today
	if err := os.Chtimes(path+".3", old, old); err != nil {
		t.Fatal(err)
	}
	if r, err := serverlog.Read(t.Context(), db(good, "db")); err != nil || len(r.Groups) != 1 || r.Groups[0].Count != 3 ||
		r.Bytes != 3*int64(kept.Len()) {
		t.Errorf("rotated: %+v, %v", r, err)
	}
	refused(t, db(good, "dc"), `engine engine has no container "dc": correct log.container`, "")
	refused(t, db(engine(t, root, "journald", ""), "db"), "which is no file of json-file", "")
	refused(t, db(engine(t, "/", "json-file", filepath.Join(p.Dir, "postgres.log")), "db"),
		"which is not in a folder of its own", "")
	refused(t, db(engine(t, filepath.Join(root, "empty"), "json-file", name), "db"), "no such file or directory", "")
	gone, err := target.NewDocker(target.DockerConfig{Name: "engine", Host: "unix://" + filepath.Join(root, "none")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gone.Close)
	refused(t, db(gone, "db"), "none", "")
}
