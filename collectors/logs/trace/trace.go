// Package trace reads tracebacks and panics as services write them, line by line.
package trace

import (
	"bytes"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

type language uint8 // what writes a traceback

const (
	noTrace language = iota
	python
	golang
	rust
	other // Java, Node, .NET, Ruby, PHP: a type, and frames that are indented or numbered
)

const (
	// traceLines is where a trace ends whose end is not seen.
	traceLines = 2000

	// headKept is what is kept of the first line of a trace.
	headKept = 2 * words.TemplateLength
)

// A Trace is a traceback or panic whose lines are being read: one error, which counts when
// its last line was read. It keeps a few words of it, however long it is.
type Trace struct {
	language language
	counted  bool   // it belongs to the line before, which has a level
	runtime  bool   // the runtime wrote it, so it belongs to no line before
	cause    bool   // the next place counts: what was found is that of a consequence
	untyped  bool   // the place was read, and not yet the type: it may be no error
	held     bool   // head is a line without a level: frames may follow
	ended    bool   // Python: the type was read, what follows may be another
	chained  bool   // Python: another one is announced
	framed   bool   // a frame was read
	indent   []byte // Python: what is before each line
	lines    int    // so far
	head     []byte // the first line
	name     []byte // the type
	place    []byte // file and line
	foreign  bool   // the place is in a library

	before words.Severity // of the line before, where no trace is open
}

// Busy reports whether the next line is to be read with this one in mind.
func (t *Trace) Busy() bool { return t.language != noTrace || t.before >= words.LevelWarning || t.held }

// After notes a line that belongs to no trace: one that follows may belong to it.
func (t *Trace) After(b []byte, s words.Severity) {
	if s == words.Unleveled && len(b) > 0 && t.before != words.Unleveled &&
		(b[0] == ' ' || b[0] == '\t' || words.IsContext(b)) {
		t.held = false // it belongs to the line before, and so does what follows
		return
	}
	t.before = s
	if t.held = s == words.Unleveled && len(b) > 0; t.held {
		t.head = append(t.head[:0], b[:min(len(b), headKept)]...)
	}
}

// Continues reports whether a line goes on with a line before that had a level: its level
// words are those of a value. A level that is only moved to the right still counts.
func (t *Trace) Continues(b []byte) bool {
	if t.before == words.Unleveled || len(b) < 3 || b[0] != ' ' || b[1] != ' ' {
		return t.before >= words.LevelWarning && bytes.HasPrefix(b, []byte("** (")) // Elixir: what a process ended with
	}
	rest := bytes.TrimLeft(b, " ")
	return len(rest) > 0 && (rest[0] == '|' || 'a' <= rest[0] && rest[0] <= 'z')
}

// Takes reports whether an open trace goes on with a line.
func (t *Trace) Takes(b []byte) bool {
	t.lines++
	if t.lines > traceLines {
		return false
	}
	if len(b) == 0 && (!t.untyped || t.language == python) {
		return true
	}
	switch t.language {
	case python:
		if len(t.indent) > 0 && bytes.HasPrefix(b, t.indent) {
			b = b[len(t.indent):]
		} else if len(t.indent) > 0 {
			return false
		}
		return len(b) == 0 || t.pythonLine(b)
	case golang:
		return t.goLine(b)
	case rust:
		return t.rustLine(b)
	case other:
		return t.otherLine(b)
	case noTrace:
	}
	return false
}

// Begins reports whether a line is the first of a trace, and opens it.
func (t *Trace) Begins(b []byte) bool {
	before, held := t.before, t.held
	if (held || before >= words.LevelWarning) && words.ScriptFrame(b) { // console.error("cannot load", error)
		t.before, t.held, t.framed, t.indent = words.Unleveled, false, true, t.indent[:0]
		if !held {
			t.head = t.head[:0]
		}
		t.name, t.place, t.foreign, t.runtime = t.name[:0], t.place[:0], false, true
		t.language, t.lines, t.cause, t.untyped = other, 2, false, false
		t.counted = !held || bytes.HasPrefix(t.head, []byte("Trace: ")) || bytes.Equal(t.head, []byte("Trace"))
		t.typed(t.head[words.TypeWithin(t.head):])
		if len(t.name) == 0 {
			t.name = words.Fold(t.name, t.head[:min(len(t.head), words.TemplateLength/2)])
		}
		t.frame(bytes.TrimLeft(b, " ")[len("at "):])
		return true
	}
	t.untyped = false
	if len(b) == 0 || !t.opens(b) {
		t.language = noTrace
		return false
	}
	t.before, t.held, t.framed = words.Unleveled, false, false
	t.counted = before >= words.LevelWarning && !t.runtime
	t.lines, t.cause, t.ended, t.chained = 1, false, false, false
	t.head = append(t.head[:0], b[:min(len(b), headKept)]...)
	return true
}

// opens recognizes the first line, and what it says of type and place.
func (t *Trace) opens(b []byte) bool {
	t.name, t.place, t.foreign, t.runtime = t.name[:0], t.place[:0], false, true
	switch {
	case bytes.HasPrefix(b, []byte("panic: ")), bytes.HasPrefix(b, []byte("fatal error: ")):
		t.language = golang
		t.name = words.Fold(t.name, b)
	case bytes.Contains(b[:min(len(b), 60)], []byte("http: panic serving ")):
		t.language = golang
		if i := bytes.Index(b, []byte(": ")); i >= 0 {
			if j := bytes.Index(b[i+2:], []byte(": ")); j >= 0 {
				t.name = words.Fold(append(t.name, "panic: "...), b[i+j+4:])
			}
		}
	case bytes.HasPrefix(b, []byte("thread '")) && bytes.Contains(b, []byte("' panicked at ")),
		bytes.HasPrefix(b, []byte("thread '")) && bytes.Contains(b, []byte(") panicked at ")):
		t.language = rust
		t.rustHead(b)
	case bytes.HasPrefix(b, []byte("Exception in thread ")):
		t.language, t.indent = python, t.indent[:0]
		if rest := b[len("Exception in thread "):]; len(rest) > 0 && rest[0] == '"' {
			t.language = other
			if i := bytes.Index(rest, []byte(`" `)); i >= 0 {
				t.typed(rest[i+2:])
				if len(t.name) == 0 { // a class without the usual ending
					class, _, _ := bytes.Cut(rest[i+2:], []byte{':'})
					t.name = append(t.name, class[:min(len(class), words.TemplateLength/2)]...)
				}
			}
		}
	case bytes.HasPrefix(b, []byte("Unhandled exception. ")), bytes.HasPrefix(b, []byte("Unhandled Exception: ")):
		t.language = other
		t.typed(b[len("Unhandled exception. "):])
	case bytes.HasPrefix(b, []byte("Uncaught ")):
		t.language = other
		t.typed(b[len("Uncaught "):])
	case bytes.Contains(b[:min(len(b), 60)], []byte("UnhandledPromiseRejectionWarning: ")):
		t.language = other
		t.typed(b[bytes.Index(b, []byte("Warning: "))+len("Warning: "):])
	case words.RubyHead(b):
		t.language = other
		t.rubyLine(b)
	case t.phpHead(b):
		t.language = other
	case words.NodeSource(b):
		t.language = other
		t.place = words.AppendPlace(t.place, b)
		t.foreign, t.untyped = bytes.HasPrefix(b, []byte("node:")), true
	default:
		t.runtime = false
		switch {
		case bytes.Contains(b[:min(len(b), 60)], []byte("Traceback (most recent call last)")):
			t.language = python
			t.indent = t.indent[:0]
			n := len(b) - len(bytes.TrimLeft(b, " \t"))
			if bytes.HasPrefix(b[n:], []byte("Traceback")) { // not that of a group
				t.indent = append(t.indent, b[:n]...)
			}
		case bytes.HasPrefix(b, []byte(`  File "`)): // of a file that is no Python
			t.language, t.untyped, t.indent = python, true, t.indent[:0]
			t.pythonFrame(b[len(`  File "`):])
		case bytes.HasPrefix(b, []byte("error: Uncaught ")): // Deno
			t.language, t.runtime = other, true
			t.typed(b[words.TypeWithin(b):])
		case words.TypeLength(bytes.TrimLeft(b, " \t")) > 0:
			t.language = other
			t.typed(bytes.TrimLeft(b, " \t"))
		default:
			return false
		}
	}
	return true
}

// typed notes the type with which b begins.
func (t *Trace) typed(b []byte) {
	if n := words.TypeLength(b); n > 0 {
		t.name = append(t.name[:0], b[:min(n, words.TemplateLength/2)]...)
	}
}

// pythonLine reads a line of a traceback: frames are indented, the type is not.
func (t *Trace) pythonLine(b []byte) bool {
	switch {
	case b[0] == ' ' || b[0] == '\t':
		frame := bytes.TrimLeft(b, " |+")
		switch {
		case t.ended:
		case bytes.HasPrefix(frame, []byte(`File "`)):
			t.pythonFrame(frame[len(`File "`):])
		case bytes.HasPrefix(frame, []byte("ExceptionGroup: ")), bytes.HasPrefix(frame, []byte("BaseExceptionGroup: ")):
			t.name = append(t.name[:0], frame[:bytes.IndexByte(frame, ':')]...)
			t.ended = true
		}
		return true
	case bytes.HasPrefix(b, []byte("> File \"")): // loguru marks where it was caught
		t.pythonFrame(b[len("> File \""):])
		return true
	case bytes.HasPrefix(b, []byte("--- <exception caught here>")): // Twisted
		return true
	case t.ended && string(b) == `"""`: // around that of another process
		t.chained = true
		return true
	case bytes.HasPrefix(b, []byte("During handling of the above exception")),
		bytes.HasPrefix(b, []byte("The above exception was the direct cause")):
		t.chained = true
		return true
	case bytes.HasPrefix(b, []byte("Traceback (most recent call last)")):
		if t.ended && !t.chained {
			return false
		}
		t.ended, t.chained = false, false
		t.place = t.place[:0]
		return true
	case t.ended:
		return false
	}
	i := 0
	for i < len(b) && (words.IsWord(b[i]) || b[i] == '.') {
		i++
	}
	if i == 0 || i < len(b) && !bytes.HasPrefix(b[i:], []byte(": ")) && !bytes.Equal(b[i:], []byte(":")) ||
		words.IsCapitals(b[:i]) && words.WordLevel(b[:i]) != words.Unleveled {
		return false
	}
	name := bytes.TrimPrefix(b[:i], []byte("builtins."))
	t.name = append(t.name[:0], name[:min(len(name), words.TemplateLength/2)]...)
	t.ended, t.untyped = true, false
	return true
}

// pythonFrame notes the place of a frame: the last one that is in no library.
func (t *Trace) pythonFrame(b []byte) {
	const line = `", line `
	i := bytes.Index(b, []byte(line))
	if i < 0 {
		return
	}
	library := bytes.Contains(b[:i], []byte("/site-packages/")) || bytes.Contains(b[:i], []byte("/lib/python")) ||
		b[0] == '<'
	if library && len(t.place) > 0 && !t.foreign {
		return
	}
	t.foreign = library
	number := words.DigitsAt(b[i+len(line):])
	t.place = words.AppendPlace(t.place[:0], append(append(bytes.Clone(b[:i]), ':'), number...))
}

// goLine reads a line of a panic: goroutines, calls, and indented places.
func (t *Trace) goLine(b []byte) bool {
	switch {
	case b[0] == '\t':
		file := b[1:]
		if bytes.HasPrefix(file, []byte("panic: ")) { // another one, while the first was handled
			return true
		}
		i := bytes.Index(file, []byte(".go:"))
		if i < 0 || len(t.place) > 0 && !t.foreign {
			return true
		}
		library := bytes.Contains(file, []byte("/src/runtime/")) || bytes.Contains(file, []byte("/go/src/"))
		if len(t.place) == 0 || !library {
			t.foreign = library
			end := i + len(".go:") + len(words.DigitsAt(file[i+len(".go:"):]))
			t.place = words.AppendPlace(t.place[:0], file[:end])
		}
		return true
	case bytes.HasPrefix(b, []byte("goroutine ")), bytes.HasPrefix(b, []byte("created by ")),
		bytes.HasPrefix(b, []byte("[signal ")), bytes.HasPrefix(b, []byte("exit status ")),
		bytes.HasPrefix(b, []byte("runtime stack:")), bytes.HasPrefix(b, []byte("...")),
		bytes.HasPrefix(b, []byte("[recovered")):
		return true
	}
	call := bytes.IndexByte(b, '(')
	return call > 0 && b[len(b)-1] == ')' && bytes.IndexByte(b[:call], ' ') < 0 && bytes.IndexByte(b[:call], '.') > 0 ||
		bytes.HasPrefix(b, []byte("panic("))
}

// rustHead reads thread 'main' panicked at src/main.rs:2:5: and what it was before Rust
// 1.73: thread 'main' panicked at 'message', src/main.rs:2:5.
func (t *Trace) rustHead(b []byte) {
	t.name = append(t.name, "panic"...)
	place := b[bytes.Index(b, []byte(" panicked at "))+len(" panicked at "):]
	if place = bytes.TrimSuffix(place, []byte{':'}); len(place) > 0 && place[0] == '\'' {
		t.ended = true
		place = place[bytes.LastIndexByte(place, ' ')+1:]
	}
	t.place = words.AppendPlace(t.place, words.WithoutColumn(place))
}

// rustLine reads a line of a panic: the message, the note, the backtrace.
func (t *Trace) rustLine(b []byte) bool {
	switch {
	case bytes.HasPrefix(b, []byte("note: ")), bytes.HasPrefix(b, []byte("stack backtrace:")),
		bytes.HasPrefix(b, []byte("  ")), t.lines > 2 && (bytes.HasPrefix(b, []byte("  left: ")) ||
			bytes.HasPrefix(b, []byte(" right: "))):
		return true
	}
	return t.lines == 2 && t.head[len(t.head)-1] == ':' // the message
}

// otherLine reads a line of a trace whose frames are indented.
func (t *Trace) otherLine(b []byte) bool {
	trimmed := bytes.TrimLeft(b, " \t")
	indented := len(trimmed) < len(b)
	switch {
	case t.untyped:
		return t.sourceLine(b, trimmed)
	case len(trimmed) == 0:
		return true
	case indented && bytes.HasPrefix(trimmed, []byte("at ")):
		t.framed = true
		t.frame(trimmed[len("at "):])
		return true
	case bytes.HasPrefix(trimmed, []byte("Wrapped by: ")): // the cause came first
		return true
	case bytes.HasPrefix(trimmed, []byte("Caused by: ")):
		t.typed(trimmed[len("Caused by: "):])
		t.cause = true
		return true
	case bytes.HasPrefix(b, []byte(" ---> ")):
		t.typed(b[len(" ---> "):])
		t.cause = true
		return true
	case indented && bytes.HasPrefix(trimmed, []byte("from ")): // Ruby
		if place := trimmed[len("from "):]; t.foreign && !bytes.HasPrefix(place, []byte("<internal:")) {
			if i := bytes.Index(place, []byte(":in ")); i > 0 {
				t.place, t.foreign = words.AppendPlace(t.place[:0], place[:i]), false
			}
		}
		return true
	case b[0] == '#' && len(b) > 1 && words.IsDigit(b[1]), bytes.HasPrefix(b, []byte("Stack trace:")): // PHP
		return true
	case b[0] == '\t', bytes.HasPrefix(b, []byte("  ")):
		return true
	case b[0] == '}', bytes.HasPrefix(b, []byte("Node.js v")), bytes.HasPrefix(b, []byte("Require stack:")),
		bytes.HasPrefix(b, []byte("- /")):
		return true
	}
	// The runtime writes frames behind the message: until then its lines are those of it.
	const most = 40
	return t.runtime && !t.framed && t.lines < most && (bytes.HasPrefix(t.head, []byte("Exception in thread ")) ||
		words.NodeSource(t.head))
}

// sourceLine reads what node writes before the type of an error: a line of the source, a
// mark below it, and nothing. What is thrown may be no error, and has no type then.
func (t *Trace) sourceLine(b, trimmed []byte) bool {
	const most = 8
	switch {
	case t.lines == 2:
		return true
	case t.lines == 3:
		if len(bytes.Trim(trimmed, "^")) > 0 {
			return false
		}
		t.name = append(t.name, "Uncaught"...)
		return true
	case words.TypeLength(bytes.TrimPrefix(b, []byte{'['})) > 0: // [AggregateError: …] has no stack of its own
		t.typed(bytes.TrimPrefix(b, []byte{'['}))
		t.untyped = false
		return true
	case bytes.HasPrefix(b, []byte("Node.js v")):
		t.untyped = false
		return true
	}
	return t.lines <= most
}

// frame notes the place of a frame: the first one that is in no library.
func (t *Trace) frame(b []byte) {
	place := b
	if i := bytes.Index(b, []byte(":line ")); i >= 0 { // .NET
		if from := bytes.LastIndex(b[:i], []byte(" in ")); from >= 0 {
			place = append(append(bytes.Clone(b[from+len(" in "):i]), ':'), words.DigitsAt(b[i+len(":line "):])...)
		}
	} else if from := bytes.LastIndexByte(b, '('); from >= 0 && b[len(b)-1] == ')' {
		place = words.WithoutColumn(b[from+1 : len(b)-1])
	} else {
		place = words.WithoutColumn(bytes.TrimPrefix(b, []byte("async ")))
	}
	if i := bytes.LastIndexByte(place, ':'); i <= 0 || len(words.DigitsAt(place[i+1:])) == 0 {
		return // in native code
	}
	library := bytes.HasPrefix(place, []byte("node:")) || bytes.Contains(place, []byte("/node_modules/"))
	for _, of := range []string{"java.", "javax.", "jdk.", "sun.", "jakarta."} {
		library = library || bytes.HasPrefix(b, []byte(of))
	}
	switch {
	case len(t.place) == 0, t.cause && !library, t.foreign && !library:
	case t.cause && len(t.place) > 0:
		return
	default:
		return
	}
	t.foreign, t.cause = library, false
	t.place = words.AppendPlace(t.place[:0], place)
}

func (t *Trace) rubyLine(b []byte) {
	t.place = words.AppendPlace(t.place, b[:bytes.Index(b, []byte(":in "))])
	t.foreign = b[0] == '<'
	if i := bytes.LastIndexByte(b, '('); i >= 0 && b[len(b)-1] == ')' {
		t.name = append(t.name, b[i+1:len(b)-1]...)
	}
}

// phpHead reads PHP Fatal error:  Uncaught RuntimeException: message in /app/x.php:3.
func (t *Trace) phpHead(b []byte) bool {
	if i := bytes.Index(b[:min(len(b), 120)], []byte("PHP message: ")); i >= 0 {
		b = b[i+len("PHP message: "):]
	} else if b[0] == '[' {
		if i := bytes.Index(b[:min(len(b), 60)], []byte("] ")); i >= 0 {
			b = b[i+2:]
		}
	}
	b, php := bytes.CutPrefix(b, []byte("PHP "))
	switch {
	case bytes.HasPrefix(b, []byte("Fatal error: ")), bytes.HasPrefix(b, []byte("Recoverable fatal error: ")),
		php && bytes.HasPrefix(b, []byte("Parse error: ")):
	default:
		return false
	}
	kind, rest, _ := bytes.Cut(b, []byte(": "))
	rest = bytes.TrimLeft(rest, " ")
	t.name = append(t.name, kind...)
	if uncaught, ok := bytes.CutPrefix(rest, []byte("Uncaught ")); ok {
		if i := bytes.IndexAny(uncaught, ": "); i > 0 {
			t.name = append(t.name[:0], uncaught[:min(i, words.TemplateLength/2)]...)
		}
	}
	if i := bytes.LastIndex(rest, []byte(" in ")); i >= 0 {
		place := bytes.TrimRight(rest[i+len(" in "):], `"`) // PHP-FPM quotes what a worker said
		if file, line, ok := bytes.Cut(place, []byte(" on line ")); ok {
			place = append(append(bytes.Clone(file), ':'), words.DigitsAt(line)...)
		}
		t.place = words.AppendPlace(t.place, place)
	}
	return true
}

// IsOpen reports whether lines of it are being read.
func (t *Trace) IsOpen() bool { return t.language != noTrace }

// Close ends it, and appends its template to into where it counts: where it is one, and belongs to no line before.
func (t *Trace) Close(into []byte) (template []byte, counts bool) {
	defer func() { t.language = noTrace }()
	return t.template(into)
}

// template appends what an error of several lines counts as: its type and place, or its
// first line where no place was read. It reports false where the trace counts as none.
func (t *Trace) template(into []byte) ([]byte, bool) {
	switch {
	case t.language == noTrace || t.counted || t.language == python && t.untyped:
		return into, false
	case len(t.place) > 0 && len(t.name) > 0:
		from := len(into)
		into = append(append(append(into, t.name...), " at "...), t.place...)
		return append(into[:from], words.Clean(into[from:])...), true
	case len(t.place) > 0 && t.runtime && t.language == other:
		return into, false // a file and a line alone, as node begins a trace with
	case len(t.name) > 0 && t.language == python:
		return append(into, words.Clean(t.name)...), true
	}
	return words.Fold(into, t.head), true
}
