package target_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// Each way in which a server does not answer has its reason, however deep the error is; what
// the server itself said counts more than the network.
func TestReason(t *testing.T) {
	said := func(code string) error { return &pgconn.PgError{Code: code} }
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("version: %w", target.ErrPoolMode), target.ReasonPoolMode},
		{said("28P01"), target.ReasonAuthentication},
		{said("28000"), target.ReasonAuthentication},
		{said("3D000"), target.ReasonDatabase},
		{said("57P04"), target.ReasonDatabase}, // it was dropped
		{said("53300"), target.ReasonConnections},
		{said("57P01"), target.ReasonStarting},
		{said("57P02"), target.ReasonStarting},
		{said("57P03"), target.ReasonStarting},
		{said("57P05"), target.ReasonOther}, // a session that was idle for too long
		{said("42501"), target.ReasonOther},
		{said(""), target.ReasonOther},
		{&net.DNSError{Err: "no such host", IsTimeout: true}, target.ReasonName},
		{syscall.ECONNREFUSED, target.ReasonRefused},
		{&os.PathError{Op: "connect", Err: syscall.ENOENT}, target.ReasonRefused},
		{tls.RecordHeaderError{Msg: "no TLS"}, target.ReasonTLS},
		{tls.AlertError(40), target.ReasonTLS},
		{x509.UnknownAuthorityError{}, target.ReasonTLS},
		{x509.HostnameError{Certificate: &x509.Certificate{}}, target.ReasonTLS},
		{errors.New("tls error: server refused TLS connection"), target.ReasonTLS},
		{context.DeadlineExceeded, target.ReasonTimeout},
		{os.ErrDeadlineExceeded, target.ReasonTimeout},
		{syscall.ETIMEDOUT, target.ReasonTimeout},
		{context.Canceled, target.ReasonOther},
		{errors.New("connection refused"), target.ReasonOther}, // a text proves nothing
		{errors.Join(context.DeadlineExceeded, said("28P01")), target.ReasonAuthentication},
		{errors.Join(syscall.ECONNREFUSED, context.DeadlineExceeded), target.ReasonRefused},
	} {
		for _, err := range []error{test.err, fmt.Errorf("postgres main: %w", fmt.Errorf("connect: %w", test.err)),
			&net.OpError{Op: "dial", Err: test.err}} {
			if got := target.Reason(err); got != test.want {
				t.Errorf("%v (%T): %s, want %s", err, err, got, test.want)
			}
		}
	}
}

// However a URL is wrong, its password is in no error.
func TestWrongURLsAreNotShown(t *testing.T) {
	const secret = "hunter2"
	for _, rest := range []string{"@h:port", "@h:99999999", "@[::1", "@h:1/%zz", "@h/0?db=x", "@h\x7f:1", " @h", "@h/x",
		"@h?sslmode=odd", "%@h", "@h:1/1?read_timeout=odd", "/@h:port"} {
		for _, scheme := range []string{"postgres", "redis", "rediss", "unix", "tcp", "http"} {
			url := scheme + "://ann:" + secret + rest
			_, errPostgres := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url})
			_, errRedis := target.NewRedis(target.RedisConfig{Name: "main", URL: url})
			_, errDocker := target.NewDocker(target.DockerConfig{Name: "main", Host: url})
			for _, err := range []error{errPostgres, errRedis, errDocker} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%q: %v", url, err)
				}
				if err != nil && !strings.Contains(err.Error(), "main") {
					t.Errorf("%q: %v, want the name of the target", url, err)
				}
			}
		}
	}
}

