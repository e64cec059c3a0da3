// Package servertest gives tests real servers: one PostgreSQL for the test
// process with a database for each test, and a Redis for each test. A server
// that cannot be started fails the test; nothing is skipped. What is dear is done
// once: clusters are copied, and a package can have its sessions kept.
package servertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// shared is the PostgreSQL of this test process. It dies with the process.
var shared = sync.OnceValues(startPostgres) //nolint:gochecknoglobals // one server for all tests of a package

func startPostgres() (string, error) {
	if url := os.Getenv("UPKEEP_TEST_POSTGRES"); url != "" {
		return url, nil
	}
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	p, err := StartPostgres(context.Background(), sandbox.PostgresOptions{Dir: dir, Settings: map[string]string{
		"fsync": "off", "synchronous_commit": "off", "max_connections": "60", "autovacuum": "off",
		"track_functions": "all", "shared_preload_libraries": "pg_stat_statements", "max_prepared_transactions": "4",
	}})
	if err != nil {
		return "", err
	}
	return p.URL, nil
}

// Postgres returns the URL of the shared server's superuser. The environment's
// UPKEEP_TEST_POSTGRES takes the place of a server of our own.
func Postgres(t testing.TB) string {
	t.Helper()
	url, err := shared()
	if err != nil {
		t.Fatalf("a PostgreSQL server is needed: %v", err)
	}
	return url
}

// S3 starts an S3-compatible store for the test.
func S3(t testing.TB) *sandbox.S3 {
	t.Helper()
	bin := ""
	for _, f := range caches() {
		found, _ := filepath.Glob(filepath.Join(f, "versitygw-*", "versitygw")) // the pattern is well formed
		for _, path := range found {
			bin = path
		}
	}
	if bin == "" {
		t.Fatal("an S3-compatible store is needed: tools/install-deps.sh test builds it")
	}
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := sandbox.StartS3(t.Context(), bin, filepath.Join(dir, "s3"))
	if err != nil {
		t.Fatalf("an S3-compatible store is needed: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Versions returns the folders with the programs of the major versions of
// PostgreSQL that are not the installed one, by their number.
func Versions(t testing.TB) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, f := range caches() {
		found, _ := filepath.Glob(filepath.Join(f, "postgres-*", "bin")) // the pattern is well formed
		for _, bin := range found {
			version := strings.TrimPrefix(filepath.Base(filepath.Dir(bin)), "postgres-")
			major, _, _ := strings.Cut(version, ".")
			all[major] = bin
		}
	}
	for _, want := range []string{"13", "14", "16", "17", "18"} {
		if all[want] == "" {
			t.Fatalf("PostgreSQL %s is needed: tools/install-deps.sh test fetches it", want)
		}
	}
	return all
}

// NewDatabase makes a database of a name that is quoted where it needs to be.
func NewDatabase(t testing.TB, serverURL, quoted string) {
	t.Helper()
	warm(t, serverURL)
	create(t, serverURL, "create database "+quoted)
}

// CopyDatabase makes a database like another one, whose name is quoted too.
func CopyDatabase(t testing.TB, serverURL, quoted, template string) {
	t.Helper()
	create(t, serverURL, "create database "+quoted+" template "+template)
}

// create has the files copied of a small database. From 15 on the server would copy it
// page by page through the WAL, which takes it three times as long.
func create(t testing.TB, serverURL, create string) {
	t.Helper()
	if Ask(t, serverURL, "select (current_setting('server_version_num')::int >= 150000)::text") == "true" {
		create += " strategy file_copy"
	}
	Exec(t, serverURL, create)
}

// warmed are the servers, by their URL, whose first template has been connected to.
var warmed sync.Map //nolint:gochecknoglobals // as kept

// warm connects once to the database that others are copied from. Its first session since
// the server's start writes the file pg_internal.init, the copies have that file too, and
// the first session of none of them reads the catalogs to make it.
func warm(t testing.TB, serverURL string) {
	t.Helper()
	once, _ := warmed.LoadOrStore(serverURL, new(sync.Once))
	once.(*sync.Once).Do(func() {
		u, err := url.Parse(serverURL)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/template1"
		ctx := context.Background() // as in Exec
		c, err := pgx.Connect(ctx, u.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close(ctx) // nothing was said
	})
}

// Database makes a database for the test and drops it afterwards.
func Database(t testing.TB) (databaseURL, name string) {
	t.Helper()
	server := Postgres(t)
	name = fmt.Sprintf("test_%08x", rand.Uint32())
	NewDatabase(t, server, name)
	t.Cleanup(func() { Exec(t, server, "drop database "+name+" with (force)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String(), name
}

// Redis starts a server for the test, without snapshots of its own accord.
func Redis(t testing.TB, args ...string) *sandbox.Redis {
	t.Helper()
	return startRedis(t, "", args)
}

// RedisDefrag starts one that can defragment its memory, as Debian's cannot.
func RedisDefrag(t testing.TB, args ...string) *sandbox.Redis {
	t.Helper()
	for _, folder := range caches() {
		server := filepath.Join(folder, "redis-defrag", "bin", "redis-server")
		if _, err := os.Stat(server); err == nil {
			return startRedis(t, server, args)
		}
	}
	t.Fatal("a Redis that can defragment is needed: tools/install-deps.sh test builds it")
	return nil
}

func startRedis(t testing.TB, server string, args []string) *sandbox.Redis {
	t.Helper()
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r, err := sandbox.StartRedis(t.Context(), sandbox.RedisOptions{
		Dir: filepath.Join(dir, "redis"), Server: server, Args: append([]string{"--save", ""}, args...),
	})
	if err != nil {
		t.Fatalf("a Redis server is needed: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Docker starts an engine for the test.
func Docker(t testing.TB) *sandbox.Docker {
	t.Helper()
	return startDocker(t, sandbox.StartDocker)
}

// DockerInNetwork starts one whose containers have a network, which the machine does not see.
func DockerInNetwork(t testing.TB) *sandbox.Docker {
	t.Helper()
	return startDocker(t, sandbox.StartDockerInNetwork)
}

func startDocker(t testing.TB, start func(context.Context, string) (*sandbox.Docker, error)) *sandbox.Docker {
	t.Helper()
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	d, err := start(t.Context(), filepath.Join(dir, "docker"))
	if err != nil {
		t.Fatalf("a Docker engine is needed: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return d
}

// Image makes an image of one static program, built from the Go package in a
// folder, at /service.
func Image(t testing.TB, d *sandbox.Docker, name, folder string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "service")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, folder)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	image, err := sandbox.Tar(map[string][]byte{"service": text})
	if err == nil {
		_, err = d.Run(t.Context(), image, "import", "--change", `ENTRYPOINT ["/service"]`,
			"--change", `HEALTHCHECK --interval=1s --retries=1 CMD ["/service", "check"]`, "-", name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Before starts a proxy before an engine, and returns where it listens. What answers
// itself never reaches the engine.
func Before(t testing.TB, d *sandbox.Docker, answers func(http.ResponseWriter, *http.Request) bool) (host string) {
	t.Helper()
	socket := strings.TrimPrefix(d.Host, "unix://")
	proxy := httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker" },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answers(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "http://", "tcp://", 1)
}

// ReadOnly starts a proxy before an engine that lets only GET through, as a careful
// owner has one.
func ReadOnly(t testing.TB, d *sandbox.Docker) (host string) {
	t.Helper()
	return Before(t, d, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
}
