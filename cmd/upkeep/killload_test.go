package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

var killsUnderLoad = flag.Int("kills", 20, "how often upkeep is killed under load; of replicas, a twelfth") //nolint:gochecknoglobals // a flag of the test

// carriedOnWithin is how long after its start an upkeep may take to carry on what
// the one before left in the middle.
const carriedOnWithin = 2 * time.Second

// A life is one upkeep, from its start to its kill.
type life struct {
	begun, killed time.Time
	inStep        bool // it was killed when it had begun a step, and may have had no time for more
}

// upkeep is killed with SIGKILL at random moments, while tables fall damaged as fast
// as they are repaired and three Alertmanagers deliver the alerts. In the end no alert
// that was acknowledged is lost, the server's log says that each table was repaired
// once, no run hangs, and each start carried on at once.
func TestKilledUnderLoad(t *testing.T) {
	w := newWorkload(t)
	address := freeAddress(t)
	w.configure(t, w.dir, address, "")
	w.behind.Store(&[]string{address})
	stop := w.load(t)
	log := w.keepLog(t)
	var lives []life
	for n := range *killsUnderLoad {
		// A start takes 150 ms, and longer on a machine that is busy.
		live := rand.N(1100 * time.Millisecond)
		if n%10 == 9 {
			live += carriedOnWithin // long enough to see all carried on
		}
		lives = append(lives, w.live(t, log, live, n%4 == 1))
	}
	stop()
	lives = append(lives, life{begun: time.Now()})
	last := w.serve(t, w.dir, log)
	t.Cleanup(func() { _ = last.Process.Kill() }) // where the test did not end it
	w.awaitQuiet(t, address)
	t.Log(w.command(t, address, "journal", "verify"))
	t.Log(w.command(t, address, "journal", "replay"))
	end(t, last)
	lives[len(lives)-1].killed = time.Now()
	s, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(w.dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // read only
	w.settle(t, s)
	carriedOn(t, entries(t, s), lives)
}

// live starts an upkeep and kills it after a while, and in a step only when it has begun
// one, which a busy machine may not let it do in that time.
func (w *workload) live(t *testing.T, log *os.File, long time.Duration, inStep bool) (l life) {
	t.Helper()
	l.begun, l.inStep = time.Now(), inStep
	before := begun(t, log.Name())
	cmd := w.serve(t, w.dir, log)
	time.Sleep(long)
	for end := time.Now().Add(20 * time.Second); inStep && begun(t, log.Name()) == before && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // as in moment
	}
	l.killed = time.Now()
	kill(t, cmd)
	return l
}

// kill kills a process, which must not have ended by itself.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatalf("it ended by itself: %v", err)
	}
	if state := cmd.Wait(); state == nil || !strings.Contains(state.Error(), "killed") {
		t.Fatalf("it was not killed but ended: %v", state)
	}
}

// end stops a process, which must end well.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("upkeep was asked to stop: %v", err)
	}
}

// A second upkeep on the folder of another one is refused, and says what to do.
// The folder of one that was killed is free at once.
func TestSecondIsRefused(t *testing.T) {
	dir := t.TempDir()
	first, second := site{dir: dir, address: freeAddress(t)}, freeAddress(t)
	for file, address := range map[string]string{"upkeep.yaml": first.address, "second.yaml": second} {
		write(t, filepath.Join(dir, file),
			fmt.Sprintf("data_dir: data\nweb: {listen: %q}\nembedded: {enabled: false}\ntargets: {host: [{name: "+
				"here}]}\ncollectors: {settings: {host/updates: {disabled: true}}}\n", address))
	}
	cmd := spawn(t, dir, "upkeep", "serve", "--config", "upkeep.yaml")
	first.awaitReady(t)
	out, err := exec.CommandContext(t.Context(), "upkeep", "serve", "--config", filepath.Join(dir, "second.yaml")).
		CombinedOutput()
	const want = "data is in use by another upkeep; stop that one, or give this one a data_dir of its own"
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.ExitCode() != int(exitFault) ||
		!strings.Contains(string(out), want) {
		t.Errorf("%v, %q; want exit status 6 and %q", err, out, want)
	}
	kill(t, cmd)
	spawn(t, dir, "upkeep", "serve", "--config", "second.yaml")
	(&site{address: second}).awaitReady(t)
}

// carriedOn measures by the journal how long after each start the runs went on
// that the kill before had met in the middle of a step.
func carriedOn(t *testing.T, all []remediate.Entry, lives []life) {
	t.Helper()
	middle := make(map[int64]bool) // runs in the middle of a step
	var took []time.Duration
	met, unseen := 0, 0
	for n, l := range lives {
		left := maps.Clone(middle)
		for len(all) > 0 && (n == len(lives)-1 || all[0].At.Before(lives[n+1].begun)) {
			e := all[0]
			all = all[1:]
			if left[e.Run] {
				took = append(took, e.At.Sub(l.begun))
				delete(left, e.Run)
			}
			if delete(middle, e.Run); e.Step != 0 && !e.Done {
				middle[e.Run] = true
			}
		}
		if len(middle) > 0 {
			met++
		}
		unseen += len(left)
		if lived := l.killed.Sub(l.begun); lived > carriedOnWithin && !l.inStep && len(left) > 0 {
			t.Errorf("%d runs were not carried on within the %s of life %d", len(left), lived, n+1)
		}
	}
	slices.Sort(took)
	if met == 0 || len(took) == 0 {
		t.Fatal("no kill met a step in the middle: the test shows nothing")
	}
	// One in a hundred may meet a machine that is busy with something else.
	usual, most := took[(len(took)-1)*99/100], took[len(took)-1]
	limit := carriedOnWithin
	if len(lives) <= 1000 { // "make kills" measures; "make test" shares the machine with other tests
		limit = time.Minute
	}
	if usual > limit {
		t.Errorf("a run was carried on only %s after the start, and at most %s", usual, most)
	}
	t.Logf("%d kills, of which %d met steps in the middle; %d steps were carried on, p50 %s, p99 %s and at most %s "+
		"after the start; %d were killed again before",
		len(lives)-1, met, len(took), took[len(took)/2].Round(time.Millisecond), usual.Round(time.Millisecond),
		most.Round(time.Millisecond), unseen)
}
