package logs

import (
	"bytes"
	"strconv"
)

// accessWithin is the maximum offset of the request in a line of an access log.
const accessWithin = 512

// readAccess reads a line of an access log: that of Apache, nginx and Caddy in the common
// or combined format and what is derived from it, and those of gin and morgan. A line is
// one when a method, a path and a status are where they are in such a line.
func readAccess(b []byte, rec *record) {
	if bytes.HasPrefix(b, []byte("[GIN] ")) {
		ginAccess(b, rec)
		return
	}
	if target, rest, ok := request(b); ok { // GET /path 200 12.3 ms
		status, rest := statusCode(rest)
		if !status {
			return
		}
		rec.path = target
		if i := bytes.Index(rest, []byte(" ms")); i > 0 {
			number := rest[bytes.LastIndexByte(rest[:i], ' ')+1 : i]
			rec.duration, rec.timed = milliseconds(number)
		}
		return
	}
	version := bytes.Index(b[:min(len(b), accessWithin)], []byte(" HTTP/"))
	if version < 0 {
		return
	}
	begin := bytes.LastIndexByte(b[:version], ' ')
	begin = bytes.LastIndexAny(b[:max(begin, 0)], ` "`) + 1
	target, rest, ok := request(b[begin:])
	if !ok || len(rest) == 0 {
		return
	}
	end := bytes.IndexByte(rest, ' ')
	if end < 0 || end > len(`HTTP/1.1"`) {
		return
	}
	if status, after := statusCode(rest[end+1:]); status {
		rec.path = target
		rec.duration, rec.timed = accessTime(after)
	}
}

// request reads a method and the target of a request, and returns what follows.
func request(b []byte) (target, rest []byte, ok bool) {
	i := 0
	for i < len(b) && 'A' <= b[i] && b[i] <= 'Z' {
		i++
	}
	switch string(b[:i]) {
	case "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "REPORT", "QUERY":
	default:
		return nil, nil, false
	}
	if i+1 >= len(b) || b[i] != ' ' {
		return nil, nil, false
	}
	b = b[i+1:]
	if end := bytes.IndexByte(b, ' '); end > 0 && (b[0] == '/' || b[0] == '*' || bytes.HasPrefix(b, []byte("http"))) {
		return b[:end], b[end+1:], true
	}
	return nil, nil, false
}

// statusCode reports whether b begins with a status, and returns what follows.
func statusCode(b []byte) (bool, []byte) {
	if len(b) < 3 || b[0] < '1' || b[0] > '5' || !isDigit(b[1]) || !isDigit(b[2]) || len(b) > 3 && b[3] != ' ' {
		return false, nil
	}
	return true, b[3:]
}

// accessTime reads how long a request took from what is behind its status: under a name
// that nginx' users give to it, with a unit, or as seconds with a point at the end, as
// nginx writes them. A whole number at the end may be anything.
func accessTime(b []byte) (float64, bool) {
	const second = 1000
	for _, name := range []string{" rt=", " request_time=", " request_time:"} {
		i := bytes.Index(b, []byte(name))
		if i < 0 {
			continue
		}
		value := bytes.Trim(b[i+len(name):], `"`)
		if end := bytes.IndexAny(value, "\" ,"); end >= 0 {
			value = value[:end]
		}
		if v, ok := milliseconds(value); ok {
			return v * second, true
		}
		return withUnit(value)
	}
	if ms, ok := bytes.CutSuffix(b, []byte(" ms")); ok { // morgan
		return milliseconds(ms[bytes.LastIndexByte(ms, ' ')+1:])
	}
	last := b[bytes.LastIndexByte(b, ' ')+1:]
	if n := len(last); n > 1 && last[0] == '"' && last[n-1] == '"' { // not the end of a browser's name
		last = last[1 : n-1]
	}
	if v, ok := milliseconds(last); ok {
		return v * second, bytes.IndexByte(last, '.') > 0
	}
	return withUnit(last)
}

// ginAccess reads [GIN] 2026/11/28 - 10:00:00 | 200 |  1.2ms |  127.0.0.1 | GET  "/path".
func ginAccess(b []byte, rec *record) {
	parts := bytes.Split(b[:min(len(b), accessWithin)], []byte{'|'})
	if len(parts) < 5 {
		return
	}
	request := bytes.Fields(parts[4])
	if status, _ := statusCode(bytes.TrimSpace(parts[1])); !status || len(request) < 2 {
		return
	}
	target, err := strconv.Unquote(string(request[1]))
	if err != nil {
		return
	}
	rec.path = []byte(target)
	rec.duration, rec.timed = withUnit(bytes.TrimSpace(parts[2]))
}
