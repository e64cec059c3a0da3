package app_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A proxy is in front of a server and does what its mode says.
type proxy struct {
	address, to string
	mode        atomic.Value
	mu          sync.Mutex
	open        map[net.Conn]bool
}

func standBefore(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), to: to, open: make(map[net.Conn]bool)}
	p.mode.Store("pass")
	t.Cleanup(func() { _ = l.Close(); p.hangUp() }) // ends what follows
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// turn changes the mode and ends what was under way in another.
func (p *proxy) turn(mode string) {
	p.mode.Store(mode)
	p.hangUp()
}

func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close() // that is the point
	}
}

func (p *proxy) keep(c net.Conn) (forget func()) {
	p.mu.Lock()
	p.open[c] = true
	p.mu.Unlock()
	return func() {
		_ = c.Close() // it may be closed already
		p.mu.Lock()
		delete(p.open, c)
		p.mu.Unlock()
	}
}

func (p *proxy) serve(c net.Conn) {
	defer p.keep(c)()
	mode := p.mode.Load().(string)
	if mode == "hang" {
		_, _ = io.Copy(io.Discard, c) // until it hangs up
		return
	}
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer p.keep(server)()
	go func() { _, _ = io.Copy(server, c); _ = server.Close() }() // one direction is as it is
	buf := make([]byte, 4096)
	for sent := 0; ; {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		switch b := buf[:n]; mode {
		case "slow":
			for i := range b {
				time.Sleep(20 * time.Millisecond)
				if _, err := c.Write(b[i : i+1]); err != nil {
					return
				}
			}
		case "drop":
			// A login is less, and a login with any answer more: what is asked fails each time.
			if sent += n; sent > 500 {
				_, _ = c.Write(b[:n/2]) // and no more
				return
			}
			_, err = c.Write(b)
		case "nonsense":
			for i := range b {
				b[i] = byte(rand.IntN(256))
			}
			_, err = c.Write(b)
		default:
			_, err = c.Write(b)
		}
		if err != nil {
			return
		}
	}
}

// One target of each kind is well, another is behind a proxy that hangs, is
// slow, drops answers in the middle and talks nonsense. The others are asked on
// time, scrapes are answered at once, unknown values are not exported, memory does
// not grow, and when the fault is over nothing is left of it.
func TestFaults(t *testing.T) {
	good := servertest.Postgres(t)
	u, err := url.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	cache := servertest.Redis(t)
	postgres, redis := standBefore(t, u.Host), standBefore(t, fmt.Sprintf("127.0.0.1:%d", cache.Port))
	dir := t.TempDir()
	text := fmt.Appendf(nil, `data_dir: %q
web: {listen: "127.0.0.1:0"}
targets:
  postgres: [{name: well, url: %q}, {name: sick, url: %q}]
  redis: [{name: well, url: %q}, {name: sick, url: "redis://%s"}]
collectors: {interval: 200ms, settings: {%s}}
embedded: {enabled: false}
`, filepath.Join(dir, "data"), good, strings.Replace(good, u.Host, postgres.address, 1), cache.URL, redis.address, patience())
	c, err := config.Parse("test", text, app.Known())
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), c, app.Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	running(t, a)
	l := &life{url: "http://" + a.Addr(), admin: admin(t, a)}
	scrape := func() (text string, took time.Duration) {
		t.Helper()
		began := time.Now()
		_, text = l.send(t, "GET", "/metrics", "", "")
		return text, time.Since(began)
	}
	up := func(kind string, v int) string { return fmt.Sprintf("upkeep_%s_up{server=\"sick\"} %d\n", kind, v) }
	await := func(what string, is func(text string) bool) {
		t.Helper()
		var text string
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if text, _ = scrape(); is(text) {
				return
			}
		}
		t.Fatalf("never: %s", what)
	}
	well := func(text string) bool {
		return strings.Contains(text, up("postgres", 1)) && strings.Contains(text, up("redis", 1)) &&
			strings.Contains(text, `upkeep_redis_memory_used_bytes{server="sick"}`) &&
			strings.Contains(text, `upkeep_postgres_connections_max{server="sick"}`)
	}
	await("all is well", well)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var first uint64
	for round := range 3 {
		for _, mode := range []string{"hang", "drop", "nonsense", "slow"} {
			postgres.turn(mode)
			redis.turn(mode)
			await(mode+": unknown values are not exported", func(text string) bool {
				return strings.Contains(text, up("postgres", 0)) && strings.Contains(text, up("redis", 0)) &&
					!strings.Contains(text, `upkeep_redis_memory_used_bytes{server="sick"}`) &&
					!strings.Contains(text, `upkeep_postgres_connections_max{server="sick"}`)
			})
			undisturbed(t, scrape, mode)
		}
		postgres.turn("pass")
		redis.turn("pass")
		await("all is well again", well)
		now := heap()
		if round == 0 {
			first = now
		} else if now > first+8<<20 {
			t.Errorf("round %d: the heap has grown from %d to %d bytes", round, first, now)
		}
	}
}

// patience gives each collector two seconds for its answer.
func patience() string {
	var all []string
	for _, name := range app.Known().Collectors {
		all = append(all, name+": {timeout: 2s}")
	}
	return strings.Join(all, ", ")
}

// undisturbed waits until several scrapes in a row were answered at once and say that the
// target that is well was asked in time. A busy machine makes one late now and then, and
// a target that disturbs another all of them.
func undisturbed(t *testing.T, scrape func() (string, time.Duration), mode string) {
	t.Helper()
	var late []string
	for end, streak := time.Now().Add(2*time.Minute), 0; streak < 10; time.Sleep(50 * time.Millisecond) {
		text, took := scrape()
		if late = lateness(t, text); took > 1500*time.Millisecond {
			late = append(late, fmt.Sprintf("a scrape took %s", took))
		}
		if streak++; len(late) > 0 {
			streak = 0
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %s", mode, strings.Join(late, "; "))
		}
	}
}

// lateness says what is missing in a scrape of the target that is well, and what is old in it.
func lateness(t *testing.T, text string) (late []string) {
	t.Helper()
	for collector, metric := range map[string]string{"redis/memory": "upkeep_redis_memory_used_bytes",
		"postgres/activity": "upkeep_postgres_connections_max"} {
		of := `{collector="` + collector + `",server="well"} `
		if !strings.Contains(text, "upkeep_collector_success"+of+"1") {
			late = append(late, collector+" has failed")
		} else if !strings.Contains(text, metric+`{server="well"}`) {
			t.Errorf("%s has answered, and %s is not there", collector, metric)
		}
		_, rest, _ := strings.Cut(text, "upkeep_collector_last_success_timestamp_seconds"+of)
		var at float64
		if _, err := fmt.Sscan(rest, &at); err != nil {
			late = append(late, collector+" has never answered")
		} else if age := float64(time.Now().UnixMilli())/1000 - at; age > 4 {
			late = append(late, fmt.Sprintf("%s has answered %.1f s ago", collector, age))
		}
	}
	return late
}
