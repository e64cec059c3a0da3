package policy

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// LookBack returns how far an expression looks back: so long it may hold after its
// cause is gone. It adds up what is nested (a range within a subquery, a range and
// its offset) and takes the longest of what stands side by side. It reads ranges,
// subqueries and offsets only and needs no parser of the language; what it does
// not understand looks back by nothing.
func LookBack(expr string) time.Duration {
	s := scan{rest: expr}
	for s.rest != "" {
		s.token()
	}
	for len(s.outer) > 0 {
		s.leave()
	}
	return max(s.longest, s.last)
}

// A scan is how far into an expression LookBack is.
type scan struct {
	rest    string
	longest time.Duration // of the operands of this pair of brackets that are over
	last    time.Duration // of the operand that a range or an offset would belong to
	outer   []time.Duration
}

func (s *scan) token() {
	c := s.rest[0]
	if inName(c, true) || c == ':' {
		s.word()
		return
	}
	s.rest = s.rest[1:]
	switch c {
	case '"', '\'', '`':
		s.quoted(c)
	case '#':
		_, s.rest, _ = strings.Cut(s.rest, "\n")
	case '(':
		s.next()
		s.outer, s.longest = append(s.outer, s.longest), 0
	case ')':
		s.leave()
	case '{':
		s.matchers()
	case '[':
		inner, rest, _ := strings.Cut(s.rest, "]")
		s.rest = rest
		length, _, _ := strings.Cut(inner, ":")
		s.add(length)
	case ' ', '\t', '\n', '\r':
	default: // an operator, a comma or a number begins something else
		s.next()
	}
}

// next begins another operand.
func (s *scan) next() { s.longest, s.last = max(s.longest, s.last), 0 }

// leave makes of a pair of brackets one operand.
func (s *scan) leave() {
	if len(s.outer) == 0 {
		return
	}
	s.last = max(s.longest, s.last)
	s.longest = s.outer[len(s.outer)-1]
	s.outer = s.outer[:len(s.outer)-1]
}

// quoted leaves a string out. Within backticks a backslash stands for itself.
func (s *scan) quoted(quote byte) {
	for i := 0; i < len(s.rest); i++ {
		switch {
		case s.rest[i] == '\\' && quote != '`':
			i++
		case s.rest[i] == quote:
			s.rest = s.rest[i+1:]
			return
		}
	}
	s.rest = ""
}

// matchers leaves a selector's matchers out.
func (s *scan) matchers() {
	for s.rest != "" {
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch c {
		case '}':
			return
		case '"', '\'', '`':
			s.quoted(c)
		}
	}
}

// word reads a name. All begin an operand but "offset", which moves the last one.
func (s *scan) word() {
	if !strings.EqualFold(s.take(), "offset") {
		s.next()
		return
	}
	s.rest = strings.TrimLeft(s.rest, " \t\r\n")
	s.add(s.take()) // an offset with a minus looks ahead: nothing is read, and nothing added
}

// take returns the letters and digits that come next, and leaves them behind.
func (s *scan) take() string {
	end := 0
	for end < len(s.rest) && (inName(s.rest[end], false) || s.rest[end] == ':' || s.rest[end] == '.') {
		end++
	}
	word := s.rest[:end]
	s.rest = s.rest[end:]
	return word
}

// add lets the last operand look back farther. A number alone is seconds.
func (s *scan) add(length string) {
	length = strings.TrimSpace(length)
	if d, err := model.ParseDuration(length); err == nil {
		s.extend(time.Duration(d))
	} else if seconds, err := strconv.ParseFloat(length, 64); err == nil && seconds > 0 && seconds < math.MaxInt64/1e9 {
		s.extend(time.Duration(seconds * float64(time.Second)))
	}
}

func (s *scan) extend(d time.Duration) {
	if s.last > math.MaxInt64-d {
		s.last = math.MaxInt64
		return
	}
	s.last += d
}
