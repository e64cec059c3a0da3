package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// reviewFolder names the folder of an upkeep that announces a review and is killed: this test is a process of its own
// then.
const reviewFolder = "UPKEEP_TEST_REVIEW"

// TestMain is that upkeep, where the folder is set, or runs the tests.
func TestMain(m *testing.M) {
	if dir := os.Getenv(reviewFolder); dir != "" {
		if err := announceReviews(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// firstOfNextMonth is when the review of this month is announced.
func firstOfNextMonth() time.Time {
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month()+1, 1, 6, 5, 0, 0, time.UTC)
}

// announceReviews is an upkeep on the first of the next month.
func announceReviews(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	path := filepath.Join(dir, "upkeep.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	c, err := config.Parse(path, text, app.Known())
	if err != nil {
		return err
	}
	a, err := app.New(ctx, c, app.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Now: firstOfNextMonth})
	if err != nil {
		return err
	}
	fmt.Println("begins")
	return a.Run(ctx)
}

// A reviewed is a folder of an upkeep, and the place that it notifies.
type reviewed struct {
	dir      string
	answers  atomic.Bool
	asked    atomic.Int64
	accepted atomic.Int64
}

func newReviewed(t *testing.T) *reviewed {
	t.Helper()
	r := &reviewed{dir: t.TempDir()}
	place := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		text, err := io.ReadAll(q.Body)
		if err != nil || !strings.Contains(string(text), "Review of") {
			return
		}
		r.asked.Add(1)
		if !r.answers.Load() { // it is killed before it knows
			<-q.Context().Done()
			return
		}
		r.accepted.Add(1)
	}))
	t.Cleanup(place.Close)
	for name, text := range map[string]string{"place": place.URL, "upkeep.yaml": fmt.Sprintf(`data_dir: %[1]s/data
web: {listen: "127.0.0.1:0"}
report: {monthly: true}
store: {retention: 1s}
engine: {flap: 1s}
targets: {host: [{name: here}]}
collectors: {settings: {host/updates: {disabled: true}}}
embedded: {enabled: false}
notify: {places: [{name: all, kind: webhook, url_file: %[1]s/place}]}
`, r.dir)} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// open calls a function with the store, while no upkeep has it.
func (r *reviewed) open(t *testing.T, do func(*store.Store)) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(r.dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	do(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// begin starts an upkeep, and returns when it runs.
func (r *reviewed) begin(t *testing.T) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = said.Close() }() // the child has its own
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), self)
	cmd.Env, cmd.Stderr = append(os.Environ(), reviewFolder+"="+r.dir), said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "begins\n" {
		text, _ := os.ReadFile(said.Name())
		t.Fatalf("%q %v: %s", line, err, text)
	}
	return cmd
}

func (r *reviewed) kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // by that signal
}

// end lets an upkeep end, which stores what was delivered.
func (r *reviewed) end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// The review of a month is announced once, wherever upkeep is killed: before it is written down, before it is sent,
// while it is sent, and after it; also where the store keeps nothing for long. Of a month that upkeep knows nothing of
// none is announced.
func TestReviewIsAnnouncedOnceHoweverItIsKilled(t *testing.T) {
	t.Parallel()
	r := newReviewed(t)
	cmd := r.begin(t)
	servertest.Eventually(t, "it says that it knows nothing of the month", func() bool {
		text, err := os.ReadFile(filepath.Join(r.dir, "log"))
		return err == nil && strings.Contains(string(text), "no data of that month")
	})
	r.end(t, cmd)
	now := time.Now()
	r.open(t, func(s *store.Store) {
		if err := s.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("insert into incidents (id, key, alert, opened, seen, closed, name) "+
				"values (1, 'k', ?, ?, ?, 0, 'A')", `{"labels":{"alertname":"A"}}`, store.Millis(now), store.Millis(now))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
	for range 6 { // at any moment of its start
		cmd := r.begin(t)
		time.Sleep(rand.N(300 * time.Millisecond))
		r.kill(t, cmd)
	}
	cmd = r.begin(t) // while it is sent
	servertest.Eventually(t, "the review is sent", func() bool { return r.asked.Load() > 0 })
	r.kill(t, cmd)
	r.answers.Store(true)
	cmd = r.begin(t)
	servertest.Eventually(t, "the review is sent again", func() bool { return r.accepted.Load() > 0 })
	r.end(t, cmd)
	for range 4 { // after it
		cmd := r.begin(t)
		time.Sleep(rand.N(300 * time.Millisecond))
		r.kill(t, cmd)
	}
	r.end(t, r.begin(t))
	r.open(t, func(s *store.Store) {
		rows, err := s.Query(t.Context(), "select count(*), count(case when d.ended > 0 then 1 end) from notifications n "+
			"left join deliveries d on d.notification = n.id where n.key like 'report/%'")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }() // read only
		var written, delivered int
		if !rows.Next() || rows.Scan(&written, &delivered) != nil || written != 1 || delivered != 1 {
			t.Errorf("it was written down %d times, and %d are delivered (%v)", written, delivered, rows.Err())
		}
	})
	if n := r.accepted.Load(); n != 1 {
		t.Errorf("%d reviews came", n)
	}
}
