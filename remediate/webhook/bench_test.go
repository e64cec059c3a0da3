package webhook_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

const (
	clients = 64
	steady  = 1000 // posts a second
)

// alone lets one delivery through at a time, so that each has a transaction of its own.
type alone struct {
	mu sync.Mutex
	*inbox.Inbox
}

func (a *alone) Accept(ctx context.Context, alerts []remediate.Alert) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Inbox.Accept(ctx, alerts)
}

// BenchmarkWebhook posts alerts that open an incident each over HTTP on the
// loopback to a store that is on disk before the answer: as fast as 64 clients
// can, beside the same with one transaction each, and at a steady rate. With
// -benchtime 1x each part lasts for its own time.
func BenchmarkWebhook(b *testing.B) {
	const long = 2 * time.Second
	var serial atomic.Int64
	b.Run("64 clients", func(b *testing.B) {
		grouped, naive := newTarget(b, &serial, false), newTarget(b, &serial, true)
		var ours, theirs load
		for b.Loop() {
			for range 3 { // in turns, since the machine's own pace drifts
				ours.add(grouped.flood(b, long))
				theirs.add(naive.flood(b, long))
			}
		}
		b.ReportMetric(0, "ns/op")
		ours.report(b, "")
		theirs.report(b, "naive-")
		b.ReportMetric(ours.rate()/theirs.rate(), "times-naive")
		b.ReportMetric(float64(ours.quantile(0.99))/float64(theirs.quantile(0.99)), "p99-to-naive")
	})
	b.Run("steady", func(b *testing.B) {
		t := newTarget(b, &serial, false)
		var l load
		for b.Loop() {
			l.add(t.steady(b, 3*long))
		}
		b.ReportMetric(0, "ns/op")
		l.report(b, "")
	})
	b.Run("saturated", func(b *testing.B) {
		t := newTarget(b, &serial, false)
		var taken, refused load
		for b.Loop() {
			y, n := t.saturate(b, long)
			taken.add(y)
			refused.add(n)
		}
		b.ReportMetric(0, "ns/op")
		taken.report(b, "")
		if len(refused.took) == 0 {
			b.Fatal("no delivery was refused")
		}
		b.ReportMetric(float64(len(refused.took))/refused.lasted.Seconds(), "refusals/s")
		b.ReportMetric(ms(refused.quantile(0.5)), "refusal-p50-ms")
		b.ReportMetric(ms(refused.quantile(0.99)), "refusal-p99-ms")
	})
}

// A load is what came of many posts.
type load struct {
	took   []time.Duration
	lasted time.Duration
	cpu    time.Duration // of the process, the clients included
}

func (l *load) add(m load) {
	l.took, l.lasted, l.cpu = append(l.took, m.took...), l.lasted+m.lasted, l.cpu+m.cpu
	slices.Sort(l.took)
}

func (l *load) rate() float64 { return float64(len(l.took)) / l.lasted.Seconds() }

func (l *load) quantile(q float64) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	return l.took[int(q*float64(len(l.took)-1))]
}

// cpu returns how long the process has kept processors busy.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (l *load) report(b *testing.B, prefix string) {
	b.ReportMetric(l.rate(), prefix+"posts/s")
	b.ReportMetric(ms(l.quantile(0.5)), prefix+"p50-ms")
	b.ReportMetric(ms(l.quantile(0.99)), prefix+"p99-ms")
	b.ReportMetric(float64(l.cpu.Microseconds())/float64(len(l.took)), prefix+"cpu-µs/post")
}

// A target is a webhook that is served.
type target struct {
	address string
	serial  *atomic.Int64
}

func newTarget(b *testing.B, serial *atomic.Int64, naive bool) *target {
	b.Helper()
	d := open(b)
	var to webhook.Inbox = d.inbox
	if naive {
		to = &alone{Inbox: d.inbox}
	}
	server := httptest.NewServer(webhook.New(webhook.Config{Inbox: to, Logger: slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry()}))
	b.Cleanup(server.Close)
	return &target{address: server.Listener.Addr().String(), serial: serial}
}

// A client posts over one connection and does little else: the machine is the
// server's.
type client struct {
	to   *target
	conn net.Conn
	read *bufio.Reader
}

