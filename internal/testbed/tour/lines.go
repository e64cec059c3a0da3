package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// lines writes log lines, whole ones.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) write(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(append(line, '\n')) // there is no other place to say so
}

// request writes a line as the services of the manual do.
func (l *lines) request(level, message, path string, took time.Duration) {
	line, _ := json.Marshal(struct { // strings and a number can be
		Time     string  `json:"time"`
		Level    string  `json:"level"`
		Message  string  `json:"message"`
		Path     string  `json:"path"`
		Duration float64 `json:"duration_ms"`
	}{time.Now().UTC().Format(time.RFC3339Nano), level, message, path, float64(took.Microseconds()) / 1000})
	l.write(line)
}

// plain writes a line that is no JSON, as a library within a service does.
func (l *lines) plain(level, message string) {
	first, _, _ := strings.Cut(message, "\n")
	l.write(fmt.Appendf(nil, "%s %s %s", time.Now().UTC().Format(time.DateTime), cmp.Or(level, "INFO"), first))
}
