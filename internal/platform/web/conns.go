package web

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// Conns bounds the connections of a server: above the limit the one that has waited longest for
// a request is closed, so that idle ones keep no client out.
type Conns struct {
	limit int

	mu    sync.Mutex
	turn  uint64
	quiet map[net.Conn]uint64 // those that wait for a request, by when they began to
	all   map[net.Conn]struct{}
}

const (
	mostConns  = 2048
	leastConns = 32
	// The other descriptors are of targets, files and children.
	connShare = 4
)

// NewConns returns a bound for what the process may open.
func NewConns() *Conns {
	limit := mostConns
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur/connShare < mostConns {
		limit = max(leastConns, int(files.Cur/connShare))
	}
	return &Conns{limit: limit, quiet: make(map[net.Conn]uint64), all: make(map[net.Conn]struct{})}
}

// State is for http.Server.ConnState, which calls it before the connection is served.
func (c *Conns) State(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.quiet, conn)
	switch state {
	case http.StateNew:
		c.all[conn] = struct{}{}
		c.wait(conn)
		c.makeRoom()
	case http.StateIdle:
		c.wait(conn)
	case http.StateActive:
	case http.StateClosed, http.StateHijacked:
		delete(c.all, conn)
	}
}

func (c *Conns) wait(conn net.Conn) {
	c.turn++
	c.quiet[conn] = c.turn
}

// makeRoom closes the connection that has waited longest, which is the new one where all others
// are answered.
func (c *Conns) makeRoom() {
	for len(c.all) > c.limit {
		var oldest net.Conn
		for conn, at := range c.quiet {
			if oldest == nil || at < c.quiet[oldest] {
				oldest = conn
			}
		}
		if oldest == nil {
			return // every other one is answered
		}
		delete(c.quiet, oldest)
		delete(c.all, oldest)
		raw := oldest
		if t, ok := oldest.(*tls.Conn); ok {
			raw = t.NetConn() // a farewell would be waited for
		}
		_ = raw.Close() // its goroutine ends
	}
}
