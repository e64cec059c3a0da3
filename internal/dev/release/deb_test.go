package release_test

import (
	"bytes"
	"context"
	"database/sql"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // writes the store of the version before

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// deb is the package for this machine.
func deb(t *testing.T) string {
	t.Helper()
	return debOf(t, runtime.GOARCH)
}

func debOf(t *testing.T, arch string) string {
	t.Helper()
	return filepath.Join(dist(t), "upkeep_"+debian+"-1_"+arch+".deb")
}

// before makes the package of an earlier version of the one that is released.
func before(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	tree, file := filepath.Join(dir, "tree"), filepath.Join(dir, "before.deb")
	run(t, "dpkg-deb", "-R", from, tree)
	control := filepath.Join(tree, "DEBIAN", "control")
	text := regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAll(read(t, control), []byte("Version: 9.8.6-1"))
	if err := os.WriteFile(control, text, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "-b", tree, file)
	return file
}

// A service is what runs of the package, as its unit says.
type service struct {
	g     *guest
	unit  string
	said  *bytes.Buffer
	ready chan string // what systemd would hear
	stop  func() error
}

// setting returns what the unit says of a key.
func (s *service) setting(t *testing.T, key string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^`+key+`=(.*)$`).FindAllStringSubmatch(s.unit, -1)
	if len(found) != 1 {
		t.Fatalf("the unit has %s %d times", key, len(found))
	}
	return found[0][1]
}

// start runs the ExecStart of the installed unit as its user, and returns when it says that it is ready.
func start(t *testing.T, g *guest) *service {
	t.Helper()
	s := &service{g: g, said: new(bytes.Buffer), ready: make(chan string, 1000),
		unit: string(read(t, g.root, "usr/lib/systemd/system/upkeep.service"))}
	if kind := s.setting(t, "Type"); kind != "notify" {
		t.Errorf("the unit has the type %s", kind)
	}
	socket := filepath.Join(g.root, "run", "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // only read
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			s.ready <- string(buffer[:n])
		}
	}()
	exec := strings.Fields(s.setting(t, "ExecStart"))
	cmd := g.command(s.setting(t, "User")+":"+s.setting(t, "Group"), exec[0], exec[1:]...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET=/run/notify")
	cmd.Stdout, cmd.Stderr = s.said, s.said
	wait, err := sandbox.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	s.stop = func() error {
		for _, child := range children(t, cmd.Process.Pid) { // nsenter waits for it, and passes no signal on
			_ = syscall.Kill(child, syscall.SIGTERM) // it may have ended
		}
		return wait()
	}
	for {
		select {
		case text := <-s.ready:
			if strings.Contains(text, "READY=1") {
				return s
			}
		case <-time.After(servertest.Patience):
			_ = s.stop()
			t.Fatalf("the service is not ready:\n%s", s.said)
		}
	}
}

// plant puts the store of the version before, with its journal, where that version has left it.
func plant(t *testing.T, g *guest) {
	t.Helper()
	file := filepath.Join(g.root, "var/lib/upkeep/upkeep.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(string(read(t, "testdata/store-8.sql"))); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	g.run(t, "chown", "upkeep:upkeep", "/var/lib/upkeep/upkeep.db")
	g.run(t, "chmod", "0600", "/var/lib/upkeep/upkeep.db")
}

// stored is the version of the store.
func stored(t *testing.T, g *guest) (version int) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(g.root, "var/lib/upkeep/upkeep.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // read only
	if err := db.QueryRowContext(context.Background(), "pragma user_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	return version
}

// A Debian in which the package is installed, upgraded, run as its unit says, removed and purged ends
// as it was before.
func TestPackage(t *testing.T) {
	t.Parallel()
	g, now := enter(t), deb(t)
	g.put(t, before(t, now), "tmp/before.deb")
	g.put(t, now, "tmp/now.deb")
	clean := g.files(t)
	g.run(t, "dpkg", "-i", "/tmp/before.deb")
	installed(t, g)

	const conffile = "/etc/upkeep/upkeep.yaml"
	plant(t, g)
	// What the version before has written is kept, however old it is.
	const ours = "store: {retention: 36500d}\n"
	g.run(t, "sh", "-c", "printf '%s' '"+ours+"' >>"+conffile)
	g.run(t, "dpkg", "-i", "/tmp/now.deb")
	installed(t, g)
	if text := string(read(t, g.root, conffile)); !strings.HasSuffix(text, ours) {
		t.Errorf("the upgrade has replaced the configuration:\n%s", text)
	}
	runs(t, g)

	g.run(t, "dpkg", "-r", "upkeep")
	for path, kept := range map[string]bool{"/usr/bin/upkeep": false, "/usr/lib/systemd/system/upkeep.service": false,
		"/usr/share/man/man1/upkeep.1.gz": false, "/usr/share/doc/upkeep": false, conffile: true,
		"/var/lib/upkeep/upkeep.db": true} {
		if _, err := os.Stat(filepath.Join(g.root, path)); (err == nil) != kept {
			t.Errorf("after it was removed: %s: %v", path, err)
		}
	}
	g.run(t, "dpkg", "-P", "upkeep")
	left := slices.DeleteFunc(g.files(t), func(path string) bool { return slices.Contains(clean, path) })
	if len(left) > 0 {
		t.Errorf("after it was purged there are left %q", left)
	}
	if id := g.run(t, "id", "upkeep"); !strings.Contains(id, "upkeep") {
		t.Errorf("the user is gone, and its number free for another one: %s", id)
	}
	g.run(t, "dpkg", "-i", "/tmp/now.deb") // and it can be installed again
	installed(t, g)
}

// installed checks what an installed package has made.
func installed(t *testing.T, g *guest) {
	t.Helper()
	for path, want := range map[string]string{
		"/var/lib/upkeep": "700 upkeep:upkeep", "/etc/upkeep": "750 root:upkeep",
		"/etc/upkeep/upkeep.yaml": "644 root:root", "/usr/bin/upkeep": "755 root:root",
	} {
		if got := g.mode(t, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if got := g.run(t, "getent", "passwd", "upkeep"); !regexp.MustCompile(
		`^upkeep:x:\d{3}:\d{3}:upkeep(,,,)?:/var/lib/upkeep:/usr/sbin/nologin\n$`).MatchString(got) {
		t.Errorf("the user is %s", got)
	}
	if link, err := os.Readlink(filepath.Join(g.root, "etc/systemd/system/multi-user.target.wants/upkeep.service")); err != nil {
		t.Errorf("the service is not enabled: %s %v", link, err)
	}
	if got := g.run(t, "dpkg-query", "-W", "-f", "${Conffiles}", "upkeep"); !strings.Contains(got, "/etc/upkeep/upkeep.yaml ") {
		t.Errorf("the conffiles are %q", got)
	}
	for _, path := range []string{"usr/share/bash-completion/completions/upkeep", "usr/share/zsh/vendor-completions/_upkeep",
		"usr/share/fish/vendor_completions.d/upkeep.fish", "usr/share/doc/upkeep/copyright",
		"usr/share/doc/upkeep/changelog.Debian.gz", "usr/share/doc/upkeep/changelog.gz"} {
		if len(read(t, g.root, path)) < 100 {
			t.Errorf("%s is empty", path)
		}
	}
	run(t, "bash", "-n", filepath.Join(g.root, "usr/share/bash-completion/completions/upkeep"))
	if page := run(t, "zcat", filepath.Join(g.root, "usr/share/man/man1/upkeep.1.gz")); !strings.Contains(page, ".TH UPKEEP 1") {
		t.Errorf("the page is %.100s", page)
	}
	if got := g.run(t, "dpkg", "--verify", "upkeep"); strings.Contains(strings.ReplaceAll(got, " c /etc/upkeep/upkeep.yaml", ""), "/") {
		t.Errorf("dpkg --verify says %s", got)
	}
	got, err := g.command("upkeep:upkeep", "upkeep", "check", "--config", "/etc/upkeep/upkeep.yaml").CombinedOutput()
	if err != nil || !strings.Contains(string(got), "is good") {
		t.Errorf("the configuration of the package: %v %s", err, got)
	}
}

// runs starts the service on the store of the version before, which becomes one of this version with its journal.
func runs(t *testing.T, g *guest) {
	t.Helper()
	if v := stored(t, g); v != 8 {
		t.Fatalf("the store before has version %d", v)
	}
	s := start(t, g)
	if got := g.run(t, "upkeep", "health"); !strings.Contains(got, "/-/healthy answers 200 OK") {
		t.Errorf("it answers %s", got)
	}
	if got := g.run(t, "upkeep", "health", "--ready"); !strings.Contains(got, "/-/ready answers 200 OK") {
		t.Errorf("it answers %s", got)
	}
	if got := g.run(t, "upkeep", "journal", "verify"); !regexp.MustCompile(`journal OK: (1[7-9]|[2-9]\d) entries verified`).MatchString(got) {
		t.Errorf("the journal: %s", got)
	}
	if got := g.run(t, "upkeep", "runs", "-o", "wide"); !strings.Contains(got, "redis/bgsave") {
		t.Errorf("the runs of the version before: %s", got)
	}
	if got := g.run(t, "upkeep", "status"); !strings.Contains(got, "1 pause") {
		t.Errorf("the pause of the version before: %s", got)
	}
	if err := s.stop(); err != nil {
		t.Errorf("it ends with %v\n%s", err, s.said)
	}
	if v := stored(t, g); v < 9 {
		t.Errorf("the store has version %d", v)
	}
	for _, path := range strings.Fields(g.run(t, "find", "/var/lib/upkeep", "-not", "-user", "upkeep")) {
		t.Errorf("%s does not belong to the service", path)
	}
}

// lintian finds no error and no warning in the package of each architecture, and the package says which one it is for.
func TestLintian(t *testing.T) {
	t.Parallel()
	for _, arch := range archs() {
		file := debOf(t, arch)
		run(t, "lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", file)
		if got := strings.TrimSpace(run(t, "dpkg-deb", "--field", file, "Architecture")); got != arch {
			t.Errorf("%s is for the architecture %s", file, got)
		}
	}
}

// Versions of the package sort as releases follow one another.
func TestDebianVersions(t *testing.T) {
	t.Parallel()
	var last string
	for _, v := range []struct{ version, seconds, want string }{
		{"0a1b2c3", "1767225600", "0.0.0~git202601010000.0a1b2c3"},
		{"7d8e9f0-dirty", "1767312000", "0.0.0~git202601020000.7d8e9f0.dirty"},
		{"v0.1.0", "0", "0.1.0"}, {"v1.2.3-rc.1", "0", "1.2.3~rc.1"}, {"v1.2.3-rc.1-4-gabcdef0", "0", "1.2.3~rc.1.4.gabcdef0"},
		{"v1.2.3-rc.2", "0", "1.2.3~rc.2"}, {"v1.2.3", "0", "1.2.3"}, {"v1.2.3-4-gabcdef0", "0", "1.2.3+4.gabcdef0"},
		{"v1.2.4", "0", "1.2.4"}, {"v1.10.0", "0", "1.10.0"},
	} {
		got := strings.TrimSpace(run(t, filepath.Join(root, "tools", "release", "debian-version.sh"), v.version, v.seconds))
		if got != v.want {
			t.Errorf("%s is %s, want %s", v.version, got, v.want)
		}
		if last != "" {
			run(t, "dpkg", "--compare-versions", last+"-1", "lt", got+"-1")
		}
		last = got
	}
}
