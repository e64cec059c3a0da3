package logs

import (
	"bytes"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Fields are the names that the services give to what is counted. A name with dots is
// that of a member within others, or of one that is written so.
type Fields struct {
	Level, Message, Path, Duration string

	// Unit is that of durations without one: s, ms, us or ns. Any other: the name says it
	// (_seconds, _ms), or they are milliseconds.
	Unit string
}

// FieldsOf returns the names that a target's configuration has.
func FieldsOf(f target.LogFields) Fields {
	return Fields{f.Level, f.Message, f.Path, f.Duration, f.DurationUnit}
}

type field uint8

const (
	none field = iota
	level
	message
	path
	duration
	fieldCount
)

// A use is what a member is counted as.
type use struct {
	field field
	rank  uint8       // of two members for one field the lower counts
	scale words.Scale // of a level that is a number
	unit  float64     // of a duration that is a number, in milliseconds
}

// wordBefore is added to the rank of a level that is a number: a word beside it is clearer.
const wordBefore = 100

// An index finds the use of a member by its name.
type index map[string]use

// levelNames and messageNames are the names that common loggers use. They are looked for
// beside the configured ones: on one engine run services with different loggers. A path or
// a duration under a name that is not configured may be that of a request to another
// service, so these have no such list.
func levelNames() []string {
	return []string{"level", "lvl", "severity", "levelname", "level_name", "log.level", "loglevel", "log_level",
		"logLevel", "LogLevel", "Level", "severityText", "severity_text", "SeverityText", "@l", "@level", "levelno",
		"severityNumber", "severity_number", "SeverityNumber", "PRIORITY", "error_severity"}
}

func messageNames() []string {
	return []string{"message", "msg", "@m", "@mt", "@message", "short_message", "Message", "MESSAGE", "event", "body",
		"Body", "content"}
}

// index returns the uses of all names that are known.
func (f *Fields) index() index {
	x := make(index)
	enter := func(name string, u use) {
		if _, had := x[name]; !had && name != "" {
			x[name] = u
		}
	}
	enter(f.Level, use{field: level, scale: scaleOf(f.Level)})
	enter(f.Message, use{field: message})
	enter(f.Path, use{field: path})
	enter(f.Duration, use{field: duration, unit: f.unit()})
	for i, name := range levelNames() {
		enter(name, use{field: level, rank: uint8(i + 1), scale: scaleOf(name)}) //nolint:gosec // a short list
	}
	for i, name := range messageNames() {
		enter(name, use{field: message, rank: uint8(i + 1)}) //nolint:gosec // a short list
	}
	return x
}

func scaleOf(name string) words.Scale {
	switch {
	case strings.EqualFold(name, "levelno"):
		return words.ScalePython
	case strings.EqualFold(strings.ReplaceAll(name, "_", ""), "severitynumber"):
		return words.ScaleOTel
	case strings.EqualFold(name, "priority"):
		return words.ScaleSyslog
	}
	return words.ScaleAny
}

// unit returns how many milliseconds one of a duration is.
func (f *Fields) unit() float64 {
	const second, micro, nano = 1e3, 1e-3, 1e-6
	switch f.Unit {
	case "s":
		return second
	case "us":
		return micro
	case "ns":
		return nano
	case "ms":
		return 1
	}
	for _, u := range []struct {
		suffixes []string
		unit     float64
	}{
		{[]string{"_us", "_usec", "Us", "micros", "Micros", "microseconds", "Microseconds"}, micro},
		{[]string{"_ns", "_nsec", "Ns", "nanos", "Nanos", "nanoseconds", "Nanoseconds"}, nano},
		{[]string{"_ms", "_msec", "Ms", "millis", "Millis", "milliseconds", "Milliseconds"}, 1},
		{[]string{"_s", "_sec", "_secs", "Sec", "Secs", "seconds", "Seconds"}, second},
	} {
		for _, suffix := range u.suffixes {
			if strings.HasSuffix(f.Duration, suffix) {
				return u.unit
			}
		}
	}
	return 1
}

// withUnit returns a duration with its unit, such as 12.3ms or 1m2s, in milliseconds.
func withUnit(value []byte) (float64, bool) {
	if len(value) == 0 || len(value) > 32 || !words.IsDigit(value[0]) {
		return 0, false
	}
	d, err := time.ParseDuration(string(bytes.ReplaceAll(value, []byte{' '}, nil)))
	return float64(d) / float64(time.Millisecond), err == nil
}

// A choice is which members count, of one object.
type choice [fieldCount]struct {
	at   int // the member, from 1 on; 0: none
	rank uint8
}

// take notes a member with its number. Of two with one name the last counts.
func (c *choice) take(at int, u use, value []byte, quoted bool) {
	rank := u.rank
	if u.field == level && !quoted && len(value) > 0 && words.IsDigit(value[0]) {
		rank += wordBefore
	}
	if had := &c[u.field]; had.at == 0 || rank <= had.rank {
		had.at, had.rank = at+1, rank
	}
}
