package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/ai-micro-service/upkeep/collectors/logs/share"
	"github.com/ai-micro-service/upkeep/collectors/logs/top"
	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// Options say what is counted of a log.
type Options struct {
	Fields Fields
	Slow   time.Duration // a request that takes longer is slow
	Since  time.Time     // lines before it are passed over; zero: none is
	Plain  bool          // the files have the lines as they were written; Since does not apply to them
}

// A Report is what the lines of some logs say.
type Report struct {
	Lines     uint64        `json:"lines"`
	NotJSON   uint64        `json:"not_json"`
	Errors    uint64        `json:"errors"`
	Requests  uint64        `json:"requests"`
	Slow      uint64        `json:"slow"`
	Templates []Frequent    `json:"error_templates"`
	Endpoints []Frequent    `json:"endpoints"`
	Slowest   []Frequent    `json:"slow_endpoints"` // by how often they were slow
	P50       time.Duration `json:"p50"`            // of requests; 0 when none was timed
	P95       time.Duration `json:"p95"`
	P99       time.Duration `json:"p99"`
}

// A Frequent is one of the most frequent.
type Frequent struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
	Over  uint64 `json:"over,omitempty"` // Count may be too large by so much
}

const chunk = 128 << 10 // what is read at once

// Analyze reads log files of Docker's json-file driver from their beginning, or plain ones, and
// those that gzip has compressed.
func Analyze(ctx context.Context, files []string, o Options) (*Report, error) {
	work := make(chan func() (*tally, error))
	var faults []error
	total := newTally(o.Slow.Seconds() * 1000)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for do := range work {
				t, err := do()
				mu.Lock()
				if t != nil {
					total.merge(t)
				}
				if err != nil {
					faults = append(faults, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, file := range files {
		parts, err := split(file, o)
		if err != nil {
			mu.Lock()
			faults = append(faults, err)
			mu.Unlock()
		}
		for _, p := range parts {
			work <- func() (*tally, error) { return read(ctx, p, o) }
		}
	}
	close(work)
	workers.Wait()
	return total.report(), errors.Join(faults...)
}

// split cuts a file into pieces.
func split(file string, o Options) ([]share.Part, error) {
	f, err := files.Open(file)
	if err != nil {
		return nil, err
	}
	mark := make([]byte, 2)
	_, _ = f.ReadAt(mark, 0) // a shorter one has no mark
	_ = f.Close()            // read only
	if string(mark) == "\xff\xfe" || string(mark) == "\xfe\xff" {
		return nil, fmt.Errorf("%s: it is UTF-16, which is not read; convert it: iconv -f UTF-16 -t UTF-8", file)
	}
	return share.Split(file, o.Plain)
}

// read reads a piece of a file.
func read(ctx context.Context, p share.Part, o Options) (*tally, error) {
	f, err := files.Open(p.File)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	var in io.Reader = io.NewSectionReader(f, p.From, p.To-p.From)
	if strings.HasSuffix(p.File, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", p.File, err)
		}
	}
	t := newTally(o.Slow.Seconds() * 1000)
	c := counter{reader: reader{fields: o.Fields, raw: o.Plain}, tally: t}
	if !o.Since.IsZero() && !o.Plain {
		c.since = []byte(o.Since.UTC().Format("2006-01-02T15:04:05"))
	}
	if _, err = c.Take(ctx, in, true); err != nil {
		return t, fmt.Errorf("%s: %w", p.File, err)
	}
	c.finish()
	if c.cut > 0 {
		err = fmt.Errorf("%s: %d lines are longer than %d MiB; of each, only the beginning and the end were read",
			p.File, c.cut, lineMost>>20)
	}
	return t, err
}

// A counter counts what it reads.
type counter struct {
	reader reader
	tally  *tally
	since  []byte // lines before are passed over; nil: none is
	rec    record
	buf    []byte

	long []byte // the beginning of a line that is too long for the buffer; nil: none is being read
	end  []byte // the end of what was read of it
	cut  int    // lines that were too long
}

// lineMost is how long a line of a file may be to be read as a whole: the driver's are much
// shorter.
const lineMost = 4 << 20

// Take counts lines to the end of in, and returns how many bytes they were. A
// line without a line feed at the end counts only where the end is the last.
func (c *counter) Take(ctx context.Context, in io.Reader, last bool) (done int64, err error) {
	if c.buf == nil {
		c.buf = make([]byte, chunk)
	}
	held := 0 // bytes at the beginning of the buffer that are no whole line yet
	for {
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		n, err := in.Read(c.buf[held:])
		rest := c.buf[:held+n]
		for {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			c.line(rest[:i])
			rest = rest[i+1:]
			done += int64(i) + 1
		}
		if len(rest) > 0 && rest[0] == 0 { // a hole, as truncation under a writer leaves it
			whole := len(rest)
			rest = bytes.TrimLeft(rest, "\x00")
			done += int64(whole - len(rest))
		}
		if c.long != nil || len(rest) >= lineMost {
			c.lengthen(rest)
			done += int64(len(rest))
			rest = nil
		}
		switch {
		case errors.Is(err, io.EOF):
			if last && (len(rest) > 0 || c.long != nil) {
				c.line(rest)
				done += int64(len(rest))
			}
			return done, nil
		case err != nil:
			return done, err
		}
		if held = copy(c.buf, rest); held == len(c.buf) {
			c.buf = append(c.buf, make([]byte, len(c.buf))...)
		}
	}
}

// lengthen keeps the beginning and the end of a line that is too long.
func (c *counter) lengthen(b []byte) {
	if c.long == nil {
		c.long, c.end = append(make([]byte, 0, longest), b[:longest]...), []byte{}
	}
	if c.end = append(c.end, b[max(len(b)-piece, 0):]...); len(c.end) > 2*piece {
		c.end = append(c.end[:0], c.end[len(c.end)-piece:]...)
	}
}

func (c *counter) line(b []byte) {
	if c.long != nil {
		c.lengthen(b)
		c.rec = record{}
		c.reader.whole(0, c.long, c.end, &c.rec)
		c.tally.add(&c.rec)
		c.long, c.end = nil, nil
		c.cut++
		return
	}
	if c.since != nil && before(b, c.since) {
		return
	}
	if c.reader.line(b, &c.rec) {
		c.tally.add(&c.rec)
	}
}

// Recall reads lines that were counted before, so that what follows belongs to them.
func (c *counter) Recall(text []byte) {
	counted := c.tally
	c.tally = newTally(counted.slowest)
	_, _ = c.Take(context.Background(), bytes.NewReader(text), true) // it reads from memory
	c.tally = counted
}

// finish counts the traces that no line has ended.
func (c *counter) finish() {
	for stream := range c.reader.traces {
		if template := c.reader.finish(stream); len(template) > 0 {
			c.tally.fail(template)
		}
	}
}

// before reports whether a line of the file says that it was written earlier.
func before(b, since []byte) bool {
	const name = `"time":"`
	i := bytes.LastIndex(b[max(len(b)-64, 0):], []byte(name))
	if i < 0 {
		return false
	}
	at := b[max(len(b)-64, 0)+i+len(name):]
	return len(at) >= len(since) && bytes.Compare(at[:len(since)], since) < 0
}

// reported is how many of each a report has.
const reported = 50

func (t *tally) report() *Report {
	r := &Report{Lines: t.lines, NotJSON: t.broken, Errors: t.errors, Requests: t.requests, Slow: t.slow}
	r.Templates = frequent(t.templates.Sorted(), func(e *top.Entry) uint64 { return e.Count })
	endpoints := t.endpoints.Sorted()
	r.Endpoints = frequent(endpoints, func(e *top.Entry) uint64 { return e.Count })
	slices.SortStableFunc(endpoints, func(a, b *top.Entry) int { return int(b.Slow) - int(a.Slow) })
	r.Slowest = frequent(endpoints, func(e *top.Entry) uint64 { return e.Slow })
	r.P50, r.P95, r.P99 = t.durations.Quantile(0.5), t.durations.Quantile(0.95), t.durations.Quantile(0.99)
	return r
}

func frequent(all []*top.Entry, count func(*top.Entry) uint64) (out []Frequent) {
	for _, e := range all[:min(len(all), reported)] {
		if n := count(e); n > 0 {
			out = append(out, Frequent{e.Name, n, min(e.Over, n)})
		}
	}
	return out
}
