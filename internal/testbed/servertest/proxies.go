package servertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// A Name is an address that stays while the server behind it changes, as one of a
// load balancer or in DNS.
type Name struct {
	Address string // host:port

	mu   sync.Mutex
	to   string
	open map[net.Conn]bool
}

// NewName starts an address for the server at another one.
func NewName(t testing.TB, to string) *Name {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nothing is left to be written
	n := &Name{Address: l.Addr().String(), to: to, open: make(map[net.Conn]bool)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			go n.serve(c)
		}
	}()
	return n
}

// Point lets another server answer, and ends the connections to the one before.
func (n *Name) Point(to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to = to
	for c := range n.open {
		_ = c.Close() // both ends see it
	}
}

func (n *Name) serve(c net.Conn) {
	defer func() { _ = c.Close() }() // as in Point
	n.mu.Lock()
	to := n.to
	n.open[c] = true
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.open, c)
		n.mu.Unlock()
	}()
	s, err := net.Dial("tcp", to)
	if err != nil {
		return // the client sees that nothing answers
	}
	defer func() { _ = s.Close() }() // as above
	go func() {
		_, _ = io.Copy(s, c) // its end is the connection's
		_ = s.Close()
	}()
	_, _ = io.Copy(c, s) // as above
}

// Pooler starts PgBouncer before a server and returns the server's URL through it.
// The settings are lines of its section [pgbouncer]. It lets in upkeep and watcher.
func Pooler(t testing.TB, s *sandbox.Postgres, settings string) (pooled string) {
	t.Helper()
	return between(t, s, "pgbouncer", func(dir string, port int) (files map[string]string, args []string) {
		config, users := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "users")
		text := fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%d\n"+
			"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"+
			"unix_socket_dir =\nauth_type = trust\nauth_file = %s\n%s\n", s.Port, port, users, settings)
		return map[string]string{users: "\"upkeep\" \"\"\n\"watcher\" \"\"\n", config: text}, []string{config}
	})
}

// Pgpool starts a Pgpool-II before a server, and returns its URL.
func Pgpool(t testing.TB, s *sandbox.Postgres) (pooled string) {
	t.Helper()
	return between(t, s, "pgpool", func(dir string, port int) (files map[string]string, args []string) {
		config, pcp := filepath.Join(dir, "pgpool.conf"), filepath.Join(dir, "pcp.conf")
		hba := filepath.Join(dir, "pool_hba.conf")
		text := fmt.Sprintf("backend_clustering_mode = 'raw'\nlisten_addresses = '127.0.0.1'\n"+
			"port = %d\nsocket_dir = '%[2]s'\npcp_socket_dir = '%[2]s'\npcp_listen_addresses = ''\n"+
			"work_dir = '%[2]s'\nlogdir = '%[2]s'\npid_file_name = '%[2]s/pgpool.pid'\n"+
			"backend_hostname0 = '127.0.0.1'\nbackend_port0 = %[3]d\nbackend_weight0 = 1\nnum_init_children = 8\n"+
			"health_check_period = 0\n", port, dir, s.Port)
		return map[string]string{config: text, hba: "", pcp: ""}, []string{"-n", "-f", config, "-F", pcp, "-a", hba}
	})
}

// between starts a pooler as the owner of the server's files.
func between(
	t testing.TB, s *sandbox.Postgres, program string,
	configured func(dir string, port int) (files map[string]string, args []string),
) (pooled string) {
	t.Helper()
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port, err := sandbox.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	files, args := configured(dir, port)
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { // another user reads it
			t.Fatal(err)
		}
	}
	pooler := exec.CommandContext(context.WithoutCancel(t.Context()), path(program), args...)
	pooler.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	if os.Geteuid() == 0 {                                   // which it refuses to be
		owner, err := os.Stat(filepath.Join(s.Dir, "data"))
		if err != nil {
			t.Fatal(err)
		}
		who := owner.Sys().(*syscall.Stat_t)
		pooler.SysProcAttr.Credential = &syscall.Credential{Uid: who.Uid, Gid: who.Gid}
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil { // sockets are made there
			t.Fatal(err)
		}
	}
	wait, err := sandbox.Start(pooler)
	if err != nil {
		t.Fatalf("%s (of Debian's packages pgbouncer and pgpool2): %v", program, err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-pooler.Process.Pid, syscall.SIGKILL) // they run
		_ = wait()                                             // by that signal
	})
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = fmt.Sprintf("127.0.0.1:%d", port)
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", u.Host)
		if err == nil {
			_ = c.Close() // nothing was said
			return u.String()
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", program, err)
		}
	}
}

// Connect opens a connection that the test closes at its end.
func Connect(t testing.TB, databaseURL string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // through poolers too
	c, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) }) // nothing is left to be written
	return c
}

// Client finds a client program of PostgreSQL. The one in PATH is Debian's script, which
// chooses a version, and starting Perl takes it three times as long as all else.
func Client(program string) string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program) // the pattern is well formed
	if len(found) == 0 {
		return program
	}
	return found[len(found)-1]
}

// path finds a program also where only root looks for it.
func path(program string) string {
	if at, err := exec.LookPath(program); err == nil {
		return at
	}
	return filepath.Join("/usr/sbin", program)
}
