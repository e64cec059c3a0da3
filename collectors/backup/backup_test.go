package backup_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/backup"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func answer(t *testing.T, b target.Backup) string {
	t.Helper()
	b.Name = "s"
	c := backup.Age(&b)
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	collectortest.Promises(t, backup.Age(&b))
	return string(w.Text())
}

// file writes a file of a size and an age.
func file(t *testing.T, path string, size int, age time.Duration) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 0).Add(-age)
	if age == 0 {
		at = time.Now()
	}
	err := os.WriteFile(path, make([]byte, size), 0o600)
	if err == nil {
		err = os.Chtimes(path, at, at)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, got string, want ...string) {
	t.Helper()
	all := strings.Join(want, "\n") + "\n"
	if len(want) == 0 {
		all = ""
	}
	if got != all {
		t.Errorf("got:\n%swant:\n%s", got, all)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	pattern := target.Backup{Path: filepath.Join(dir, "*.dump")}
	expect(t, answer(t, pattern), `upkeep_backups{server="s",stanza=""} 0`)
	file(t, filepath.Join(dir, "1.dump"), 1000, 48*time.Hour)
	file(t, filepath.Join(dir, "2.dump"), 1100, 24*time.Hour)
	file(t, filepath.Join(dir, "not one"), 5, time.Hour)
	file(t, filepath.Join(dir, "being written.dump"), 5, 0)
	good := []string{
		`upkeep_backups{server="s",stanza=""} 2`,
		`upkeep_backup_last_timestamp_seconds{server="s",stanza=""} 1699913600`,
		`upkeep_backup_last_size_bytes{server="s",stanza=""} 1100`,
		`upkeep_backup_last_ok{server="s",stanza=""} 1`,
	}
	expect(t, answer(t, pattern), good...)
	// Half of the data is gone: that is no good backup.
	file(t, filepath.Join(dir, "3.dump"), 500, time.Hour)
	if got := answer(t, pattern); !strings.Contains(got, `last_ok{server="s",stanza=""} 0`) {
		t.Errorf("a backup of half the size is good:\n%s", got)
	}
	file(t, filepath.Join(dir, "4.dump"), 0, time.Minute)
	if got := answer(t, pattern); !strings.Contains(got, `last_ok{server="s",stanza=""} 0`) {
		t.Errorf("an empty backup is good:\n%s", got)
	}
	pattern.Verified = filepath.Join(dir, "verified")
	if got := answer(t, pattern); strings.Contains(got, "verified_timestamp") {
		t.Errorf("it was never restored:\n%s", got)
	}
	file(t, pattern.Verified, 0, 100*time.Hour)
	if got := answer(t, pattern); !strings.Contains(got,
		`upkeep_backup_verified_timestamp_seconds{server="s",stanza=""} 1699640000`) {
		t.Errorf("no time of the restore:\n%s", got)
	}
}

// A link to a backup does not count, nor does a folder without a file, and a time to
// come is an error, and no age.
func TestWhatIsNoBackup(t *testing.T) {
	dir := t.TempDir()
	pattern := target.Backup{Path: filepath.Join(dir, "*.dump"), Verified: filepath.Join(dir, "verified")}
	file(t, filepath.Join(dir, "1.dump"), 1000, 48*time.Hour)
	file(t, filepath.Join(dir, "2.dump"), 400, 24*time.Hour)
	err := os.Symlink("2.dump", filepath.Join(dir, "latest.dump"))
	if err == nil {
		err = os.Symlink("gone", filepath.Join(dir, "gone.dump"))
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "empty.dump"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	expect(t, answer(t, pattern), `upkeep_backups{server="s",stanza=""} 2`,
		`upkeep_backup_last_timestamp_seconds{server="s",stanza=""} 1699913600`,
		`upkeep_backup_last_size_bytes{server="s",stanza=""} 400`, `upkeep_backup_last_ok{server="s",stanza=""} 0`)
	all, err := backup.ReadSeries(t.Context(), &pattern)
	if err != nil || len(all) != 1 || len(all[0].Backups) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	link := target.Backup{Kind: "rdb", Path: filepath.Join(dir, "latest.dump")}
	if got := answer(t, link); !strings.Contains(got, "last_size_bytes{server=\"s\",stanza=\"\"} 400") {
		t.Errorf("got:\n%s", got)
	}
	file(t, pattern.Verified, 0, 0)
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(pattern.Verified, later, later); err != nil {
		t.Fatal(err)
	}
	c := backup.Age(&pattern)
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err == nil || !strings.Contains(err.Error(), "in the future") ||
		strings.Contains(string(w.Text()), "verified_timestamp") {
		t.Errorf("%v:\n%s", err, w.Text())
	}
}

// A folder says of no restore: its time changes with whatever is put into it.
func TestVerifiedByAFolder(t *testing.T) {
	dir := t.TempDir()
	file(t, filepath.Join(dir, "1.dump"), 1000, 48*time.Hour)
	b := target.Backup{Name: "s", Path: filepath.Join(dir, "*.dump"), Verified: dir}
	if all, err := backup.ReadSeries(t.Context(), &b); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("%+v, %v", all, err)
	}
	c := backup.Age(&b)
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err == nil || !strings.Contains(err.Error(), "is no file") ||
		strings.Contains(string(w.Text()), "verified_timestamp") {
		t.Errorf("%v:\n%s", err, w.Text())
	}
}

// A backup can be a folder, as pg_basebackup makes.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	file(t, filepath.Join(dir, "base-1", "a"), 1000, 48*time.Hour)
	file(t, filepath.Join(dir, "base-1", "b", "c"), 24, 47*time.Hour)
	if got := answer(t, target.Backup{Path: filepath.Join(dir, "base-*")}); !strings.Contains(got,
		`last_size_bytes{server="s",stanza=""} 1024`) ||
		!strings.Contains(got, `last_timestamp_seconds{server="s",stanza=""} 1699830800`) {
		t.Errorf("got:\n%s", got)
	}
}

