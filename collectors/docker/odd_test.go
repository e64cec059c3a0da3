package docker_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/docker"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// Who is asked for the truth. docker inspect is asked by a name and a field of its answer, docker system df by a type
// and a column, and the files by the name of a container or of a volume; a prune frees what it says.
const (
	hand, absent = collectortest.Hand, collectortest.Absent
	inspect      = "docker inspect"
	images       = "docker image inspect"
	df           = "docker system df"
	written      = "stat"
	prune        = "docker prune"
)

// oddEngine is what people have on an engine, by what is made of it in oddlyRun.
func oddEngine() []collectortest.Oddity {
	is := collectortest.Row
	of := func(metric, container string) string {
		return fmt.Sprintf("container_%s{container=%q}", metric, container)
	}
	state := func(container, state string) string {
		return fmt.Sprintf("container_state{container=%q,state=%q}", container, state)
	}
	info := func(container, service, project, image string) string {
		return fmt.Sprintf("container_info{container=%q,service=%q,project=%q,image=%q}", container, service, project, image)
	}
	logs := func(metric, container string) string { return fmt.Sprintf("log_%s{container=%q}", metric, container) }
	disk := func(metric, kind string) string { return fmt.Sprintf("disk_%s{type=%q}", metric, kind) }
	return []collectortest.Oddity{
		is("never started", state("never", "created"), hand, "1", 0),
		is("it has not ended", of("exit_code", "never"), hand, absent, 0),
		is("nor begun", of("start_timestamp_seconds", "never"), inspect, "never .State.StartedAt", 0),
		is("nor was its health asked", of("unhealthy", "never"), hand, absent, 0),
		is("nor does it run", of("running", "never"), inspect, "never .State.Running", 0),
		is("no such program", of("exit_code", "no-program"), inspect, "no-program .State.ExitCode", 0),
		is("it never ran", state("no-program", "created"), hand, "1", 0),
		is("ended by itself", of("exit_code", "done"), inspect, "done .State.ExitCode", 0),
		is("when it was started", of("start_timestamp_seconds", "done"), inspect, "done .State.StartedAt", 0),
		is("what has ended is not unhealthy", of("unhealthy", "done"), hand, absent, 0),
		is("stopped by a person", state("stopped", "exited"), hand, "1", 0),
		is("its code", of("exit_code", "stopped"), inspect, "stopped .State.ExitCode", 0),
		is("what was stopped is not unhealthy", of("unhealthy", "stopped"), hand, absent, 0),
		is("nor OOM-killed", of("oom_killed", "stopped"), inspect, "stopped .State.OOMKilled", 0),
		is("paused", state("paused", "paused"), hand, "1", 0),
		is("it has not ended either", of("exit_code", "paused"), hand, absent, 0),
		is("it did begin", of("start_timestamp_seconds", "paused"), inspect, "paused .State.StartedAt", 0),
		is("given up after two restarts", of("restarts_total", "given-up"), inspect, "given-up .RestartCount", 0),
		is("and how it ended", of("exit_code", "given-up"), inspect, "given-up .State.ExitCode", 0),
		is("a health check that is switched off", of("unhealthy", "unchecked"), hand, absent, 0),
		is("it runs", of("running", "unchecked"), inspect, "unchecked .State.Running", 0),
		is("a health check that has not ended", of("unhealthy", "waiting"), hand, "0", 0),
		is("restarts of one that needed none", of("restarts_total", "waiting"), inspect, "waiting .RestartCount", 0),

		is("a name with every sign that is allowed", of("running", "Odd.name_-9"), hand, "0", 0),
		is("its Compose labels hurt",
			"container_info{container=\"Odd.name_-9\",service=\"a \\\"b\\\" \\\\ {ü}\\n😀\",project=\"\",image=\"service:1\"}", hand,
			"1", 0),
		is("renamed", info("now", "now", "", "service:1"), hand, "1", 0),
		is("its old name", info("before", "before", "", "service:1"), hand, absent, 0),
		is("of an image by its ID", "container_info{container=\"by-id\",service=\"by-id\",project=\"\",image=\"ID\"}", hand, "1", 0),
		is("the age of that image", of("image_created_timestamp_seconds", "by-id"), images, "service:1 .Created", 1e-9),
		is("of an image without a name that has a child", of("image_created_timestamp_seconds", "orphan"), images,
			"BASE .Created", 1e-9),
		is("of an image that was removed", of("image_created_timestamp_seconds", "bereft"), hand, absent, 0),
		is("it is there", state("bereft", "created"), hand, "1", 0),

		is("a log without a limit", logs("rotated", "done"), hand, "0", 0),
		is("its size", logs("size_bytes", "talks"), written, "talks", 0),
		is("a number of files is no limit of their size", logs("rotated", "files-alone"), hand, "0", 0),
		is("a limit", logs("rotated", "limited"), hand, "1", 0),
		is("driver local", logs("rotated", "in-local"), hand, "1", 0),
		is("where its file is the engine does not say", logs("size_bytes", "in-local"), hand, absent, 0),
		is("driver none", logs("rotated", "in-none"), hand, absent, 0),
		is("it has no size", logs("size_bytes", "in-none"), hand, absent, 0),
		is("driver journald", logs("rotated", "in-journald"), hand, absent, 0),
		is("nor has that", logs("size_bytes", "in-journald"), hand, absent, 0),
		is("driver syslog", logs("rotated", "in-syslog"), hand, absent, 0),
		is("nothing was written yet", logs("size_bytes", "never"), hand, absent, 0),

		is("images", disk("objects", "images"), df, "Images TotalCount", 0),
		is("layers that they share", disk("used_bytes", "images"), df, "Images Size", 1e-3),
		is("containers", disk("objects", "containers"), df, "Containers TotalCount", 0),
		is("what they have written", disk("used_bytes", "containers"), df, "Containers Size", 1e-3),
		is("volumes, of two containers, of none and without a name", disk("objects", "volumes"), df,
			"Local Volumes TotalCount", 0),
		is("a volume that two share counts once", disk("used_bytes", "volumes"), written, "shared free anonymous", 0),
		is("of no container", disk("reclaimable_bytes", "volumes"), written, "free", 0),
		is("no build cache", disk("objects", "build_cache"), df, "Build Cache TotalCount", 0),
	}
}

