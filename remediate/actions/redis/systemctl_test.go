package redis_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// unitName is the unit of every server of the tests.
const unitName = `redis-server@cache\x2d1.service`

// A unit replaces systemd, which does not run where tests do: a program systemctl
// on PATH asks it, and it restarts a real server.
type unit struct {
	t    *testing.T
	args []string
	file string
	dir  string

	mu       sync.Mutex
	server   *sandbox.Redis
	restarts int
	calls    [][]string
	grace    string // TimeoutStopUSec
	pid      int    // that is reported instead of the server's; 0: the server's
	refuse   string // what restart fails with
	between  func() // carried out while the server is down
	shows    string // further properties
	command  string // what it says that it runs, instead of what it does
}

// An answer is what systemctl prints and returns.
type answer struct {
	Out, Err string
	Code     int
}

// systemctl asks the unit that the first folder of PATH belongs to. Nothing but
// PATH is given to it.
func systemctl(args []string) int {
	dir, _, _ := strings.Cut(os.Getenv("PATH"), string(os.PathListSeparator))
	c, err := net.Dial("unix", filepath.Join(dir, "control"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var a answer
	if err := json.NewEncoder(c).Encode(append(args, os.Environ()...)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Print(a.Out)
	fmt.Fprint(os.Stderr, a.Err)
	return a.Code
}

// supervised starts a server that systemctl restarts. It saves nothing of its own
// accord and has no append-only file, unless args say otherwise.
func supervised(t *testing.T, args ...string) (*unit, *target.Redis) {
	t.Helper()
	return supervisedWith(t, "", args...)
}

// supervisedWith starts it with a configuration file.
func supervisedWith(t *testing.T, file string, args ...string) (*unit, *target.Redis) {
	t.Helper()
	folder, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	u := &unit{t: t, grace: "1min 30s", dir: filepath.Join(folder, "redis"), file: file,
		args: append([]string{"--save", "", "--requirepass", secret}, args...)}
	u.start(0)
	listener, err := net.Listen("unix", filepath.Join(folder, "control"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(folder, "systemctl")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			serving.Go(func() { u.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close() // ends the loop
		serving.Wait()
		if err := u.server.Stop(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(folder)
	})
	return u, connect(t, u.server.URL)
}

func (u *unit) start(port int) {
	s, err := sandbox.StartRedis(u.t.Context(), sandbox.RedisOptions{Dir: u.dir, Port: port, File: u.file,
		Args: u.args})
	if err != nil {
		u.t.Error(err)
		return
	}
	u.server = s
}

func (u *unit) serve(c net.Conn) {
	defer func() { _ = c.Close() }() // it is said or it is not
	var args []string
	if err := json.NewDecoder(c).Decode(&args); err != nil {
		return // the caller was killed
	}
	_ = json.NewEncoder(c).Encode(u.answer(args)) // as above
}

func (u *unit) answer(args []string) answer {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls = append(u.calls, args)
	switch {
	case args[0] == "show":
		pid := u.pid
		if pid == 0 {
			pid = u.server.PID()
		}
		command := u.command
		if command == "" {
			// As systemd writes it: with spaces between, whatever is in them.
			command = "/usr/bin/redis-server " + strings.Join(append([]string{u.file, "--port",
				fmt.Sprint(u.server.Port), "--bind", "127.0.0.1", "--dir", u.dir, "--daemonize", "no"}, u.args...), " ")
		}
		return answer{Out: fmt.Sprintf("LoadState=loaded\nActiveState=active\nMainPID=%d\nTimeoutStopUSec=%s\n"+
			"ExecStart={ path=/usr/bin/redis-server ; argv[]=%s ; ignore_errors=no ; start_time=[n/a] ; "+
			"stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\n%s", pid, u.grace, command, u.shows)}
	case args[0] == "restart" && u.refuse != "":
		return answer{Err: u.refuse, Code: 1}
	case args[0] == "restart":
		if err := u.server.Stop(); err != nil {
			u.t.Error(err)
		}
		if u.between != nil {
			u.between()
		}
		u.start(u.server.Port)
		u.restarts++
		return answer{}
	}
	return answer{Err: "Unknown command verb", Code: 1}
}

// count returns how often the server was restarted, once no restart is under way.
func (u *unit) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.restarts
}

// said returns every call of a verb.
func (u *unit) said(verb string) (all [][]string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.calls {
		if c[0] == verb {
			all = append(all, slices.Clone(c))
		}
	}
	return all
}
