package logs

import (
	"bytes"
	"strconv"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// accessWithin is the maximum offset of the request in a line of an access log.
const accessWithin = 512

// readAccess reads a line of an access log: that of Apache, nginx and Caddy in the common
// or combined format and what is derived from it, and those of gin and morgan. A line is
// one when a method, a path and a status are where they are in such a line.
func readAccess(b []byte, rec *record) {
	if target, rest, ok := request(b); ok { // GET /path 200 12.3 ms
		status, rest := statusCode(rest)
		if !status {
			return
		}
		rec.path = pathOf(target)
		if i := bytes.Index(rest, []byte(" ms")); i > 0 {
			number := rest[bytes.LastIndexByte(rest[:i], ' ')+1 : i]
			rec.duration, rec.timed = milliseconds(number)
		}
		return
	}
	if commonAccess(b, rec); len(rec.path) == 0 {
		otherAccess(b, rec)
	}
}

// commonAccess reads the common and the combined format.
func commonAccess(b []byte, rec *record) {
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
		rec.path = pathOf(target)
		rec.duration, rec.timed = accessTime(after)
	}
}

// request reads a method and the target of a request, and returns what follows.
func request(b []byte) (target, rest []byte, ok bool) {
	i := 0
	for i < len(b) && 'A' <= b[i] && b[i] <= 'Z' {
		i++
	}
	if !isMethod(b[:i]) {
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

// isMethod reports whether a word is a method of HTTP.
func isMethod(word []byte) bool {
	switch string(word) {
	case "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "REPORT", "QUERY", "CONNECT", "TRACE":
		return true
	}
	return false
}

// targetFollows reports whether what is behind a method is the target of a request.
func targetFollows(b []byte) bool {
	b = bytes.TrimLeft(b[:min(len(b), 32)], " ")
	b = bytes.TrimPrefix(b, []byte{'"'})
	return len(b) > 0 && (b[0] == '/' || b[0] == '*' || bytes.HasPrefix(b, []byte("http")))
}

// beforeClient returns what a server wrote of a line of an access log before the first word
// of the client: the name of a user is one, and what was sent need be no request. A line
// that has no date of such a log is returned as it is.
func beforeClient(b []byte) []byte {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:min(len(b), accessWithin)], '[')
		if i < 0 {
			return b
		}
		i += from
		from = i + 1
		if i < 2 || !isAccessDate(b[from:]) {
			continue
		}
		server := b[:i]
		if user := bytes.Index(server, []byte(" - ")); user >= 0 {
			server = server[:user]
		}
		place := b[bytes.LastIndexByte(b[:i-1], ' ')+1 : i-1]
		end := bytes.IndexByte(b[from:], ']')
		switch {
		case end >= 0 && bytes.HasPrefix(b[from+end:], []byte(`] "`)), b[i-2] == '-' && b[i-1] == ' ',
			words.IsDigit(b[i-2]) && bytes.IndexByte(place, ':') > 0: // HAProxy writes the address alone before it
			return server
		}
	}
}

// isAccessDate recognizes 30/Nov/2026:10:00:00 and the same with a space.
func isAccessDate(b []byte) bool {
	return len(b) > 20 && b[2] == '/' && b[6] == '/' && words.IsDigit(b[0]) && words.IsDigit(b[7]) &&
		(b[11] == ':' || b[11] == ' ') && isClock(b[12:])
}

