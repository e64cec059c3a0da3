package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

const (
	// What the webhook has to reach beside commit f399053 and beside one transaction each.
	fasterThanBefore = 1.5
	p99ToBefore      = 0.7
	fasterThanSingle = 3.5

	// The rounds are short and many: other work on the machine disturbs neighbours alike.
	webhookRounds = 64 // of each contender; the first find stores that are empty and code that is cold
	webhookWarm   = 4
	webhookRound  = 400 * time.Millisecond

	// boundless is more than the bench delivers.
	boundless = 1 << 30
)

// single is a server in a process of its own whose deliveries have a transaction each: all else
// of an upkeep is left out, so it does less.
type single struct {
	mu sync.Mutex
	*inbox.Inbox
}

// Accept implements webhook.Inbox.
func (s *single) Accept(ctx context.Context, alerts []remediate.Alert) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Inbox.Accept(ctx, alerts)
}

// serveSingle is the main function of that process: its folder and address are its arguments.
func serveSingle() {
	db, err := store.Open(context.Background(), store.Options{Dir: os.Args[1]})
	if err == nil {
		mux := http.NewServeMux()
		mux.Handle("/webhook/alertmanager", webhook.New(webhook.Config{
			Inbox: &single{Inbox: inbox.New(inbox.Config{Store: db, Limits: inbox.Limits{All: boundless, PerAlert: boundless}})}, Logger: slog.New(slog.DiscardHandler),
			Registerer: prometheus.NewRegistry()}))
		mux.HandleFunc("/-/ready", func(http.ResponseWriter, *http.Request) {})
		err = (&http.Server{Addr: os.Args[2], Handler: mux, ReadHeaderTimeout: time.Minute}).ListenAndServe()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// BenchmarkWebhookProcesses delivers alerts from 64 clients to the upkeep that make build has
// built, to the one that make before has built, and to one with a transaction for each delivery,
// in turns. Each keeps them in SQLite with synchronous=FULL before it answers. With
// BEFORE=f399053 it fails where the figures that issue 15 asks for are not reached.
func BenchmarkWebhookProcesses(b *testing.B) {
	dir := b.TempDir()
	var all [3]contender
	for i, name := range []string{"upkeep", "upkeep-before"} {
		binary, address := built(b, name), fmt.Sprintf("127.0.0.1:1987%d", i)
		text := fmt.Sprintf("data_dir: %s\nweb: {listen: '%s'}\ntargets: {host: [{name: here}]}\n"+
			"embedded: {enabled: false}\n", name, address)
		if name == "upkeep" { // the commits before 0027 know no bounds
			text += fmt.Sprintf("engine: {max_incidents: %d, max_incidents_per_alert: %[1]d}\n", boundless)
		}
		if err := makeToken(filepath.Join(dir, name)); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		all[i] = contender{name, [][]string{{binary, "serve", "--config", name + ".yaml"}}, []string{address}, nil}
	}
	all[2] = contender{"single", [][]string{{found(b, "upkeep-single"), filepath.Join(dir, "single"),
		"127.0.0.1:19872"}}, []string{"127.0.0.1:19872"}, nil}
	if err := os.Mkdir(filepath.Join(dir, "single"), 0o700); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		compareWebhooks(b, dir, all)
	}
}

// compareWebhooks floods the contenders in turns: their order changes with each round, since the
// machine's own pace drifts and what one leaves behind slows the next.
func compareWebhooks(b *testing.B, dir string, all [3]contender) {
	b.Helper()
	var serial atomic.Int64
	var rates [3][]float64
	var took [3][]time.Duration
	var cpu [3]func() time.Duration
	var pids [3]int
	for i, c := range all {
		stop, pid := c.started(b, dir)
		defer stop()
		pids[i] = pid
		begun := processorTime(b, pid)
		cpu[i] = func() time.Duration { return processorTime(b, pid) - begun }
	}
	var posted [3]int
	for round := range sized(webhookRounds, webhookWarm+1) {
		for turn := range all {
			i := (turn + round) % len(all)
			posts, lasted := floodTimed(b, all[i].ready[0], &serial, webhookRound)
			settle(b, pids[i]) // what it does afterwards is no load on the next one
			posted[i] += len(posts)
			if round >= webhookWarm {
				rates[i] = append(rates[i], float64(len(posts))/lasted.Seconds())
				took[i] = append(took[i], posts...)
			}
		}
	}
	var p99 [3]time.Duration
	for i, c := range all {
		slices.Sort(took[i])
		p99[i] = took[i][len(took[i])*99/100]
		b.ReportMetric(medianOf(rates[i]), c.name+"-posts/s")
		b.ReportMetric(float64(p99[i].Microseconds())/1000, c.name+"-p99-ms")
		b.ReportMetric(float64(cpu[i]().Microseconds())/float64(posted[i]), c.name+"-cpu-µs/post")
	}
	toBefore, toSingle := ratios(rates[0], rates[1]), ratios(rates[0], rates[2])
	tail := float64(p99[0]) / float64(p99[1])
	b.ReportMetric(medianOf(toBefore), "times-before")
	b.ReportMetric(tail, "p99-to-before")
	b.ReportMetric(medianOf(toSingle), "times-single")
	b.ReportMetric(0, "ns/op") // says nothing here
	b.Logf("each round, to before %.2f, to one transaction each %.2f", toBefore, toSingle)
	b.Logf("%.2f × before, p99 %.2f ×, %.2f × one transaction each; processor time of a delivery %v, before %v",
		medianOf(toBefore), tail, medianOf(toSingle), cpu[0]()/time.Duration(posted[0]), cpu[1]()/time.Duration(posted[1]))
	if os.Getenv("BEFORE") == "f399053" && (medianOf(toBefore) < fasterThanBefore || tail > p99ToBefore ||
		medianOf(toSingle) < fasterThanSingle) {
		b.Errorf("want %.1f × before, p99 %.1f × at most, %.1f × one transaction each", fasterThanBefore, p99ToBefore,
			fasterThanSingle)
	}
}

// settle waits until a process has little to do.
func settle(b *testing.B, pid int) {
	b.Helper()
	const look, little = 100 * time.Millisecond, 10 * time.Millisecond
	for before := processorTime(b, pid); ; {
		time.Sleep(look)
		now := processorTime(b, pid)
		if now-before <= little {
			return
		}
		before = now
	}
}

// processorTime is how long a process has kept processors busy.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		b.Fatal(err)
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // Linux counts hundredths
}

