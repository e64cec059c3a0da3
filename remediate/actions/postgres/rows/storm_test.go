package rows_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// The storm: while actions run, a seeded generator runs DDL and DML beside them. A
// model replays the storm's own committed statements and never asks what an action
// did. At the end each value that the model holds is in the source or in the archive,
// once, and all else is as the model has it.
//
// A seed fixes the version of the server, the scene, the order of the actions and the
// statements. One seed in three lets the storm run beside the action and not between
// its batches; there the server's timing decides too.
var (
	stormSeeds   = flag.Int("storm.seeds", 14, "how many seeds the storm takes; each scene twice, and each version")           //nolint:gochecknoglobals // a flag of the test
	stormFirst   = flag.Int("storm.first", 1, "the first of them")                                                             //nolint:gochecknoglobals // the same
	stormVersion = flag.String("storm.version", "", "the one major version of the server; else it depends on the seed")        //nolint:gochecknoglobals // the same
	stormScene   = flag.String("storm.scene", "", "only the seeds in whose scene this occurs, as \"store\"")                   //nolint:gochecknoglobals // the same
	stormAll     = flag.Bool("storm.all", false, "fail where a kind of statement never fell between two batches of an action") //nolint:gochecknoglobals // the same
	stormLog     = flag.Bool("storm.log", false, "print the history of each seed, of those that hold too")                     //nolint:gochecknoglobals // the same
)

// stormVersions is in the order of the seeds.
func stormVersions() []string { return []string{"15", "13", "18", "14", "17", "16"} }

func versionOf(seed int) string {
	if *stormVersion != "" {
		return *stormVersion
	}
	all := stormVersions()
	return all[seed%len(all)]
}

func TestStorm(t *testing.T) {
	t.Parallel()
	byVersion := make(map[string][]int)
	for seed := *stormFirst; seed < *stormFirst+*stormSeeds; seed++ {
		if scene := scenes()[seed%len(scenes())]; strings.Contains(scene.name, *stormScene) {
			byVersion[versionOf(seed)] = append(byVersion[versionOf(seed)], seed)
		}
	}
	total := newTally()
	t.Cleanup(func() {
		t.Log(total.report())
		if total.moved == 0 {
			t.Error("no action moved a row: the storm shows nothing")
		}
		if missing := total.missing(); *stormAll && len(missing) > 0 {
			t.Errorf("never between two batches: %s", strings.Join(missing, ", "))
		}
	})
	for _, version := range slices.Sorted(maps.Keys(byVersion)) {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			sky := newSky(t, version)
			for _, seed := range byVersion[version] {
				t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { sky.storm(t, seed, total) })
			}
		})
	}
}

// A sky is what storms of one version share.
type sky struct {
	server *sandbox.Postgres
	bucket func() *sandbox.S3
	repack bool // pg_repack is there
}

func newSky(t *testing.T, version string) *sky {
	t.Helper()
	if version == "15" {
		version = "" // the installed one, for which there is a pg_repack
	}
	s := &sky{repack: version == "", server: own(t, version, map[string]string{
		"synchronous_commit": "off", "max_connections": "40", "track_functions": "all", "deadlock_timeout": "200ms",
		"max_locks_per_transaction": "256",
	})}
	s.bucket = sync.OnceValue(func() *sandbox.S3 { return servertest.S3(t) })
	servertest.Exec(t, s.server.URL, "create role mover login", "grant pg_monitor to mover")
	return s
}

// A scene is what a seed works on.
type scene struct {
	name  string
	parts bool   // the source is partitioned by age
	to    string // "table", "store" or "nothing"
	alike bool   // the destination is partitioned as the source is: partitions are handed over
}

func scenes() []scene {
	return []scene{
		{name: "table", to: "table"},
		{name: "partitions to a table", parts: true, to: "table"},
		{name: "partitions handed over", parts: true, to: "table", alike: true},
		{name: "store", to: "store"},
		{name: "purge", to: "nothing"},
		{name: "purge of partitions", parts: true, to: "nothing"},
		{name: "partitions to a store", parts: true, to: "store"},
	}
}