func (t *target) client(b *testing.B) *client {
	b.Helper()
	conn, err := net.Dial("tcp", t.address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() }) // everything was read
	return &client{to: t, conn: conn, read: bufio.NewReader(conn)}
}

// post sends an alert that was never sent before, of the usual size.
func (c *client) post() (status int, err error) {
	body := message(strings.Replace(alert, `"table":"t"`,
		fmt.Sprintf(`"severity":"warning","server":"main","database":"app","schema":"public","table":"t%d"`,
			c.to.serial.Add(1)), 1))
	if _, err := fmt.Fprintf(c.conn, "POST /webhook/alertmanager HTTP/1.1\r\nHost: upkeep\r\nContent-Type: "+
		"application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		return 0, err
	}
	line, err := c.read.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(string(line), "HTTP/1.1 %d", &status); err != nil {
		return 0, err
	}
	length := 0
	for len(line) > 2 {
		if line, err = c.read.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if n, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if _, err := fmt.Sscan(n, &length); err != nil {
				return 0, err
			}
		}
	}
	_, err = io.CopyN(io.Discard, c.read, int64(length))
	return status, err
}

// all runs many clients at once, when each is connected, and gathers what each of
// them was answered and when.
func (t *target) all(b *testing.B, n int, run func(c *client, begun time.Time,
	add func(status int, took time.Duration)) error) (taken, refused load) {
	b.Helper()
	var mu sync.Mutex
	var posting sync.WaitGroup
	all := make([]*client, n)
	for i := range all {
		all[i] = t.client(b)
	}
	begun, used := time.Now(), cpu(b)
	for _, c := range all {
		posting.Go(func() {
			var y, no []time.Duration
			err := run(c, begun, func(status int, took time.Duration) {
				if status == http.StatusOK {
					y = append(y, took)
				} else {
					no = append(no, took)
				}
			})
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			taken.took, refused.took = append(taken.took, y...), append(refused.took, no...)
		})
	}
	posting.Wait()
	taken.lasted, taken.cpu = time.Since(begun), cpu(b)-used
	refused.lasted = taken.lasted
	return taken, refused
}

// flood posts from each client as fast as it is answered.
func (t *target) flood(b *testing.B, long time.Duration) load {
	b.Helper()
	taken, refused := t.all(b, clients, func(c *client, begun time.Time, add func(int, time.Duration)) error {
		for time.Since(begun) < long {
			sent := time.Now()
			status, err := c.post()
			if err != nil {
				return err
			}
			add(status, time.Since(sent))
		}
		return nil
	})
	if len(refused.took) > 0 {
		b.Errorf("%d of %d were refused", len(refused.took), len(taken.took))
	}
	return taken
}

// steady posts so many a second, whatever the answers take: what waits for a
// client that is still busy counts from when it should have been sent.
func (t *target) steady(b *testing.B, long time.Duration) load {
	b.Helper()
	due := make(chan time.Time, steady)
	connected := make(chan time.Time, clients)
	go func() {
		defer close(due)
		begun := <-connected
		for n := range int(steady * long.Seconds()) {
			at := begun.Add(time.Duration(n) * time.Second / steady)
			time.Sleep(time.Until(at))
			due <- at
		}
	}()
	taken, refused := t.all(b, clients, func(c *client, begun time.Time, add func(int, time.Duration)) error {
		connected <- begun
		for at := range due {
			status, err := c.post()
			if err != nil {
				return err
			}
			add(status, time.Since(at))
		}
		return nil
	})
	if len(refused.took) > 0 {
		b.Errorf("%d of %d were refused", len(refused.took), len(taken.took))
	}
	return taken
}

// saturate posts from twice as many clients as may wait. Who is refused comes back
// after half a second, as Alertmanager does.
func (t *target) saturate(b *testing.B, long time.Duration) (taken, refused load) {
	b.Helper()
	return t.all(b, 2*256, func(c *client, begun time.Time, add func(int, time.Duration)) error {
		for time.Since(begun) < long {
			sent := time.Now()
			status, err := c.post()
			if err != nil {
				return err
			}
			add(status, time.Since(sent))
			switch status {
			case http.StatusOK:
			case http.StatusServiceUnavailable:
				time.Sleep(500 * time.Millisecond)
			default:
				return errors.New(http.StatusText(status))
			}
		}
		return nil
	})
}