func ratios(a, b []float64) (all []float64) {
	for i := range a {
		all = append(all, a[i]/b[i])
	}
	return all
}

func medianOf(all []float64) float64 { return middle(slices.Sorted(slices.Values(all))) }

// floodTimed delivers from 64 connections for a while and returns what each delivery took.
func floodTimed(b *testing.B, address string, serial *atomic.Int64, long time.Duration) ([]time.Duration,
	time.Duration) {
	b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var clients sync.WaitGroup
	begun := time.Now()
	for range 64 {
		clients.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = conn.Close() }() // everything was read
			read := bufio.NewReader(conn)
			var took []time.Duration
			for time.Since(begun) < long {
				sent := time.Now()
				if err := deliverLean(conn, read, serial.Add(1)); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(sent))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	clients.Wait()
	return all, time.Since(begun)
}

// deliverLean delivers an alert with little of the machine, which is the server's.
func deliverLean(conn io.Writer, read *bufio.Reader, n int64) error {
	if _, err := conn.Write(alertRequest(n)); err != nil {
		return err
	}
	line, err := read.ReadString('\n')
	if err != nil {
		return err
	}
	status, length := line, 0
	for len(line) > 2 {
		if line, err = read.ReadString('\n'); err != nil {
			return err
		}
		if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if _, err := fmt.Sscan(n, &length); err != nil {
				return err
			}
		}
	}
	if _, err := read.Discard(length); err != nil {
		return err
	}
	if *benchShort && strings.HasPrefix(status, "HTTP/1.1 503") {
		return nil // a machine that runs tests may be too busy for 64 clients
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200") {
		return errors.New(status)
	}
	return nil
}