// A tally counts over all seeds.
type tally struct {
	mu      sync.Mutex
	fell    map[string]map[string]int // by kind and action: committed between two batches
	drawn   map[string]int            // by kind
	ended   map[string]int            // how runs ended
	moved   int                       // rows
	acted   map[string]int            // rows by action
	kinds   []string
	actions map[string]bool
}

func newTally() *tally {
	return &tally{fell: make(map[string]map[string]int), drawn: make(map[string]int), ended: make(map[string]int),
		acted: make(map[string]int), actions: make(map[string]bool), kinds: names()}
}

func names() (all []string) {
	for _, k := range kinds() {
		all = append(all, k.name)
	}
	return all
}

// add takes in what one seed counted.
func (a *tally) add(b *tally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.moved += b.moved
	for kind, by := range b.fell {
		for action, n := range by {
			a.fall(kind, action, n)
		}
	}
	maps.Copy(a.actions, b.actions)
	for to, from := range map[*map[string]int]map[string]int{&a.drawn: b.drawn, &a.ended: b.ended, &a.acted: b.acted} {
		for k, n := range from {
			(*to)[k] += n
		}
	}
}

func (a *tally) fall(kind, action string, n int) {
	if a.fell[kind] == nil {
		a.fell[kind] = make(map[string]int)
	}
	a.fell[kind][action] += n
}

// missing are the pairs that never occurred, of those that can.
func (a *tally) missing() (all []string) {
	for _, kind := range a.kinds {
		for _, action := range slices.Sorted(maps.Keys(a.actions)) {
			if a.fell[kind][action] == 0 && possible(kind, action) {
				all = append(all, kind+" × "+action)
			}
		}
	}
	return all
}

func (a *tally) report() string {
	var b strings.Builder
	actions := slices.Sorted(maps.Keys(a.actions))
	fmt.Fprintf(&b, "%d rows moved; statements that committed between two batches:\n%-28s", a.moved, "")
	for _, action := range actions {
		fmt.Fprintf(&b, " %10s", action[:min(10, len(action))])
	}
	for _, kind := range a.kinds {
		fmt.Fprintf(&b, "\n%-28s", kind)
		for _, action := range actions {
			cell := fmt.Sprint(a.fell[kind][action])
			if !possible(kind, action) {
				cell = "-"
			}
			fmt.Fprintf(&b, " %10s", cell)
		}
	}
	b.WriteString("\nrows by action:")
	for _, k := range slices.Sorted(maps.Keys(a.acted)) {
		fmt.Fprintf(&b, " %s %d;", k, a.acted[k])
	}
	b.WriteString("\nruns ended:")
	for _, k := range slices.Sorted(maps.Keys(a.ended)) {
		fmt.Fprintf(&b, "\n%6d × %s", a.ended[k], k)
	}
	return b.String()
}

// storm runs one seed.
func (s *sky) storm(t *testing.T, seed int, total *tally) {
	w := newWorld(t, s, seed)
	defer func() {
		total.add(w.tally)
		if t.Failed() || *stormLog {
			t.Logf("seed %d; again: go test ./remediate/actions/postgres/rows -run TestStorm -storm.first=%d "+
				"-storm.seeds=1 -storm.version=%s\n%s", seed, seed, versionOf(seed), strings.Join(w.history, "\n"))
		}
	}()
	w.drive()
	w.check()
}

// database makes one for a seed.
func (s *sky) database(t *testing.T, seed int) (url, name string) {
	t.Helper()
	name = fmt.Sprintf("storm_%d", seed)
	servertest.NewDatabase(t, s.server.URL, name)
	t.Cleanup(func() { servertest.Exec(t, s.server.URL, "drop database "+name+" with (force)") })
	c, err := pgx.ParseConfig(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("postgres://upkeep@127.0.0.1:%d/%s?sslmode=disable", c.Port, name), name
}

// folder makes one for the objects of a seed.
func folderOf(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "objects")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