// oddFreed is what the engine's own prune frees, in the order in which one frees what the one before has left.
func oddFreed() []collectortest.Oddity {
	row := func(name, kind, what string) collectortest.Oddity {
		return collectortest.Row(name, fmt.Sprintf("disk_reclaimable_bytes{type=%q}", kind), prune, what, 0)
	}
	return []collectortest.Oddity{
		row("an untagged image in use with a child that is not", "images", "images"),
		row("no volume in use, with a name or without", "volumes", "volumes"),
		row("containers that have ended, and none that is paused", "containers", "containers"),
	}
}

// What people have on an engine is exported as it is.
func oddIsExported(t *testing.T, d *sandbox.Docker) {
	base := oddlyMade(t, d)
	e := engine(t, d.Host)
	id := run(t, d, "image", "inspect", "--format", "{{.Id}}", "service:1")
	table := oddEngine()
	for i := range table {
		table[i].Series = strings.Replace(table[i].Series, `"ID"`, strconv.Quote(id), 1)
		table[i].Truth = strings.Replace(table[i].Truth, "BASE", base, 1)
	}
	answer := func() string {
		var text strings.Builder
		for _, c := range []collectors.Collector{docker.Containers(e), docker.LogSize(e), docker.DiskUsage(e)} {
			text.WriteString(collectortest.Answer(t, c))
		}
		return text.String()
	}
	text := answer()
	if err := collectortest.Odd("upkeep_docker_", text, map[string]collectortest.Source{
		inspect: inspected(t, d, "inspect"), images: inspected(t, d, "image", "inspect"), df: diskFree(t, d),
		written: sizes(t, d)}, table); err != nil {
		t.Error(err)
	}
	freed := func(questions []string) (answers []string, err error) {
		for _, what := range questions {
			filters := "{}"
			if what == "images" {
				filters = `{"dangling":{"false":true}}`
			}
			answers = append(answers, fmt.Sprint(pruned(t, d, what, filters)))
		}
		return answers, nil
	}
	if err := collectortest.Odd("upkeep_docker_", text, map[string]collectortest.Source{prune: freed}, oddFreed()); err != nil {
		t.Error(err)
	}
}

