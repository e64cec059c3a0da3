package release_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// wholeTour runs the stack, which takes about a minute of a processor; without it the stack is configured and read.
var wholeTour = flag.Bool("tour.whole", false, "run the compose stack on an engine") //nolint:gochecknoglobals // a flag

// A stack is docker-compose.yml as it runs on an engine of the test. In place of the images of registries are the
// programs of this machine; what is built is built. Grafana is left out: there is no package of it.
type stack struct {
	engine *sandbox.Docker
	dir    string
	client http.Client
}

// standIns are the services whose images come from a registry: how their program is called here, and their user
// where the stack leaves it to the image.
func standIns() map[string]map[string]any {
	const nobody = "65534:65534"
	return map[string]map[string]any{
		"postgres":     {"entrypoint": []string{"/entrypoint"}},
		"redis":        {"working_dir": "/data"},
		"nginx":        {},
		"prometheus":   {"user": nobody, "entrypoint": []string{"prometheus", "--storage.tsdb.path=/prometheus"}},
		"alertmanager": {"user": nobody, "entrypoint": []string{"prometheus-alertmanager"}},
	}
}

// initPostgres does what the image of PostgreSQL does at its first start.
const initPostgres = `#!/bin/sh
set -eu
export PGDATA=/var/lib/postgresql/data PGHOST=/var/run/postgresql
if ! [ -s $PGDATA/PG_VERSION ]; then
	initdb --auth-local=trust --auth-host=scram-sha-256 --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" >/dev/null
	printf "unix_socket_directories = '/var/run/postgresql'\nlisten_addresses = '*'\n" >>$PGDATA/postgresql.conf
	echo "host all all all scram-sha-256" >>$PGDATA/pg_hba.conf
	pg_ctl --wait --silent --log=/tmp/log -o "-c shared_preload_libraries=pg_stat_statements -c listen_addresses=''" start
	for file in /docker-entrypoint-initdb.d/*.sh; do sh "$file"; done
	pg_ctl --wait --silent stop
fi
exec "$@"
`

// image imports an image of files, folders that belong to a user, and links.
func (s *stack) image(
	t *testing.T, name string, files, links map[string]string, folders map[string]int, changes ...string,
) {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	put := func(h *tar.Header, text string) {
		h.Size = int64(len(text))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(folders)) {
		put(&tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: 0o755, Uid: folders[path], Gid: folders[path]}, "")
	}
	for _, path := range slices.Sorted(maps.Keys(links)) {
		put(&tar.Header{Typeflag: tar.TypeSymlink, Name: path, Linkname: links[path]}, "")
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		put(&tar.Header{Name: path, Mode: 0o755}, files[path])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	args := []string{"import"}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	if _, err := s.engine.Run(t.Context(), out.Bytes(), append(args, "-", name)...); err != nil {
		t.Fatal(err)
	}
}

// images makes the images of the stack: that of upkeep with the program that is released.
func (s *stack) images(t *testing.T) {
	t.Helper()
	program := string(read(t, dist(t), "upkeep-linux-"+runtime.GOARCH))
	s.image(t, "upkeep-upkeep", map[string]string{"upkeep": program}, nil, map[string]int{"etc": 0}, "USER 65532:65532", `ENTRYPOINT ["/upkeep"]`,
		`CMD ["serve", "--config", "/etc/upkeep/upkeep.yaml"]`, `HEALTHCHECK --interval=1s CMD ["/upkeep", "health"]`)
	s.image(t, "standin", map[string]string{
		"etc/passwd": "root:x:0:0::/:\npostgres:x:70:70::/:\nredis:x:71:71::/:\nnginx:x:72:72::/:\n",
		"etc/group":  "root:x:0:\npostgres:x:70:\nredis:x:71:\nnginx:x:72:\n",
		"entrypoint": initPostgres,
	}, map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"},
		map[string]int{"etc": 0, "var": 0, "var/lib": 0, "var/lib/postgresql": 0, "var/lib/postgresql/data": 70, "data": 71,
			"prometheus": 65534, "alertmanager": 65534})

	tour := filepath.Join(s.dir, "bin", "tour")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(tour, "tour"),
		"./internal/testbed/tour")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	run(t, "cp", filepath.Join(root, "tools", "compose", "Dockerfile"), tour)
	s.docker(t, "build", "--quiet", "--network", "none", "--tag", "upkeep-tour", tour)
}