// systemctl is put first into the path and answers as systemd does.
func systemctl(t *testing.T, script string) {
	t.Helper()
	folder := t.TempDir()
	if err := sandbox.WriteProgram(filepath.Join(folder, "systemctl"), "#!/bin/sh\n"+script, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// The time that a unit may take to stop is read in each of systemd's own forms; one that is
// not understood is an error and no guess.
func TestTimeToStop(t *testing.T) {
	for text, want := range map[string]string{
		"1min 30s": "1m30s", "90s": "1m30s", "5min": "5m0s", "2h 3min 4s": "2h3m4s", "1d": "24h0m0s", "1w 1d": "192h0m0s",
		"100ms": "100ms", "1min 30.500000s": "1m30.5s", "1.5s": "1.5s", "20.250ms": "20.25ms", "7us": "7µs",
		"1month": "730h30m0s", "1y 1month": "9496h30m0s", "infinity": "-1ns",
		"":   "nothing is said",
		"90": "not understood", "s": "not understood", "1parsec": "not understood", "-1s": "not understood",
		"1s x": "not understood", "1..5s": "not understood", "99999999999999999999s": "not understood",
		"300y": "not understood", "1e3s": "not understood",
	} {
		systemctl(t, "echo LoadState=loaded; echo ActiveState=active; echo MainPID=7; echo 'TimeoutStopUSec="+text+"'")
		s, err := target.Restart{Unit: "redis.service"}.Look(t.Context())
		got := s.Grace.String()
		if err != nil {
			got = err.Error()
			if !strings.HasPrefix(got, "systemd: redis.service: TimeoutStopUSec: ") {
				t.Errorf("%q: %v does not say of what", text, err)
			}
		}
		if !strings.HasSuffix(got, want) {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// What systemd says of a unit is what is known of it; what it does not say is not guessed.
func TestUnit(t *testing.T) {
	systemctl(t, `cat <<'end'
LoadState=loaded
ActiveState=activating
MainPID=many
TimeoutStopUSec=1min
WorkingDirectory=!/var/lib/redis
ExecStart={ path=/usr/bin/redis-server ; argv[]=/usr/bin/redis-server "/etc/redis.conf" --port 7 ; ignore_errors=no }
end
`)
	s, err := target.Restart{Unit: "redis.service"}.Look(t.Context())
	if err != nil || s.Running || s.PID != 0 || s.WorkDir != "/var/lib/redis" ||
		strings.Join(s.Args, "|") != "/usr/bin/redis-server|/etc/redis.conf|--port|7" || !s.Started.IsZero() {
		t.Errorf("%+v %v", s, err)
	}
	for name, line := range map[string]string{
		"two commands":  `{ argv[]=/a ; x }\nExecStart={ argv[]=/b ; x }`,
		"a placeholder": `{ argv[]=/a $MAINPID ; x }`,
		"a specifier":   `{ argv[]=/a %i ; x }`,
		"no end":        `{ argv[]=/a`,
		"nothing":       ``,
	} {
		systemctl(t, "printf 'LoadState=loaded\\nTimeoutStopUSec=1s\\nExecStart="+strings.ReplaceAll(line, "%", "%%")+"\\n'")
		if s, err := (target.Restart{Unit: "redis.service"}).Look(t.Context()); err != nil || s.Args != nil ||
			s.WorkDir != "/" {
			t.Errorf("%s: %q in %q, %v", name, s.Args, s.WorkDir, err)
		}
	}
	for _, test := range []struct{ script, want string }{
		{"echo LoadState=not-found", "systemd: redis.service is not-found"},
		{"echo 'Failed: interactive authentication required.' >&2; exit 1", "that is not allowed"},
		{"echo 'Access denied' >&2; exit 4", "that is not allowed"},
		{"echo 'Failed to connect to bus' >&2; exit 1", "systemctl show: "},
	} {
		systemctl(t, test.script)
		_, err := target.Restart{Unit: "redis.service"}.Look(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) ||
			errors.Is(err, target.ErrMayNotRestart) != strings.Contains(test.want, "allowed") {
			t.Errorf("%s: %v, want %q", test.script, err, test.want)
		}
	}
	systemctl(t, "sleep 60")
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the window has closed"))
	if err := (target.Restart{Unit: "redis.service"}).Do(cancelled, 0); err == nil ||
		!strings.Contains(err.Error(), "the window has closed") {
		t.Errorf("cancelled: %v", err)
	}
	for _, r := range []target.Restart{{}, {Container: "redis"}, {Docker: new(target.Docker)}} {
		_, err := r.Look(t.Context())
		if r.Configured() || r.String() != "none" || !errors.Is(err, target.ErrNobodyRestarts) ||
			!errors.Is(r.Do(t.Context(), 0), target.ErrNobodyRestarts) {
			t.Errorf("%+v restarts something: %v", r, err)
		}
	}
}

// A name of a unit is passed to a program: it is one word that is no option and no path.
func TestUnitName(t *testing.T) {
	for name, want := range map[string]bool{
		"redis-server.service": true, "redis@main.service": true, `a\x2db.service`: true, "a:b_c.d.service": true,
		"": false, ".service": false, "redis": false, "redis.socket": false, "-h.service": false, "../a.service": false,
		"a b.service": false, "a.service\n": false, "a*.service": false, "größe.service": false, "@.service": false,
		strings.Repeat("a", 247) + ".service": true, strings.Repeat("a", 248) + ".service": false,
	} {
		if got := target.UnitName(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// A file shares the fate of the deepest folder that holds it, and of no folder whose name
// only begins alike; of two of one name the later mount counts.
func TestHolds(t *testing.T) {
	s := target.Supervised{Folders: []target.Folder{{Path: "/", Fate: target.Layer}, {Path: "/data", Fate: target.Kept},
		{Path: "/data/tmp", Fate: target.Lost}, {Path: "/data", Fate: target.Lost, What: "mounted over it"}}}
	for file, want := range map[string]string{"/": "/", "/data": "/data", "/data/": "/data", "/data/dump.rdb": "/data",
		"/data/tmp/x": "/data/tmp", "/database": "/", "/data/../etc": "/", "/data/./tmp/../tmp": "/data/tmp"} {
		f, known := s.Holds(file)
		if !known || f.Path != want || want == "/data" && f.What != "mounted over it" {
			t.Errorf("%s is in %+v, %v, want %s", file, f, known, want)
		}
	}
	if f, known := (target.Supervised{}).Holds("/data"); known {
		t.Errorf("of nothing it is known: %+v", f)
	}
	only := target.Supervised{Folders: []target.Folder{{Path: "/run/redis", Fate: target.Lost}}}
	if f, known := only.Holds("/var/lib"); known {
		t.Errorf("/var/lib is in %+v", f)
	}
}
