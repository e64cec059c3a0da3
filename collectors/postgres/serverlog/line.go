package serverlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// longest is how much of a line is read: what is behind it is a statement's text.
	longest = 64 << 10

	// headLength is how much of a line may be in front of its message.
	headLength = 1 << 10
)

// A layout is how a server writes its log.
type layout struct {
	prefix *regexp.Regexp // of log_line_prefix
	zone   *time.Location // of log_timezone
}

// moment matches a time as PostgreSQL writes it.
const moment = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [^\s,]+`

// layoutOf understands log_line_prefix and log_timezone. Where the zone is not known, lines have no time.
func layoutOf(prefix, zone string) layout {
	l := layout{prefix: prefixed(prefix)}
	if loc, err := time.LoadLocation(zone); err == nil && zone != "" && zone != "Local" {
		l.zone = loc
	}
	return l
}

// prefixed is an expression for the beginning of a line. Each escape is one group at most; what comes after %q is
// left out by processes that serve no client.
func prefixed(format string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^")
	optional := false
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteString(regexp.QuoteMeta(format[i : i+1]))
			continue
		}
		padded := false
		for i++; i < len(format) && strings.IndexByte("-0123456789", format[i]) >= 0; i++ {
			padded = true
		}
		if i == len(format) {
			break
		}
		one := ".*?"
		switch format[i] {
		case '%':
			b.WriteString("%")
			continue
		case 'q':
			b.WriteString("(?:")
			optional = true
			continue
		case 'm', 't':
			one = "(?P<time>" + moment + ")"
		case 's':
			one = moment
		case 'n':
			one = `(?P<epoch>\d+\.\d+)`
		case 'e':
			one = "(?P<state>[0-9A-Z]{5})"
		case 'p', 'P', 'l', 'x', 'Q':
			one = `-?\d*`
		case 'a', 'u', 'd', 'r', 'h', 'b', 'i', 'c', 'v', 'L':
		default: // PostgreSQL leaves out what it does not know
			continue
		}
		if padded {
			one = " *" + one + " *"
		}
		b.WriteString(one)
	}
	if optional {
		b.WriteString(")?")
	}
	// An escape may be there twice, and a group only once has a name that is found: the first.
	re, err := regexp.Compile(b.String() + `(?P<severity>[\pL\d]+):  `)
	if err != nil {
		return nil
	}
	return re
}

// severities are those of which a line is counted. Others are of no interest.
func severities() []string { return []string{"ERROR", "FATAL", "PANIC", "WARNING", "LOG"} }

// generic matches a time in front of a message, whatever is around it.
var generic = regexp.MustCompile(moment) //nolint:gochecknoglobals // compiled once

// text reads one line of stderr. Where it has no time, it was written when the engine says.
func (l layout) text(line []byte, t *tally, written time.Time) {
	if len(line) == 0 || line[0] == '\t' { // it continues the one before
		return
	}
	severity, head, message, ok := split(line)
	if !ok {
		return
	}
	if severity == "LOG" && t.lines > 0 {
		if _, interesting := match(t.notes, message); !interesting {
			t.lines++
			return
		}
	}
	e := event{severity: severity, message: message}
	if e.at, e.state = l.head(line, head); e.at.IsZero() {
		e.at = written
	}
	t.saw(e.at)
	t.add(e)
}

// split finds the severity of a line: the first that is followed by a colon and two spaces.
func split(line []byte) (severity string, head []byte, message string, ok bool) {
	from := 0
	for from < min(len(line), headLength) {
		n := bytes.Index(line[from:min(len(line), headLength)], []byte(":  "))
		if n < 0 {
			return "", nil, "", false
		}
		end := from + n
		for _, s := range severities() {
			start := end - len(s)
			if start >= 0 && string(line[start:end]) == s && (start == 0 || !letter(line[start-1])) {
				return s, line[:start], string(line[end+len(":  "):]), true
			}
		}
		from = end + 1
	}
	return "", nil, "", false
}

func letter(b byte) bool { return b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '_' }

// head reads the time and the SQLSTATE in front of a message.
func (l layout) head(line, head []byte) (at time.Time, state string) {
	if l.prefix != nil {
		if m := l.prefix.FindSubmatch(line[:min(len(line), headLength)]); m != nil {
			for i, name := range l.prefix.SubexpNames() {
				switch {
				case len(m[i]) == 0:
				case name == "time" && at.IsZero():
					at = l.time(string(m[i]))
				case name == "epoch" && at.IsZero():
					at = epoch(string(m[i]))
				case name == "state" && state == "":
					state = string(m[i])
				}
			}
			return at, state
		}
	}
	return l.time(string(generic.Find(head))), "" // the prefix was another when it was written
}

func epoch(text string) time.Time {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || s < 0 || s > 1e11 {
		return time.Time{}
	}
	return time.UnixMilli(int64(s * 1000)).UTC()
}

// time reads a time with the short name of its zone. Of two times that have one name of an hour, as when clocks are
// set back, the zone's short name says which is meant.
func (l layout) time(text string) time.Time {
	local, short, _ := cutLast(text, ' ')
	if l.zone == nil || local == "" {
		return time.Time{}
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", local, l.zone)
	if err != nil {
		return time.Time{}
	}
	for _, other := range []time.Time{at, at.Add(time.Hour), at.Add(-time.Hour)} {
		if name, _ := other.Zone(); name == short && other.Format(time.DateTime) == at.Format(time.DateTime) {
			return other.UTC()
		}
	}
	return at.UTC()
}

func cutLast(text string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(text, sep); i >= 0 {
		return text[:i], text[i+1:], true
	}
	return text, "", false
}

// lines calls f with each line of a reader, as far as it is read, until the context is done. A line that has no end is
// being written. whole says that the first line is one; else it is left out.
func lines(ctx context.Context, r io.Reader, whole bool, f func(line []byte)) error {
	b := bufio.NewReaderSize(r, longest)
	for n := 0; ; n++ {
		line, err := b.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !long {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if whole || n > 0 {
			f(bytes.TrimRight(line, "\r\n"))
		}
		for long {
			_, err = b.ReadSlice('\n')
			long = errors.Is(err, bufio.ErrBufferFull)
		}
		if n%1000 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// stderr reads a log of lines. Those of the driver json-file of a container engine have them as strings.
func (l layout) stderr(ctx context.Context, r io.Reader, whole bool, t *tally) error {
	open := make(map[string]bool) // by stream: a line that the driver has cut goes on
	return lines(ctx, r, whole, func(line []byte) {
		if !bytes.HasPrefix(line, []byte(`{"log":`)) {
			l.text(line, t, time.Time{})
			return
		}
		var outer struct {
			Log, Stream string
			Time        time.Time
		}
		if json.Unmarshal(line, &outer) != nil {
			return
		}
		cut := open[outer.Stream]
		open[outer.Stream] = !strings.HasSuffix(outer.Log, "\n")
		if !cut {
			l.text(bytes.TrimRight([]byte(outer.Log), "\r\n"), t, outer.Time)
		}
	})
}

// json reads a log of objects, one a line.
func (l layout) json(ctx context.Context, r io.Reader, whole bool, t *tally) error {
	return lines(ctx, r, whole, func(line []byte) {
		var x struct {
			Timestamp string `json:"timestamp"`
			Severity  string `json:"error_severity"`
			State     string `json:"state_code"`
			Message   string `json:"message"`
		}
		if json.Unmarshal(line, &x) != nil || x.Severity == "" {
			return
		}
		e := event{at: l.time(x.Timestamp), severity: x.Severity, state: x.State, message: x.Message}
		t.saw(e.at)
		t.add(e)
	})
}