func (s *stack) docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.engine.Run(t.Context(), nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// file writes a file of the repository into the folder of the stack, changed.
func (s *stack) file(t *testing.T, name string, changes ...string) {
	t.Helper()
	text := string(read(t, root, name))
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("%s has no %q", name, changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// configure writes docker-compose.yml for these images, and the configurations for who does not wait for minutes.
func (s *stack) configure(t *testing.T) {
	t.Helper()
	var c map[string]any
	if err := yaml.Unmarshal(read(t, root, "docker-compose.yml"), &c); err != nil {
		t.Fatal(err)
	}
	delete(c, "name") // which the docker-compose of Debian 12 does not know: it gets --project-name
	services := c["services"].(map[string]any)
	delete(services, "grafana")
	postgres := filepath.Dir(servertest.Versions(t)["17"])
	client := filepath.Dir(servertest.Client("psql"))
	for name, change := range standIns() {
		service := services[name].(map[string]any)
		maps.Copy(service, change)
		volumes, _ := service["volumes"].([]any)
		service["image"] = "standin"
		service["volumes"] = append(volumes, "/usr:/usr:ro", "/etc/ssl:/etc/ssl:ro", postgres+":/pg:ro")
		environment, _ := service["environment"].(map[string]any)
		paths := map[string]any{"PATH": "/pg/bin:" + client + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp"}
		maps.Copy(paths, environment)
		service["environment"] = paths
	}
	upkeep := services["upkeep"].(map[string]any)
	delete(upkeep, "build")
	for _, name := range []string{"auth-service", "user-api", "admin-api"} { // it is to see all that they write
		delete(upkeep["depends_on"].(map[string]any), name)
	}
	upkeep["image"] = "upkeep-upkeep"
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "docker-compose.yml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.file(t, "tools/compose/prometheus.yml", "15s", "1s")
	s.file(t, "tools/compose/alertmanager.yml", "group_wait: 5s", "group_wait: 100ms", "group_interval: 30s",
		"group_interval: 1s")
	s.file(t, "tools/compose/upkeep.yaml", "collectors:\n", "collectors:\n  interval: 1s\n")
	for _, name := range []string{"nginx.conf", "postgres.sh", "secrets.sh"} {
		s.file(t, "tools/compose/"+name)
	}
	rules, err := filepath.Glob(filepath.Join(root, "alerts", "*.rules.yaml"))
	if err != nil || len(rules) == 0 {
		t.Fatalf("%v: %v", rules, err)
	}
	for _, rule := range rules {
		name := filepath.Join("alerts", filepath.Base(rule))
		s.file(t, name)
		text := regexp.MustCompile(`(?m)^( +)for: \S+$`).ReplaceAll(read(t, root, name), []byte("${1}for: 0s"))
		if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "bin", "tour"), 0o755); err != nil { // as make up does
		t.Fatal(err)
	}
	s.secrets(t)
}

// secrets has the script make the passwords. The docker that it asks runs upkeep's command on this machine.
func (s *stack) secrets(t *testing.T) {
	t.Helper()
	path := t.TempDir()
	docker := "#!/bin/sh\nwhile [ \"$1\" != upkeep ]; do shift; done\nshift\nexec " +
		filepath.Join(dist(t), "upkeep-linux-"+runtime.GOARCH) + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(path, "docker"), []byte(docker), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "tools/compose/secrets.sh")
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("secrets.sh: %v\n%s", err, out)
	}
}

// compose runs docker-compose.
func (s *stack) compose(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker-compose", append([]string{"--project-name", "upkeep"}, args...)...)
	cmd.Dir = s.dir
	if s.engine != nil {
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+s.engine.Host, "DOCKER_CONFIG="+s.engine.Dir,
			"COMPOSE_HTTP_TIMEOUT=600", "DOCKER_DATA="+filepath.Join(s.engine.Dir, "data"),
			"DOCKER_SOCKET="+strings.TrimPrefix(s.engine.Host, "unix://"))
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("docker-compose is missing: make test installs it")
	}
	if err != nil {
		t.Fatalf("docker-compose %v: %v\n%s%s\n%s", args, err, out, &said, s.state(t))
	}
	return string(out)
}