// statusCode reports whether b begins with a status, and returns what follows.
func statusCode(b []byte) (bool, []byte) {
	if len(b) < 3 || b[0] < '1' || b[0] > '5' || !words.IsDigit(b[1]) || !words.IsDigit(b[2]) ||
		len(b) > 3 && b[3] != ' ' {
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
	if i := bytes.LastIndex(b, []byte(`" `)); i >= 0 { // nginx' ingress, behind the agent: 141 0.001 [shop]
		if f := bytes.Fields(b[i+1:]); len(f) > 2 && f[2][0] == '[' && bytes.IndexByte(f[1], '.') > 0 {
			v, ok := milliseconds(f[1])
			return v * second, ok
		}
	}
	// Envoy: - 0 2 12 11 "-"
	if f := bytes.Fields(b[:min(len(b), 80)]); len(f) > 5 && f[5][0] == '"' && !words.IsDigit(f[0][0]) {
		if v, ok := milliseconds(f[3]); ok && len(words.DigitsAt(f[3])) == len(f[3]) {
			return v, true
		}
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

// pipedAccess reads [GIN] 2026/11/28 - 10:00:00 | 200 |  1.2ms |  127.0.0.1 | GET  "/path", as gin,
// fiber and negroni write it. It reports whether the line is one, whatever the client asked for.
func pipedAccess(b []byte, rec *record) bool {
	i := bytes.IndexByte(b[:min(len(b), 64)], '|')
	if i < 0 {
		return false
	}
	if status, _ := statusCode(bytes.TrimLeft(b[i+1:], " ")); !status {
		return false
	}
	parts := bytes.SplitN(b[:min(len(b), accessWithin)], []byte{'|'}, 5)
	if len(parts) < 5 {
		return false
	}
	took, timed := withUnit(bytes.TrimSpace(parts[2]))
	if !timed && !bytes.HasPrefix(b, []byte("[GIN] ")) {
		return false
	}
	method, target, _ := bytes.Cut(bytes.TrimSpace(parts[4]), []byte{' '})
	if _, quoted, ok := bytes.Cut(parts[4], []byte{'"'}); ok {
		prefix, _ := strconv.QuotedPrefix(`"` + string(quoted))
		unquoted, _ := strconv.Unquote(prefix)
		rec.path = []byte(unquoted)
	} else if target = bytes.TrimLeft(target, "| "); isMethod(method) && targetFollows(target) {
		target, _, _ = bytes.Cut(target, []byte{' '})
		rec.path = pathOf(target)
	}
	if len(rec.path) > 0 {
		rec.duration, rec.timed = took, timed
	}
	return true
}

// otherAccess reads a request with its status from a line of an access log that is in no
// common format: the status is before it, behind it, or behind the address of the client.
func otherAccess(b []byte, rec *record) {
	b = b[:min(len(b), accessWithin)]
	if _, done, ok := bytes.Cut(b, []byte("Completed ")); ok { // Rails
		if status, rest := statusCode(done); status && bytes.Contains(rest, []byte(" in ")) {
			rec.duration, rec.timed = timeWithin(rest)
			return
		}
	}
	before, target, after, ok := requestWithin(b)
	if !ok {
		return
	}
	started := bytes.HasSuffix(before, []byte("Started ")) && bytes.HasPrefix(after, []byte(`" for `))
	if rest, done := statusBehind(after); done {
		after = rest
	} else if ms, ok := squidTime(before); ok {
		rec.path, rec.duration, rec.timed = pathOf(target), ms, true
		return
	} else if !started && !statusBefore(before) {
		return
	}
	rec.path = pathOf(target)
	if ms, ok := proxyTime(before); ok {
		rec.duration, rec.timed = ms, true
	} else if !started {
		rec.duration, rec.timed = timeWithin(after)
	}
}

// requestWithin returns the first method and target of a line, and what is around them.
func requestWithin(b []byte) (before, target, after []byte, ok bool) {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '/')
		if i < 0 {
			return nil, nil, nil, false
		}
		at := from + i
		from = at + 1
		for _, scheme := range []string{"http:", "https:"} {
			if bytes.HasSuffix(b[:at], []byte(scheme)) {
				at -= len(scheme)
			}
		}
		word := bytes.TrimRight(bytes.TrimSuffix(b[:at], []byte{'"'}), " ")
		if len(word) == 0 || len(word) == at {
			continue
		}
		begin := len(word)
		for begin > 0 && 'A' <= word[begin-1] && word[begin-1] <= 'Z' {
			begin--
		}
		if !isMethod(word[begin:]) || begin > 0 && words.IsWord(word[begin-1]) {
			continue
		}
		target = b[at:]
		if end := bytes.IndexAny(target, ` "`); end >= 0 {
			return b[:begin], target[:end], target[end:], true
		}
		return b[:begin], target, nil, true
	}
}

// squidTime reads what Squid and other caches write before a request: 1796088989.126 1 10.0.0.9
// TCP_MISS/503 1621.
func squidTime(b []byte) (float64, bool) {
	if len(b) < 40 || !words.IsDigit(b[0]) {
		return 0, false
	}
	f := bytes.Fields(b)
	if len(f) != 5 || !words.Number(f[0]) || !words.Number(f[4]) {
		return 0, false
	}
	_, code, _ := bytes.Cut(f[3], []byte{'/'})
	if status, rest := statusCode(code); !status || len(rest) > 0 {
		return 0, false
	}
	return milliseconds(f[1])
}

// statusBefore reports whether a status is all that is between a request and what is
// before: 200 GET, [200]: GET, or the counts of HAProxy with it.
func statusBefore(b []byte) bool {
	if _, ok := proxyTime(b); ok {
		return true
	}
	b = bytes.TrimRight(bytes.TrimSuffix(b, []byte(" - ")), ` ]:[`)
	n := len(b)
	if n < 5 || b[n-4] != ' ' && b[n-4] != '[' {
		return false
	}
	status, _ := statusCode(b[n-3:])
	return status && b[n-5] != '-' // "- 200 -" of a log that has the target elsewhere
}

// statusBehind reports whether a status follows a target, and returns what is behind it.
func statusBehind(b []byte) ([]byte, bool) {
	if end := bytes.IndexByte(b[:min(len(b), len(` HTTP/1.1"`))], '"'); end >= 0 {
		b = b[end+1:]
	}
	for _, address := range []string{" from ", " for "} {
		if rest, ok := bytes.CutPrefix(b, []byte(address)); ok {
			i := bytes.IndexByte(rest, ' ')
			if i < 0 {
				return nil, false
			}
			b = bytes.TrimPrefix(rest[i:], []byte(" -"))
		}
	}
	if generated, ok := bytes.CutPrefix(b, []byte(" => ")); ok { // uWSGI
		i := bytes.Index(generated, []byte("(HTTP/"))
		if i < 0 {
			return nil, false
		}
		return generated[:i], true
	}
	if len(b) == 0 || b[0] != ' ' {
		return nil, false
	}
	status, rest := statusCode(b[1:])
	return rest, status
}

// proxyTime reads the last of HAProxy's times, which are before the status: 0/0/2/1/3 200.
func proxyTime(b []byte) (float64, bool) {
	for len(b) > 0 {
		var word []byte
		word, b, _ = bytes.Cut(b, []byte{' '})
		if bytes.Count(word, []byte{'/'}) != 4 || bytes.ContainsFunc(word, func(r rune) bool {
			return r != '/' && r != '-' && r != '+' && (r < '0' || r > '9')
		}) {
			continue
		}
		if status, _ := statusCode(b); status {
			return milliseconds(bytes.TrimLeft(word[bytes.LastIndexByte(word, '/')+1:], "+"))
		}
	}
	return 0, false
}

// timeWithin reads a duration with its unit: in 12.3ms, in 3 msecs, 64ms behind a status.
func timeWithin(b []byte) (float64, bool) {
	if i := bytes.LastIndex(b, []byte(" in ")); i >= 0 {
		value, rest, _ := bytes.Cut(b[i+len(" in "):], []byte{' '})
		if bytes.HasPrefix(rest, []byte("msecs")) {
			return milliseconds(value)
		}
		return withUnit(value)
	}
	if value, _, ok := bytes.Cut(bytes.TrimLeft(b, " "), []byte{' '}); ok {
		if ms, ok := withUnit(value); ok {
			return ms, true
		}
	}
	return accessTime(b)
}

// pathOf returns the path of a target that names its server too.
func pathOf(target []byte) []byte {
	if i := bytes.Index(target, []byte("://")); i == len("http") || i == len("https") {
		if slash := bytes.IndexByte(target[i+3:], '/'); slash >= 0 {
			return target[i+3+slash:]
		}
	}
	return target
}
