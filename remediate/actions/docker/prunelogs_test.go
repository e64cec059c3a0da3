package docker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/docker"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// keep is what the tests let stay; as much again is not cut at most.
const keep = "64KiB"

// talkers starts an engine with the image of the program that talks.
func talkers(t *testing.T) *sandbox.Docker {
	t.Helper()
	d := servertest.Docker(t)
	servertest.Image(t, d, "talker:1", "./testdata/talker")
	return d
}

// begin starts a container and returns the path of its log.
func begin(t *testing.T, d *sandbox.Docker, name, what string, args ...string) string {
	t.Helper()
	run(t, d, append(append([]string{"run", "--detach", "--network", "none", "--no-healthcheck", "--name", name},
		args...), append([]string{"talker:1"}, strings.Fields(what)...)...)...)
	return run(t, d, "inspect", "--format", "{{.LogPath}}", name)
}

func archiving(t *testing.T, d *sandbox.Docker, folder string) *target.Docker {
	t.Helper()
	e, err := target.NewDocker(target.DockerConfig{Name: "engine", Host: d.Host, Root: "/", LogArchive: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// burst has a container say 3000 lines, and waits until they are in its log.
func burst(t *testing.T, d *sandbox.Docker, name, path string) {
	t.Helper()
	before := last(t, path)
	run(t, d, "kill", "--signal", "USR1", name)
	servertest.Eventually(t, "it is said", func() error {
		if n := last(t, path); n != before+3000 {
			return fmt.Errorf("line %d, want %d", n, before+3000)
		}
		return nil
	})
}

// last returns the number of the last line in a log, waiting for the first.
func last(t *testing.T, path string) int {
	t.Helper()
	n := 0
	servertest.Eventually(t, "a line in the log", func() bool {
		text := tail(t, path)
		whole := len(text) > 0 && text[len(text)-1] == '\n'
		if whole {
			lines := strings.Split(string(text), "\n")
			n = said(t, lines[len(lines)-2])
		}
		return whole
	})
	return n
}

// tail reads the end of a log, with a whole line at least where it has any: to read all of
// it again and again takes longer than to write it.
func tail(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err == nil {
		_, err = f.Seek(max(0, info.Size()-16<<10), io.SeekStart)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// said returns the number of a line as the engine writes it, and makes sure that it
// is whole.
func said(t *testing.T, record string) int {
	t.Helper()
	var r struct{ Log, Stream, Time string }
	if err := json.Unmarshal([]byte(record), &r); err != nil {
		t.Fatalf("%v: %q", err, record)
	}
	return number(t, r.Log)
}

func number(t *testing.T, line string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(line, "line %d", &n); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	if want := fmt.Sprintf("line %d %s", n, strings.Repeat("<\" ", n*7%97)); strings.TrimRight(line, "\n") != want {
		t.Fatalf("a line is not whole: %q", line)
	}
	return n
}

// archived returns the numbers of the lines in an archive, in the order of names.
func archived(t *testing.T, folder string) (all []int) {
	t.Helper()
	list, err := depot.Folder(folder).List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		z, err := gzip.NewReader(strings.NewReader(read(t, filepath.Join(folder, o.Name))))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			all = append(all, said(t, line))
		}
	}
	return all
}

// complete makes sure that lines are numbered without a gap.
func complete(t *testing.T, what string, from int, all []int) {
	t.Helper()
	for i, n := range all {
		if n != from+i {
			t.Fatalf("%s: line %d is where %d was expected", what, n, from+i)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s: no lines", what)
	}
}

// logs returns the numbers of what docker logs prints.
func logs(t *testing.T, d *sandbox.Docker, args ...string) (all []int) {
	t.Helper()
	for line := range strings.Lines(run(t, d, append([]string{"logs"}, args...)...)) {
		all = append(all, number(t, strings.TrimRight(line, "\n")+pad(line)))
	}
	return all
}

// pad gives a last line back the blanks that were trimmed off it.
func pad(line string) string {
	if strings.HasSuffix(line, "\n") || strings.HasSuffix(line, " ") {
		return ""
	}
	return " "
}

func subject(name string) map[string]string {
	return map[string]string{"server": "engine", "container": name}
}

func request(name string) remediate.Request {
	return remediate.Request{Subject: subject(name), Params: map[string]string{"keep": keep}}
}

func TestPruneLogs(t *testing.T) {
	d := talkers(t)
	for name, folder := range map[string]string{"archived": t.TempDir(), "gone": ""} {
		t.Run(name, func(t *testing.T) {
			path := begin(t, d, name, "burst")
			length, effects := int64(0), 0
			measure := func() int64 {
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				return info.Size()
			}
			actiontest.Run(t, actiontest.Case{
				Action: docker.PruneLogs(archiving(t, d, folder)), Subject: subject(name),
				Params: map[string]string{"keep": keep},
				Limit:  128 << 10, Child: strings.TrimSpace(d.Host + " " + folder),
				Degrade: func(t *testing.T) {
					t.Helper()
					burst(t, d, name, path)
					length = measure()
				},
				State: func(t *testing.T) string {
					t.Helper()
					info, err := os.Stat(path)
					if err != nil {
						t.Fatal(err)
					}
					state := fmt.Sprint(info.Sys().(*syscall.Stat_t).Ino, " ", depot.Sum([]byte(read(t, path))))
					if folder != "" {
						list, err := depot.Folder(folder).List(t.Context(), "")
						state += fmt.Sprint(list, err)
					}
					return state
				},
				Effects: func(*testing.T) int {
					now := measure()
					if now < length {
						effects++
					}
					length = now
					return effects
				},
			})
			there := logs(t, d, name)
			complete(t, "docker logs", there[0], there)
			if folder != "" {
				complete(t, "archive and log", 0, append(archived(t, folder), there...))
			}
		})
	}
}

func hold() remediate.Fence { return remediate.Fence{Token: 1, Held: held} }

// talkerPause is between two bursts of a container that writes all the time. The long form has
// a short one.
var talkerPause = flag.Duration("talker.pause", 10*time.Millisecond, "pause between bursts of a container that writes all the time") //nolint:gochecknoglobals // a flag of the tests

// While a container writes all the time, its log is cut again and again: no
// line is lost, said twice or damaged.
func TestPruneLogsUnderWriter(t *testing.T) {
	d := talkers(t)
	folder := t.TempDir()
	path := begin(t, d, "steady", "steady "+talkerPause.String())
	a := docker.PruneLogs(archiving(t, d, folder))
	cuts := 0
	for end := time.Now().Add(servertest.Patience); cuts < 8; {
		plan, err := a.Plan(t.Context(), request("steady"))
		if refusal, ok := remediate.Refused(err); ok && refusal.Reason == remediate.ReasonNothing &&
			time.Now().Before(end) {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Apply(t.Context(), hold(), plan.Steps[0]); err != nil {
			t.Fatal(err)
		}
		cuts++
	}
	before := logs(t, d, "steady")
	complete(t, "docker logs, while it writes", before[0], before)
	time.Sleep(100 * time.Millisecond)
	if after := logs(t, d, "steady"); len(after) <= len(before) {
		t.Errorf("the writer has stopped at %d lines", len(after))
	}
	// From version 23 on the engine finds the last lines by a length that it has counted.
	version := run(t, d, "version", "--format", "{{.Server.Version}}")
	if major, err := strconv.Atoi(strings.Split(version, ".")[0]); err != nil || major < 23 {
		tail := logs(t, d, "--tail", "5", "steady")
		if complete(t, "docker logs --tail 5", tail[0], tail); len(tail) != 5 {
			t.Errorf("docker logs --tail 5 prints %v", tail)
		}
	}
	run(t, d, "stop", "--time", "1", "steady")
	there := logs(t, d, "steady")
	var file []int
	lines := strings.Split(read(t, path), "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) != "" {
			file = append(file, said(t, line))
		} else if i != 0 && i != len(lines)-1 {
			t.Errorf("line %d of the file is blank", i)
		}
	}
	if !slices.Equal(there, file) {
		t.Errorf("docker logs prints %d lines, and the file has %d", len(there), len(file))
	}
	complete(t, "archive and log", 0, append(archived(t, folder), file...))
	t.Logf("%d lines, %d of them in the log", file[len(file)-1]+1, len(file))
	if got := logs(t, d, "--tail", "5", "steady"); !slices.Equal(got, file[len(file)-5:]) {
		t.Errorf("docker logs --tail 5 of a container that was stopped prints %v, want %v", got, file[len(file)-5:])
	}
	if got := logs(t, d, "--tail", strconv.Itoa(len(file)), "steady"); !slices.Equal(got, file) {
		t.Errorf("docker logs --tail of all prints %d lines, want %d", len(got), len(file))
	}
}

// Who is stopped when the line at the cut is blank and the file not yet cut leaves a
// log of which that line alone is missing, and the next attempt the same archive.
func TestPruneLogsTakenUpAgain(t *testing.T) {
	d := talkers(t)
	folder := t.TempDir()
	path := begin(t, d, "api", "burst")
	a := docker.PruneLogs(archiving(t, d, folder))
	burst(t, d, "api", path)
	plan, err := a.Plan(t.Context(), request("api"))
	if err != nil {
		t.Fatal(err)
	}
	before := read(t, path)
	f := remediate.Fence{Token: 1, Held: func(context.Context) error {
		if read(t, path) != before {
			return remediate.ErrFenced
		}
		return nil
	}}
	if err := a.Apply(t.Context(), f, plan.Steps[0]); !errors.Is(err, remediate.ErrFenced) {
		t.Fatalf("%v, want %v", err, remediate.ErrFenced)
	}
	if now := read(t, path); len(now) != len(before) || now == before {
		t.Fatal("the line was not blanked, or the file was cut")
	}
	there := logs(t, d, "api")
	if there[0] != 0 || there[len(there)-1] != 3000 || len(there) != 3000 {
		t.Errorf("of 3001 lines %d can be read", len(there))
	}
	kept, err := depot.Folder(folder).List(t.Context(), "")
	if err != nil || len(kept) < 2 {
		t.Fatalf("%v, %v", kept, err)
	}
	for range 2 {
		if err := a.Apply(t.Context(), hold(), plan.Steps[0]); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := depot.Folder(folder).List(t.Context(), ""); err != nil || !slices.Equal(again, kept) {
		t.Errorf("the archive has %d objects now, and had %d (%v)", len(again), len(kept), err)
	}
	burst(t, d, "api", path) // more than was there, and from the blank line on
	if err := a.Apply(t.Context(), hold(), plan.Steps[0]); err != nil {
		t.Fatal(err)
	}
	complete(t, "archive and log", 0, append(archived(t, folder), logs(t, d, "api")...))

	t.Run("a container that was stopped", func(t *testing.T) {
		burst(t, d, "api", path)
		run(t, d, "kill", "api")
		if plan, err = a.Plan(t.Context(), request("api")); err != nil {
			t.Fatal(err)
		}
		if err := a.Apply(t.Context(), hold(), plan.Steps[0]); err != nil {
			t.Fatal(err)
		}
		there := logs(t, d, "api")
		complete(t, "archive and log", 0, append(archived(t, folder), there...))
		if tail := logs(t, d, "--tail", "3", "api"); !slices.Equal(tail, there[len(there)-3:]) {
			t.Errorf("docker logs --tail 3 prints %v", tail)
		}
		run(t, d, "start", "api")
		servertest.Eventually(t, "it counts anew", func() bool { return last(t, path) == 0 })
	})
	t.Run("an object of another content", func(t *testing.T) {
		burst(t, d, "api", path)
		aside := t.TempDir()
		if err := docker.PruneLogs(archiving(t, d, aside)).Apply(t.Context(), f, plan.Steps[0]); !errors.Is(err,
			remediate.ErrFenced) {
			t.Fatal(err) // the file is not what it was: nothing is put
		}
		if err := docker.PruneLogs(archiving(t, d, aside)).Apply(t.Context(),
			remediate.Fence{Held: func(context.Context) error {
				list, err := depot.Folder(aside).List(t.Context(), "")
				if len(list) > 0 {
					return remediate.ErrFenced
				}
				return err
			}}, plan.Steps[0]); !errors.Is(err, remediate.ErrFenced) {
			t.Fatal(err)
		}
		list, err := depot.Folder(aside).List(t.Context(), "")
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		length := len(read(t, path))
		if err := os.WriteFile(filepath.Join(aside, list[0].Name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := docker.PruneLogs(archiving(t, d, aside)).Apply(t.Context(), hold(), plan.Steps[0]); !errors.Is(err,
			depot.ErrDamaged) {
			t.Errorf("%v, want %v", err, depot.ErrDamaged)
		}
		if len(read(t, path)) != length {
			t.Error("it was cut, and is not in the archive")
		}
	})
}

// newer is a proxy before an engine that calls itself version 28.
func newer(t *testing.T, d *sandbox.Docker) string {
	t.Helper()
	return servertest.Before(t, d, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/version") {
			return false
		}
		fmt.Fprint(w, `{"Version":"28.2.2","ApiVersion":"1.41","MinAPIVersion":"1.12"}`)
		return true
	})
}

// planned returns why there is no plan.
func planned(t *testing.T, e *target.Docker, name string) error {
	t.Helper()
	_, err := docker.PruneLogs(e).Plan(t.Context(), request(name))
	return err
}

func TestPruneLogsRefuses(t *testing.T) {
	d := talkers(t)
	e := engine(t, d.Host)
	begin(t, d, "none", "burst", "--log-driver", "none")
	begin(t, d, "local", "burst", "--log-driver", "local")
	burst(t, d, "limited", begin(t, d, "limited", "burst", "--log-opt", "max-size=100m"))
	path := begin(t, d, "api", "burst")

	t.Run("other drivers and limits", func(t *testing.T) {
		refuses(t, planned(t, e, "none"), remediate.ReasonUnfit, `"none"`)
		refuses(t, planned(t, e, "local"), remediate.ReasonUnfit, `"local"`)
		refuses(t, planned(t, e, "limited"), remediate.ReasonCannotHelp, "max-size")
		refuses(t, planned(t, e, "api"), remediate.ReasonNothing, "stay")
	})
	burst(t, d, "api", path)
	t.Run("names", func(t *testing.T) {
		for _, name := range []string{"missing", "", "/api", "ap", "../../etc", `"; rm -rf /`, "api/json?x=", "api\x00",
			run(t, d, "inspect", "--format", "{{.Id}}", "api")} {
			refuses(t, planned(t, e, name), remediate.ReasonGone, "there is no container")
			if _, err := docker.PruneLogs(e).Measure(t.Context(), request(name)); !errors.Is(err, remediate.ErrGone) {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
	t.Run("keep", func(t *testing.T) {
		for _, text := range []string{"64", "63KiB", "-1MiB", "1e3MiB", "MiB", "0GiB", "1048577GiB",
			"18446744073709551615KiB", "1 MiB", "/etc", "64kib"} {
			r := request("api")
			r.Params = map[string]string{"keep": text}
			_, err := docker.PruneLogs(e).Plan(t.Context(), r)
			refuses(t, err, remediate.ReasonSubject, "want a size of at least 64KiB")
		}
		r := request("api")
		r.Limit = new(90000.0)
		_, err := docker.PruneLogs(e).Plan(t.Context(), r)
		refuses(t, err, remediate.ReasonCannotHelp, "keep less")
	})
	t.Run("an archive that is not there", func(t *testing.T) {
		refuses(t, planned(t, archiving(t, d, filepath.Join(t.TempDir(), "no")), "api"), remediate.ReasonUnfit,
			"is not there")
	})
	t.Run("a writer that does not append", func(t *testing.T) {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, planned(t, e, "api"), remediate.ReasonUnfit, "without O_APPEND")
		file.Close()
	})
	t.Run("rotated", func(t *testing.T) {
		if err := os.WriteFile(path+".1", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, planned(t, e, "api"), remediate.ReasonCannotHelp, "was rotated")
		os.Remove(path + ".1")
	})
	t.Run("another root", func(t *testing.T) {
		root, err := os.MkdirTemp("/dev/shm", "upkeep-test") // in memory: a file system that cannot do it
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(root) })
		elsewhere, err := target.NewDocker(target.DockerConfig{Name: "engine", Host: d.Host, Root: root})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(elsewhere.Close)
		refuses(t, planned(t, elsewhere, "api"), remediate.ReasonUnfit, "not seen on this machine")
		if err := errors.Join(os.MkdirAll(filepath.Dir(root+path), 0o700),
			os.WriteFile(root+path, []byte(read(t, path)), 0o600)); err != nil {
			t.Fatal(err)
		}
		refuses(t, planned(t, elsewhere, "api"), remediate.ReasonUnfit, "cannot take the head out of a file")
	})
	t.Run("another name", func(t *testing.T) {
		other := filepath.Join(filepath.Dir(path), "other")
		if err := os.Link(path, other); err != nil {
			t.Fatal(err)
		}
		refuses(t, planned(t, e, "api"), remediate.ReasonUnfit, "2 names")
		os.Remove(other)
	})
	plan, err := docker.PruneLogs(e).Plan(t.Context(), request("api"))
	if err != nil {
		t.Fatal(err)
	}
	facts := strings.Join(plan.Facts, "; ")
	for _, want := range []string{"gone for good", "max-size", "by its offset"} {
		if !strings.Contains(facts, want) {
			t.Errorf("no %q in the facts: %s", want, facts)
		}
	}
	young, err := docker.PruneLogs(engine(t, newer(t, d))).Plan(t.Context(), request("api"))
	if err != nil {
		t.Fatal(err)
	}
	if facts := strings.Join(young.Facts, "; "); !strings.Contains(facts, "--tail prints too few") ||
		young.Hash() != plan.Hash() {
		t.Errorf("of engine 28 the plan says %s", facts)
	}
	unchanged := func(t *testing.T, path string, act func()) {
		t.Helper()
		before := read(t, path)
		act()
		if read(t, path) != before {
			t.Error("the file was changed")
		}
	}
	t.Run("a link in its place", func(t *testing.T) {
		aside, victim := path+"-aside", filepath.Join(t.TempDir(), "victim")
		if err := errors.Join(os.WriteFile(victim, bytes.Repeat([]byte("precious\n"), 50_000), 0o600),
			os.Rename(path, aside)); err != nil {
			t.Fatal(err)
		}
		inside := filepath.Join(filepath.Dir(path), "victim")
		if err := os.WriteFile(inside, []byte(read(t, victim)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{victim, inside, filepath.Base(aside), filepath.Base(inside)} {
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
			unchanged(t, inside, func() {
				unchanged(t, victim, func() {
					refuses(t, planned(t, e, "api"), remediate.ReasonUnfit, "no plain file")
					refuses(t, docker.PruneLogs(e).Apply(t.Context(), hold(), plan.Steps[0]), remediate.ReasonUnfit,
						"no plain file")
				})
			})
			os.Remove(path)
		}
		if err := os.Rename(inside, path); err != nil { // another file of that name
			t.Fatal(err)
		}
		unchanged(t, path, func() {
			if err := docker.PruneLogs(e).Apply(t.Context(), hold(), plan.Steps[0]); !errors.Is(err,
				remediate.ErrGone) {
				t.Errorf("another file: %v", err)
			}
			refuses(t, planned(t, e, "api"), remediate.ReasonPrivilege,
				"the process that writes its log is not visible")
		})
		if err := os.Rename(aside, path); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the fence is lost before the cut", func(t *testing.T) {
		before, asked := last(t, path), 0
		f := remediate.Fence{Token: 1, Held: func(context.Context) error {
			if asked++; asked > 1 {
				return remediate.ErrFenced
			}
			return nil
		}}
		length := len(read(t, path))
		if err := docker.PruneLogs(e).Apply(t.Context(), f, plan.Steps[0]); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("%v", err)
		}
		if len(read(t, path)) != length || last(t, path) != before {
			t.Error("it was cut")
		}
		there := logs(t, d, "api") // but for the line that was blanked
		if there[0] != 0 || len(there) != before || there[len(there)-1] != before {
			t.Errorf("of %d lines %d can be read", before+1, len(there))
		}
	})
	t.Run("somebody else cuts at the same time", func(t *testing.T) {
		before, length := read(t, path), int64(0)
		f := remediate.Fence{Token: 1, Held: func(context.Context) error {
			if read(t, path) == before {
				return nil
			}
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			length = int64(len(before)) - 4096
			return unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096)
		}}
		burst(t, d, "api", path) // another cut than the one before, whose line is blank
		before = read(t, path)
		if err := docker.PruneLogs(e).Apply(t.Context(), f, plan.Steps[0]); err == nil ||
			!strings.Contains(err.Error(), "somebody else") {
			t.Errorf("%v", err)
		}
		if now := int64(len(read(t, path))); now != length {
			t.Errorf("it was cut twice: %d bytes are left, want %d", now, length)
		}
	})
	t.Run("more than the run may remove", func(t *testing.T) {
		plan, err := docker.PruneLogs(e).Plan(t.Context(), request("api"))
		if err != nil || plan.Amount == nil || plan.Amount.Bytes <= 0 || plan.Amount.OfBytes <= plan.Amount.Bytes {
			t.Fatalf("%+v %v", plan.Amount, err)
		}
		f := hold()
		f.Most = &remediate.Amount{Bytes: plan.Amount.Bytes - 1}
		unchanged(t, path, func() {
			refuses(t, docker.PruneLogs(e).Apply(t.Context(), f, plan.Steps[0]), remediate.ReasonAmount,
				"the run may remove")
		})
	})
	t.Run("the archive is not configured any more", func(t *testing.T) {
		plan, err := docker.PruneLogs(archiving(t, d, t.TempDir())).Plan(t.Context(), request("api"))
		if err != nil {
			t.Fatal(err)
		}
		unchanged(t, path, func() {
			refuses(t, docker.PruneLogs(e).Apply(t.Context(), hold(), plan.Steps[0]), remediate.ReasonConfiguration,
				"names none any more")
		})
	})
	t.Run("made anew", func(t *testing.T) {
		run(t, d, "rm", "--force", "api")
		path := begin(t, d, "api", "burst")
		burst(t, d, "api", path)
		unchanged(t, path, func() {
			if err := docker.PruneLogs(e).Apply(t.Context(), hold(), plan.Steps[0]); !errors.Is(err,
				remediate.ErrGone) {
				t.Errorf("%v, want %v", err, remediate.ErrGone)
			}
		})
	})
	t.Run("invalid steps", func(t *testing.T) {
		for _, args := range []map[string]string{nil, {"id": "x", "device": "1", "inode": "1", "keep": "1",
			"archive": "false"}, {"id": "", "device": "1", "inode": "1", "keep": "65536", "archive": "false"}} {
			if err := docker.PruneLogs(e).Apply(t.Context(), hold(), remediate.Step{Args: args}); err == nil {
				t.Errorf("%v is a step", args)
			}
		}
	})
}
