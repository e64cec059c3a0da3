package logs

import (
	"strconv"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// A record is one line that a service wrote, as far as it is counted. Its parts
// are valid until the next line is read.
type record struct {
	json     bool // the line is one JSON object
	severity words.Severity
	message  []byte // its field, or the whole line where it has none
	path     []byte // of a request, or empty
	duration float64
	timed    bool // duration is known, in milliseconds

	open bool // of csvlog: a quote is open at the end of the line, so that the record goes on

	// trace is the template of an error of several lines that has ended before this one;
	// empty: none has.
	trace []byte
}

const (
	// longest is what is kept of a line that the driver has split.
	longest = 1 << 20
	prefix  = `{"log":"`

	// prefixQuotes is how many quotes are in the prefix.
	prefixQuotes = 3
)

// milliseconds returns a number, or one that is written as a string.
func milliseconds(raw []byte) (float64, bool) {
	if n := len(raw); n > 1 && raw[0] == '"' {
		raw = raw[1 : n-1]
	}
	if !words.Number(raw) {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	return v, err == nil && v >= 0
}

func inNumber(b byte) bool {
	return '0' <= b && b <= '9' || b == '.' || b == '-' || b == '+' || b == 'e' || b == 'E'
}

// fastMilliseconds reads what is most often a short number, exactly: both parts
// of the quotient are.
func fastMilliseconds(b []byte) (float64, bool) {
	digits, i, scale := 0, 0, 1.0
	for ; i < len(b) && i < 15 && '0' <= b[i] && b[i] <= '9'; i++ {
		digits = digits*10 + int(b[i]-'0')
	}
	whole := i
	if i < len(b) && b[i] == '.' {
		for i++; i < len(b) && i < 15 && '0' <= b[i] && b[i] <= '9'; i++ {
			digits = digits*10 + int(b[i]-'0')
			scale *= 10
		}
		if scale == 1 {
			whole = 0 // a dot and nothing after it
		}
	}
	if i == len(b) && whole > 0 && (b[0] != '0' || whole == 1) {
		return float64(digits) / scale, true
	}
	return milliseconds(b)
}

// set notes a member that is counted.
func (rec *record) set(u use, value []byte, quoted bool) {
	switch u.field {
	case level:
		rec.severity = words.LevelOf(value, u.scale)
	case message:
		rec.message = value
	case path:
		if rec.path = nil; quoted {
			rec.path = value
		}
	case duration:
		if rec.duration, rec.timed = fastMilliseconds(value); rec.timed {
			rec.duration *= u.unit
		} else if quoted {
			rec.duration, rec.timed = withUnit(value)
		}
	case none, fieldCount:
	}
}