func TestFolderIsGone(t *testing.T) {
	c := backup.Age(&target.Backup{Name: "s", Path: filepath.Join(t.TempDir(), "gone", "*.dump")})
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err == nil || w.Samples() != 0 {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestRDB(t *testing.T) {
	s := servertest.Redis(t)
	save := exec.CommandContext(t.Context(), "redis-cli", "-p", strconv.Itoa(s.Port), "save")
	if out, err := save.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := answer(t, target.Backup{Kind: "rdb", Path: filepath.Join(s.Dir, "dump.rdb")}); !strings.Contains(got,
		`upkeep_backup_last_ok{server="s",stanza=""} 1`) {
		t.Errorf("got:\n%s", got)
	}
}

// pgBackRest itself backs a server up, and its own report is read.
func TestPgBackRest(t *testing.T) {
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	folder := filepath.Join(dir, "server")
	config := filepath.Join(dir, "pgbackrest.conf")
	server, err := servertest.StartPostgres(t.Context(),
		sandbox.PostgresOptions{Dir: folder, Settings: map[string]string{
			"archive_mode": "on", "archive_command": "pgbackrest --config=" + config + " --stanza=main archive-push %p",
			"unix_socket_directories": folder,
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	text := fmt.Sprintf("[global]\nrepo1-path=%[1]s/repo\nlock-path=%[1]s/lock\nspool-path=%[1]s/spool\nlog-level-file=off\nstart-fast=y\n[main]\npg1-path=%[1]s/data\npg1-port=%[2]d\npg1-socket-path=%[1]s\npg1-user=upkeep\npg1-database=postgres\n", folder, server.Port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b := target.Backup{Kind: "pgbackrest", Path: config}
	expect(t, answer(t, b))
	owner, err := os.Stat(filepath.Join(folder, "data"))
	if err != nil {
		t.Fatal(err)
	}
	who := owner.Sys().(*syscall.Stat_t)
	for _, verb := range []string{"stanza-create", "backup"} {
		cmd := exec.CommandContext(t.Context(), "pgbackrest", "--config="+config, "--stanza=main", verb)
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who.Uid, Gid: who.Gid}}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("pgbackrest %s (Debian package pgbackrest): %v\n%s", verb, err, out)
		}
	}
	got := answer(t, target.Backup{Kind: "pgbackrest", Path: config, Stanza: "main"})
	for _, want := range []string{`upkeep_backups{server="s",stanza="main"} 1`,
		`upkeep_backup_last_ok{server="s",stanza="main"} 1`,
		`upkeep_backup_last_duration_seconds{server="s",stanza="main"} `,
		`upkeep_backup_last_size_bytes{server="s",stanza="main"} `} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in:\n%s", want, got)
		}
	}
	// The guard sees the same backup, with its own time.
	all, err := backup.ReadSeries(t.Context(), &b)
	if err != nil || len(all) != 1 || len(all[0].Backups) != 1 ||
		!strings.Contains(all[0].Backups[0].Name, "stanza main, backup 20") ||
		time.Since(all[0].Backups[0].At).Abs() > time.Hour {
		t.Errorf("%+v, %v", all, err)
	}
}