// oddlyMade makes what the table has, and returns the ID of the image that has lost its name.
func oddlyMade(t *testing.T, d *sandbox.Docker) (base string) {
	t.Helper()
	run(t, d, "volume", "prune", "--force") // of another test
	servertest.Image(t, d, "service:1", "./testdata/service")
	r := rand.NewChaCha8([32]byte{20})
	load(t, d, r, map[string]string{"parent": "parent", "gone": "gone"})
	base = run(t, d, "image", "inspect", "--format", "{{.Id}}", "parent")
	create := func(name string, args ...string) {
		t.Helper()
		run(t, d, slices.Concat([]string{"create", "--network", "none", "--name", name}, args)...)
	}
	begin := func(name string, args ...string) {
		t.Helper()
		run(t, d, slices.Concat([]string{"run", "--detach", "--network", "none", "--name", name}, args)...)
	}
	create("never", "service:1")
	create("no-program", "--entrypoint", "/none", "service:1")
	if _, err := d.Run(t.Context(), nil, "start", "no-program"); err == nil {
		t.Fatal("a container without a program starts")
	}
	begin("done", "service:1", "fail")
	begin("given-up", "--restart", "on-failure:2", "service:1", "fail")
	begin("stopped", "service:1", "stay")
	run(t, d, "kill", "stopped")
	begin("paused", "service:1", "stay")
	run(t, d, "pause", "paused")
	begin("unchecked", "--no-healthcheck", "service:1", "stay")
	begin("waiting", "--health-interval", "1h", "service:1", "stay")
	begin("talks", "service:1", "log")
	create("Odd.name_-9", "--label", "com.docker.compose.service=a \"b\" \\ {ü}\n😀", "service:1")
	create("before", "service:1")
	run(t, d, "rename", "before", "now")
	create("by-id", run(t, d, "image", "inspect", "--format", "{{.Id}}", "service:1"))

	create("orphan", "parent")
	tar, err := sandbox.Tar(map[string][]byte{"more": noise(t, r, 30)})
	if err == nil {
		_, err = d.Run(t.Context(), tar, "cp", "-", "orphan:/")
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, d, "commit", "orphan", "child")
	run(t, d, "rmi", "--force", "parent")
	create("bereft", "gone")
	run(t, d, "rmi", "--force", run(t, d, "image", "inspect", "--format", "{{.Id}}", "gone"))

	create("files-alone", "--log-opt", "max-file=3", "service:1")
	create("limited", "--log-opt", "max-size=1m", "service:1")
	for _, driver := range []string{"none", "journald", "syslog"} {
		create("in-"+driver, "--log-driver", driver, "service:1")
	}
	begin("in-local", "--log-driver", "local", "service:1", "log")

	run(t, d, "volume", "create", "shared")
	run(t, d, "volume", "create", "free")
	run(t, d, "volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m", "elsewhere")
	create("one", "--volume", "shared:/data", "--volume", "elsewhere:/more", "service:1")
	create("two", "--volume", "shared:/data", "--volume", "/anonymous", "service:1")
	for i, v := range []string{"shared", "free", anonymous(t, d)} {
		if err := os.WriteFile(filepath.Join(folder(t, d, v), "data"), noise(t, r, 20+10*i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	servertest.Eventually(t, "all have come to where they stay", func() bool {
		return run(t, d, "inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "done", "given-up", "stopped") ==
			"exited 0\nexited 2\nexited 0"
	})
	servertest.Eventually(t, "what writes has written", func() bool {
		for _, c := range []string{"talks", "in-local"} {
			if text := run(t, d, "logs", c); !strings.Contains(text, "ERROR plain") || !strings.Contains(text, "user 99 is") {
				return false
			}
		}
		return true
	})
	return base
}

func anonymous(t *testing.T, d *sandbox.Docker) string {
	t.Helper()
	return run(t, d, "inspect", "--format", `{{range .Mounts}}{{if eq .Destination "/anonymous"}}{{.Name}}{{end}}{{end}}`, "two")
}

func folder(t *testing.T, d *sandbox.Docker, volume string) string {
	t.Helper()
	return run(t, d, "volume", "inspect", "--format", "{{.Mountpoint}}", volume)
}

// inspected asks for each field once, of all that it is asked of.
func inspected(t *testing.T, d *sandbox.Docker, by ...string) collectortest.Source {
	t.Helper()
	return func(questions []string) ([]string, error) {
		of := make(map[string][]string)
		for _, q := range questions {
			name, field, _ := strings.Cut(q, " ")
			of[field] = append(of[field], name)
		}
		is := make(map[string]string)
		for field, names := range of {
			out, err := d.Run(t.Context(), nil, slices.Concat(by, []string{"--format", "{{json " + field + "}}"}, names)...)
			if err != nil {
				return nil, err
			}
			for i, line := range strings.Split(out, "\n") {
				is[names[i]+" "+field] = numbered(line)
			}
		}
		answers := make([]string, len(questions))
		for i, q := range questions {
			answers[i] = is[q]
		}
		return answers, nil
	}
}

// numbered returns a value of Docker as a number: when something was is in seconds, and absent where it never was.
func numbered(value string) string {
	var at time.Time
	switch {
	case value == "true":
		return "1"
	case value == "false":
		return "0"
	case json.Unmarshal([]byte(value), &at) != nil:
		return value
	case at.Year() == 1:
		return absent
	}
	return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', -1, 64)
}

// diskFree asks docker system df.
func diskFree(t *testing.T, d *sandbox.Docker) collectortest.Source {
	t.Helper()
	return func(questions []string) (answers []string, err error) {
		out, err := d.Run(t.Context(), nil, "system", "df", "--format", "{{json .}}")
		if err != nil {
			return nil, err
		}
		rows := make(map[string]map[string]string)
		for line := range strings.Lines(out) {
			var row map[string]string
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				return nil, err
			}
			rows[row["Type"]] = row
		}
		units := map[string]float64{"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
		for _, q := range questions {
			i := strings.LastIndexByte(q, ' ')
			value := rows[q[:i]][q[i+1:]]
			for unit, factor := range units {
				if n, err := strconv.ParseFloat(strings.TrimSuffix(value, unit), 64); err == nil && q[i+1:] == "Size" {
					value = strconv.FormatFloat(n*factor, 'f', -1, 64)
					break
				}
			}
			answers = append(answers, value)
		}
		return answers, nil
	}
}

// sizes adds up the sizes of the files of what is named: volumes, and a container that has a log.
func sizes(t *testing.T, d *sandbox.Docker) collectortest.Source {
	t.Helper()
	return func(questions []string) (answers []string, err error) {
		for _, q := range questions {
			var sum int64
			for name := range strings.FieldsSeq(q) {
				path := name
				switch name {
				case "talks":
					path = run(t, d, "inspect", "--format", "{{.LogPath}}", name)
				case "anonymous":
					path = filepath.Join(folder(t, d, anonymous(t, d)), "data")
				default:
					path = filepath.Join(folder(t, d, name), "data")
				}
				info, err := os.Stat(path)
				if err != nil {
					return nil, err
				}
				sum += info.Size()
			}
			answers = append(answers, strconv.FormatInt(sum, 10))
		}
		return answers, nil
	}
}
