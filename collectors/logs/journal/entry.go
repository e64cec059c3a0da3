package journal

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A Journal is where the entries are.
type Journal struct {
	Folder string   // with journal files; "": the machine's own
	Units  []string // written out, as nginx.service
}

// NoPriority is the priority of an entry that has none.
const NoPriority = -1

// An Entry is what a unit wrote, or what systemd wrote about it.
type Entry struct {
	Unit     string // one of the journal's
	Priority int    // as syslog counts, or NoPriority
	Message  []byte // without its middle, or nil, where it is too long
	Cursor   string // its place
	At       time.Time
}

// read reads an entry as journalctl writes it: an object of texts. A text that is no UTF-8 is a list of
// bytes, and a field that is there several times a list of texts.
func (j Journal) read(line []byte) (Entry, bool) {
	if len(line) == 0 || line[0] != '{' {
		return Entry{}, false
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(line, &all) != nil {
		return j.entry(func(name string) []byte { return within(line, name) })
	}
	e, ok := j.entry(func(name string) []byte { return text(all[name]) })
	if ok {
		e.Message = text(all["MESSAGE"])
	}
	return e, ok
}

// entry makes an entry of its fields. Each has a place.
func (j Journal) entry(field func(string) []byte) (Entry, bool) {
	e := Entry{Priority: NoPriority, Cursor: string(field("__CURSOR"))}
	// That of another unit names this one: systemd says that it started, or that it crashed.
	for _, name := range []string{"_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT"} {
		if unit := string(field(name)); slices.Contains(j.Units, unit) {
			e.Unit = unit
			break
		}
	}
	const worst, least = 0, 7
	if n, err := strconv.Atoi(string(field("PRIORITY"))); err == nil && n >= worst && n <= least {
		e.Priority = n
	}
	if us, err := strconv.ParseInt(string(field("__REALTIME_TIMESTAMP")), 10, 64); err == nil {
		e.At = time.UnixMicro(us)
	}
	return e, e.Cursor != ""
}

// text returns the text of a field.
func text(raw json.RawMessage) []byte {
	var s string
	if len(raw) == 0 || raw[0] != '[' {
		if json.Unmarshal(raw, &s) != nil {
			return nil
		}
		return []byte(s)
	}
	var b []uint16 // a []byte would be base64
	if json.Unmarshal(raw, &b) == nil {
		all := make([]byte, len(b))
		for i, n := range b {
			all[i] = byte(n)
		}
		return all
	}
	var several []json.RawMessage
	if json.Unmarshal(raw, &several) != nil || len(several) == 0 || several[0][0] == '{' {
		return nil
	}
	return text(several[0])
}

// within finds a field in an entry whose middle is not kept. What is within a text has its quotes escaped.
func within(line []byte, name string) []byte {
	m := regexp.MustCompile(`[{,]\s*"` + name + `"\s*:\s*"([^"\\]*)"`).FindSubmatch(line)
	if m == nil {
		return nil
	}
	return m[1]
}