// state says how the containers are, for who looks for what is wrong.
func (s *stack) state(t *testing.T) string {
	t.Helper()
	if s.engine == nil {
		return "no engine runs"
	}
	all := s.docker(t, "ps", "--all", "--format", "{{.Names}} {{.Status}}")
	for line := range strings.Lines(all) {
		name, _, _ := strings.Cut(line, " ")
		log, _ := s.engine.Run(t.Context(), nil, "logs", "--tail", "8", name)
		all += "\n" + name + ":\n" + log
	}
	return all
}

// query asks the stack's Prometheus, and returns the values by a label.
func (s *stack) query(t *testing.T, expr, by string) (map[string]float64, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:9090/api/v1/query?query="+
		url.QueryEscape(expr), nil)
	if err != nil {
		return nil, err
	}
	res, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // is read
	var said struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		return nil, err
	}
	all := make(map[string]float64)
	for _, r := range said.Data.Result {
		if all[r.Metric[by]], err = strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// container is the ID of the container of a service, whose name is another one in each version of docker-compose.
func (s *stack) container(t *testing.T, service string) string {
	t.Helper()
	return s.docker(t, "ps", "--quiet", "--filter", "label=com.docker.compose.service="+service)
}

// A counted is what a service has written.
type counted struct{ lines, errors, plain int }

// least reports whether something is not less than another, in nothing.
func (c counted) least(of counted) bool {
	return c.lines >= of.lines && c.errors >= of.errors && c.plain >= of.plain
}

// wrote counts what a service has written, as Docker's own client shows it.
func (s *stack) wrote(t *testing.T, service string) (c counted) {
	t.Helper()
	for line := range strings.Lines(s.docker(t, "logs", s.container(t, service))) {
		var said struct{ Level string }
		c.lines++
		if json.Unmarshal([]byte(line), &said) != nil {
			c.plain++
			said.Level = strings.ToLower(strings.Fields(line + " a b c")[2])
		}
		if said.Level == "error" {
			c.errors++
		}
	}
	return c
}

// docker-compose reads the stack of docker-compose.yml with the secrets that its script makes.
func TestTour(t *testing.T) {
	t.Parallel()
	s := &stack{dir: t.TempDir()}
	s.configure(t)
	got := strings.Fields(s.compose(t, "config", "--services"))
	slices.Sort(got)
	if want := []string{"admin-api", "alertmanager", "auth-service", "engine", "nginx", "postgres", "prometheus", "redis",
		"upkeep", "user-api"}; !slices.Equal(got, want) {
		t.Errorf("docker-compose reads the services %q", got)
	}
	if *wholeTour {
		s.run(t)
	}
}

// run runs the stack on a real engine: upkeep, the sample services, nginx, PostgreSQL, Redis,
// Prometheus and Alertmanager find one another with the passwords and rights that they are given, each line of the
// services is counted by its level, and an alert fires and is acted on: at once, or after a person has approved it.
func (s *stack) run(t *testing.T) {
	t.Helper()
	s.engine = servertest.DockerInNetwork(t)
	s.client.Transport = &http.Transport{DialContext: s.engine.Dial}
	s.images(t)

	// upkeep first: it counts what is written after it has begun.
	s.compose(t, "up", "--detach", "upkeep", "prometheus", "alertmanager")
	s.eventually(t, "upkeep counts lines", func() error {
		ok, err := s.query(t, `upkeep_collector_success{collector="logs/lines"}`, "server")
		return expect(ok, map[string]float64{"engine": 1}, err)
	})
	s.compose(t, "up", "--detach")
	s.eventually(t, "all targets are up", func() error {
		up, err := s.query(t, "up", "job")
		return expect(up, map[string]float64{"upkeep": 1, "prometheus": 1, "alertmanager": 1, "auth-service": 1,
			"user-api": 1, "admin-api": 1}, err)
	})
	s.eventually(t, "all collectors have what they need", func() error {
		failed, err := s.query(t, "upkeep_collector_success == 0", "collector")
		return expect(failed, map[string]float64{}, err)
	})
	s.eventually(t, "the services answer through nginx", func() error {
		up, err := s.query(t, "upkeep_probe_healthy", "server")
		return expect(up, map[string]float64{"auth-service": 1, "user-api": 1, "admin-api": 1, "nginx": 1}, err)
	})
	t.Run("logs", s.logs)
	t.Run("acted on", s.acted)
	if t.Failed() {
		t.Log(s.state(t))
	}
}

// eventually waits, and says how the containers are where it waits too long.
func (s *stack) eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(s.state(t))
		}
	}()
	servertest.Eventually(t, what, holds)
}

