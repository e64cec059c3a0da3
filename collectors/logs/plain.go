package logs

import (
	"bytes"
	"encoding/json"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// levelWithin is the maximum offset of the level in a line that is not JSON.
const levelWithin = 120

// readPlain reads a line that is no JSON object, without colours. Its first word for a
// level is its level: one behind it belongs to the message.
func readPlain(b []byte, x index, rec *record) {
	rec.message = b
	if len(b) == 0 || b[0] == '\t' { // the rest of the line before
		return
	}
	if level, rest := syslogMark(b); level != words.Unleveled {
		rec.severity, rec.message = level, rest
		return
	}
	if level, rest := klogHeader(b); level != words.Unleveled {
		rec.severity, rec.message = level, rest
		return
	}
	if words.IsDigit(b[0]) && csvLog(b, rec) {
		return
	}
	if level := bracketHead(b); level != words.Unleveled {
		rec.severity = level
		readAccess(b, rec)
		return
	}
	if rec.severity = words.RuntimeLevel(b); rec.severity != words.Unleveled {
		return
	}
	if level := redisMark(b); level != words.Unleveled {
		rec.severity = level
		return
	}
	if pipedAccess(b, rec) {
		return // the method is the client's word too
	}
	if logfmt(b, x, rec) {
		return
	}
	rec.severity = firstLevel(b)
	readAccess(b, rec)
	if b[len(b)-1] == '}' && len(rec.path) == 0 {
		objectBehind(b, x, rec)
	}
}

// objectBehind reads path and duration from the object at the end of a line of zap's console.
func objectBehind(b []byte, x index, rec *record) {
	i := bytes.Index(b, []byte("\t{\""))
	if i < 0 || !json.Valid(b[i+1:]) {
		return
	}
	w, behind := walker{b: b[i+1:], index: x}, record{}
	if w.object(0) {
		w.choose(&behind)
		rec.path, rec.duration, rec.timed = behind.path, behind.duration, behind.timed
	}
}

// syslogMark reads <3>, which systemd and syslog write before a message: the facility is
// eight times what is above the level.
func syslogMark(b []byte) (words.Severity, []byte) {
	const facilities, most = 8, 191
	end := bytes.IndexByte(b[:min(len(b), 5)], '>')
	if end < 2 || b[0] != '<' {
		return words.Unleveled, nil
	}
	n := 0
	for _, d := range b[1:end] {
		if !words.IsDigit(d) {
			return words.Unleveled, nil
		}
		n = n*10 + int(d-'0')
	}
	if n > most {
		return words.Unleveled, nil
	}
	return words.SyslogLevel(n % facilities), bytes.TrimLeft(b[end+1:], " ")
}

// klogHeader reads E1128 10:00:00.000000       1 reflector.go:138] as klog and glog write
// it; glog of C++ has the year too, and CockroachDB two digits of it and more in the head.
func klogHeader(b []byte) (words.Severity, []byte) {
	digits := 0
	for digits+1 < len(b) && words.IsDigit(b[digits+1]) {
		digits++
	}
	if digits != 4 && digits != 6 && digits != 8 || len(b) < digits+12 || b[digits+1] != ' ' || !isClock(b[digits+2:]) {
		return words.Unleveled, nil
	}
	switch b[0] {
	case 'I', 'W', 'E', 'F':
	default:
		return words.Unleveled, nil
	}
	rest := b
	if i := bytes.Index(b, []byte("] ")); i >= 0 && digits != 6 {
		rest = b[i+2:]
	}
	return words.LetterLevel(b[0]), rest
}

// redisMark reads the sign between the time and the message of Redis and Valkey:
// 1:M 28 Nov 2026 10:00:00.000 # message. They have no level above a warning.
func redisMark(b []byte) words.Severity {
	i := 0
	for i < len(b) && words.IsDigit(b[i]) {
		i++
	}
	if i == 0 || len(b) < i+30 || b[i] != ':' || bytes.IndexByte([]byte("MSCX"), b[i+1]) < 0 || b[i+2] != ' ' {
		return words.Unleveled
	}
	rest := b[i+3:]
	at := bytes.IndexByte(rest, ':')
	if at < 2 || at > 14 || !isClock(rest[at-2:]) {
		return words.Unleveled
	}
	sign := bytes.IndexByte(rest[at:], ' ')
	if sign < 0 || at+sign+2 >= len(rest) || rest[at+sign+2] != ' ' {
		return words.Unleveled
	}
	switch rest[at+sign+1] {
	case '#':
		return words.LevelWarning
	case '*':
		return words.LevelInfo
	case '-', '.':
		return words.LevelDebug
	}
	return words.Unleveled
}

// firstLevel returns the level that the first word for one names. What a client wrote names
// none: its request, and what a server writes behind that.
func firstLevel(b []byte) words.Severity {
	b = beforeClient(b)
	if level := words.SignLevel(b[timeAt(b):]); level != words.Unleveled {
		return level
	}
	for i := 0; i < len(b) && i < levelWithin; {
		if !words.IsLetter(b[i]) {
			i++
			continue
		}
		from := i
		for i < len(b) && words.IsLetter(b[i]) {
			i++
		}
		if i > levelWithin {
			break
		}
		if found := levelAt(b, from, i); found != words.Unleveled {
			return found
		}
		if i < len(b) && b[i] == ' ' && isMethod(b[from:i]) && targetFollows(b[i:]) {
			break
		}
	}
	return words.Unleveled
}

// levelAt returns the level of a word of a line, unleveled where the word belongs to a
// sentence or a name.
func levelAt(b []byte, from, to int) words.Severity {
	word := b[from:to]
	before, after := byte(0), byte(0)
	if from > 0 {
		before = b[from-1]
	}
	if to < len(b) {
		after = b[to]
	}
	if len(word) == 1 {
		return letterAt(b, from)
	}
	known := words.WordLevel(word)
	if known == words.Unleveled {
		return statementAt(b, from, to)
	}
	switch {
	case bytes.HasPrefix(b[to:], []byte(":  ")) && words.IsCapitals(word) && !words.IsWord(before) &&
		bytes.IndexByte([]byte(`"'=/-`), before) < 0: // PostgreSQL, behind a prefix of any form
		return known
	case inBrackets(b, from, to), assigned(b, from):
		return known
	case from == len("npm ") && bytes.HasPrefix(b, []byte("npm ")):
		return known
	case before == '/' && bytes.HasPrefix(b[to:], []byte("]: ")) && words.IsCapitals(word) &&
		withinBrackets(b, from): // [Server thread/ERROR]:
		return known
	case words.IsCapitals(word):
		if wordMayFollow(before) && wordMayEnd(b, to) {
			return known
		}
	case before == ' ' && after == ' ' && padded(b, from, to):
		return known
	case (bytes.HasPrefix(b[to:], []byte(" error: ")) || bytes.HasPrefix(b[to:], []byte(" error : "))) &&
		labelled(b, from): // fatal error: message
		return known
	case string(word) == "Error" && bytes.HasPrefix(b[to:], []byte(": ")) && kindOfError(b[:from]):
		return known
	case after == ':' && labelled(b, from): // error: message
		if to+1 == len(b) || b[to+1] == ' ' || b[to+1] == '\t' {
			return known
		}
	case before == '\t' && after == '\t', before == '|' && after == '|': // zap's console, some patterns of log4j
		return known
	case before == '<' && after == '>' && to+1 < len(b) && b[to+1] == ' ': // ClickHouse
		return known
	}
	return words.Unleveled
}

// kindOfError reports whether a time and a word in capitals are before Error: 10:00:00 TLS Error.
func kindOfError(b []byte) bool {
	kind := bytes.TrimSuffix(b, []byte{' '})
	at := bytes.LastIndexByte(kind, ' ') + 1
	return len(kind) < len(b) && at > len("10:00:00") && at < len(kind) && words.IsCapitals(kind[at:]) && first(b, at)
}

// letterAt returns the level of one letter: in brackets, as some loggers of Go have it, or
// behind the time as Telegraf, and before a component as MongoDB before 4.4 and log4j.
func letterAt(b []byte, at int) words.Severity {
	rest := b[at+1:]
	if at > 0 && at+2 < len(b) {
		switch {
		case b[at-1] == '[' && rest[0] == ']' && rest[1] == ' ', // [E] message
			b[at-1] == ' ' && rest[0] == '!' && rest[1] == ' ' && first(b, at): // Telegraf
			return words.LetterLevel(b[at])
		}
	}
	if at > 0 && b[at-1] == ' ' && len(rest) > 1 && rest[0] == ' ' { // E CWWKO0801E: of IBM
		if end := bytes.Index(rest[:min(len(rest), 14)], []byte(": ")); end > 0 && words.IsCode(rest[1:end]) {
			if b[at] == 'A' {
				return words.LevelInfo
			}
			return words.LetterLevel(b[at])
		}
	}
	if at < 10 || b[at-1] != ' ' || len(rest) < 3 || rest[0] != ' ' || !first(b, at) {
		return words.Unleveled
	}
	component := bytes.TrimLeft(rest, " ")
	end := bytes.IndexAny(component, " ")
	switch {
	case bytes.HasPrefix(component, []byte("| ")): // capnslog
	case end < 2:
		return words.Unleveled
	case !words.IsCapitals(component[:end]) && bytes.IndexByte(component[:end-1], '.') < 1: // neither a component nor
		// a class of Java
		return words.Unleveled
	}
	return words.LetterLevel(b[at])
}

// statementAt returns the level of the words of PostgreSQL and others that are no levels
// of a logger, where they begin a message: LOG:, STATEMENT:, [Note], [FAILED].
func statementAt(b []byte, from, to int) words.Severity {
	switch string(b[from:to]) {
	case "LOG", "STATEMENT", "DETAIL", "HINT", "CONTEXT", "QUERY", "LOCATION":
		if bytes.HasPrefix(b[to:], []byte(":  ")) {
			return words.LevelInfo
		}
		if to-from == len("LOG") && from > 1 && b[from-1] == ' ' && (b[from-2] == ' ' || b[from-2] == ']') &&
			to < len(b) && b[to] == ' ' { // NestJS, PgBouncer
			return words.LevelInfo
		}
	case "Note", "System":
		if inBrackets(b, from, to) {
			return words.LevelInfo
		}
	case "FAILED":
		if inBrackets(b, from, to) {
			return words.LevelError
		}
	case "CONFIG": // java.util.logging
		if to < len(b) && (b[to] == ':' || b[to] == ' ' && first(b, from)) {
			return words.LevelInfo
		}
	case "FEHLER", "PANIK", "ERREUR", "ERRORE", "FATALE", "ERRO", "SCHWERWIEGEND": // PostgreSQL and Java, translated
		if bytes.HasPrefix(b[to:], []byte(": ")) && !words.IsWord(b[max(from-1, 0)]) || from == 0 &&
			bytes.HasPrefix(b[to:], []byte(": ")) {
			return words.LevelError
		}
	case "WARNUNG", "ATTENTION", "ATTENZIONE", "ADVERTENCIA", "AVISO":
		if bytes.HasPrefix(b[to:], []byte(": ")) {
			return words.LevelWarning
		}
	case "HINWEIS", "ANWEISUNG", "INFORMATION", "TIPP", "INSTRUCTION", "ISTRUZIONE", "SENTENCIA":
		if bytes.HasPrefix(b[to:], []byte(": ")) {
			return words.LevelInfo
		}
	}
	return words.Unleveled
}

// inBrackets reports whether a word is alone in brackets, behind a module of Apache at
// most: [error], [core:error], [error    ]; Twisted has its own: [payments#error].
func inBrackets(b []byte, from, to int) bool {
	for to < len(b) && b[to] == ' ' {
		to++
	}
	if to >= len(b) || b[to] != ']' || from == 0 {
		return false
	}
	if b[from-1] == '[' {
		return true
	}
	if b[from-1] == ' ' { // Fluent Bit: [ info]
		i := len(bytes.TrimRight(b[:from], " "))
		return i > 0 && b[i-1] == '[' && to > 0 && b[to-1] != ' '
	}
	if b[from-1] != ':' && b[from-1] != '#' {
		return false
	}
	i := from - 2
	for i >= 0 && (words.IsWord(b[i]) || b[i] == '-') {
		i--
	}
	return i >= 0 && b[i] == '[' && i < from-2
}

// assigned reports whether a word is the value of a level: level=error, lvl="error",
// "level":"error" of an object behind some other text.
func assigned(b []byte, from int) bool {
	key := b[:from]
	if bytes.HasSuffix(key, []byte(`":"`)) {
		key = key[:len(key)-3]
		return bytes.HasSuffix(key, []byte(`"level`)) || bytes.HasSuffix(key, []byte(`"severity`))
	}
	key = bytes.TrimSuffix(key, []byte(`"`))
	if len(key) == 0 || key[len(key)-1] != '=' {
		return false
	}
	key = key[:len(key)-1]
	i := len(key)
	for i > 0 && (words.IsWord(key[i-1]) || key[i-1] == '.' || key[i-1] == '-') {
		i--
	}
	if i > 0 && (key[i-1] == '?' || key[i-1] == '&' || key[i-1] == '/' || key[i-1] == '%') { // of a URL
		return false
	}
	switch string(key[i:]) { // not --log-level=error, which is an option of a command
	case "level", "lvl", "severity", "levelname", "loglevel", "log_level", "log.level":
		return true
	}
	return false
}

// wordMayFollow reports whether a level in capitals may follow a character. It follows no
// slash, equals sign or hyphen: those are in paths, settings and names.
func wordMayFollow(c byte) bool {
	switch c {
	case 0, ' ', '\t', '[', '(', '|', '<', ':', '.', ',', '*', ']':
		return true
	}
	return false
}

// wordMayEnd reports whether a level in capitals may end at a place. ERROR_COUNT, ERROR=1
// and ERROR.log are names.
func wordMayEnd(b []byte, at int) bool {
	if at == len(b) {
		return true
	}
	switch b[at] {
	case ' ', '\t', ':', ']', ')', '|', '>', ',', '[', '/', '!':
		return true
	case '1', '2', '3', '4', '5': // DEBUG1 of PostgreSQL
		return at+1 < len(b) && b[at+1] == ':'
	}
	return false
}
