package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// maxStreamBytes is by how much the resident memory of upkeep may grow while people keep 500 pages open.
const maxStreamBytes = 100 << 20

// BenchmarkStreams opens the event streams of 500 pages on the upkeep that make build has built, lets something
// happen, and measures by how much its resident memory has grown when each page has heard of it.
func BenchmarkStreams(b *testing.B) {
	const address = "127.0.0.1:19880"
	dir := b.TempDir()
	text := "data_dir: data\nweb: {listen: '" + address + "'}\ntargets: {host: [{name: here}]}\n" +
		"embedded: {enabled: false}\n"
	if err := makeToken(filepath.Join(dir, "data")); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "upkeep.yaml"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	c := contender{"upkeep", [][]string{{built(b, "upkeep"), "serve"}}, []string{address}, nil}
	b.Run("outside", func(b *testing.B) {
		stop, pid := c.started(b, dir)
		defer stop()
		time.Sleep(settled())
		for i := range b.N {
			n, before := sized(500, 20), resident(b, pid)
			ctx, end := context.WithCancel(b.Context())
			pages := make([]*openPage, n)
			for i := range pages {
				pages[i] = open(ctx, b, address)
				pages[i].hears(b, "hello")
			}
			grown := resident(b, pid) - before
			began := time.Now()
			changed(b, address, i)
			for _, page := range pages {
				page.hears(b, "change")
			}
			b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-to-all")
			grown = max(grown, resident(b, pid)-before)
			end()
			b.ReportMetric(float64(grown)/1e6, "MB-grown")
			b.ReportMetric(0, "ns/op") // says nothing here
			if grown > maxStreamBytes {
				b.Errorf("%d event streams take %d MiB, want %d at most", n, grown>>20, maxStreamBytes>>20)
			}
		}
	})
}

// An openPage is the event stream of a page.
type openPage struct{ lines *bufio.Scanner }

// open opens one on a connection of its own, which ends with ctx.
func open(ctx context.Context, b *testing.B, address string) *openPage {
	b.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/events", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = res.Body.Close() }) // ctx has ended it
	if res.StatusCode != http.StatusOK {
		b.Fatalf("an event stream is answered with %s", res.Status)
	}
	return &openPage{bufio.NewScanner(res.Body)}
}

// hears reads up to an event. One of another kind in its place fails the benchmark.
func (p *openPage) hears(b *testing.B, want string) {
	b.Helper()
	for p.lines.Scan() {
		if event, ok := strings.CutPrefix(p.lines.Text(), "event: "); ok {
			if event != want {
				b.Fatalf("a page hears %q, want %q", event, want)
			}
			return
		}
	}
	b.Fatalf("an event stream ends before %q: %v", want, p.lines.Err())
}

// changed lets something happen that every page shows.
func changed(b *testing.B, address string, n int) {
	b.Helper()
	body := fmt.Sprintf(`{"scope":"all","reason":"a change, number %d"}`, n)
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+address+"/api/upkeep/v1/pauses",
		bytes.NewBufferString(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("a pause is answered with %s %v", res.Status, err)
	}
}