func expect(got, want map[string]float64, err error) error {
	if err == nil && !maps.Equal(got, want) {
		err = fmt.Errorf("it is %v, want %v", got, want)
	}
	return err
}

// logs compares what upkeep has counted with what was written: no less than before it was asked, and no more
// than after.
func (s *stack) logs(t *testing.T) {
	for _, service := range []string{"auth-service", "user-api", "admin-api", "nginx"} {
		var before counted
		s.eventually(t, service+" has written", func() error {
			before = s.wrote(t, service)
			if before.lines < 50 || service == "admin-api" && (before.errors < 2 || before.plain < 2) {
				return fmt.Errorf("it has written %+v", before)
			}
			return nil
		})
		s.eventually(t, "lines of "+service+" are counted by their level", func() error {
			var got counted
			for metric, into := range map[string]*int{"lines": &got.lines, "errors": &got.errors, "plain_lines": &got.plain} {
				all, err := s.query(t, "upkeep_logs_"+metric+"_total", "service")
				if err != nil {
					return err
				}
				*into = int(all[service])
			}
			if !got.least(before) {
				return fmt.Errorf("%+v are counted, and %+v were written", got, before)
			}
			if after := s.wrote(t, service); !after.least(got) {
				t.Errorf("%+v are counted, and %+v are written", got, after)
			}
			return nil
		})
	}
}

// acted waits for the vacuum of one database, and approves that of another one.
func (s *stack) acted(t *testing.T) {
	state := func(database, want string) (id string) {
		t.Helper()
		s.eventually(t, "a run on "+database+" is "+want, func() error {
			text := s.docker(t, "exec", s.container(t, "upkeep"), "/upkeep", "runs", "-o", "json")
			var runs []struct {
				ID      int
				State   string
				Request struct {
					Action  string
					Subject map[string]string
				}
			}
			if err := json.Unmarshal([]byte(text), &runs); err != nil {
				return err
			}
			for _, r := range runs {
				if r.Request.Action == "postgres/vacuum" && r.Request.Subject["database"] == database && r.State == want {
					id = strconv.Itoa(r.ID)
					return nil
				}
			}
			return fmt.Errorf("the runs are %+v", runs)
		})
		return id
	}
	state("authdb", "resolved")
	id := state("apidb", "awaiting_approval")
	s.docker(t, "exec", s.container(t, "upkeep"), "/upkeep", "approve", id, "--why", "the tour")
	state("apidb", "resolved")
	for database, table := range map[string]string{"authdb": "refresh_tokens", "apidb": "users"} {
		if n := s.docker(t, "exec", s.container(t, "postgres"), "psql", "-h", "/var/run/postgresql", "-U", "postgres", "-Atd",
			database, "-c", "select vacuum_count > 0 from pg_stat_all_tables where relname = '"+table+"'"); n != "t" {
			t.Errorf("%s was vacuumed: %s", table, n)
		}
	}
}
