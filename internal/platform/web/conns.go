package web

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// Conns bounds the connections of a server. Above the limit the oldest is closed that answers no
// one who has logged in: neither idle connections nor half-sent requests keep clients out.
type Conns struct {
	limit int

	mu    sync.Mutex
	turn  uint64
	all   map[net.Conn]struct{}
	loose map[string]loose // what may be closed, by the address of the client
}

// loose is a connection that may be closed.
type loose struct {
	conn net.Conn
	turn uint64 // the least is the oldest
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
	return &Conns{limit: limit, all: make(map[net.Conn]struct{}), loose: make(map[string]loose)}
}

// State is for http.Server.ConnState, which calls it before the connection is served.
func (c *Conns) State(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := conn.RemoteAddr().String()
	switch state {
	case http.StateNew:
		c.all[conn] = struct{}{}
		c.release(at, conn)
		c.makeRoom()
	case http.StateIdle:
		c.release(at, conn)
	case http.StateActive: // it has sent a part of a request, which proves nothing
	case http.StateClosed, http.StateHijacked:
		delete(c.all, conn)
		if c.loose[at].conn == conn { // and no later one from the same port
			delete(c.loose, at)
		}
	}
}

// Hold keeps the connection of a request open until it is idle: its client has logged in.
func (c *Conns) Hold(r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.loose, r.RemoteAddr)
}

func (c *Conns) release(at string, conn net.Conn) {
	if _, open := c.all[conn]; open {
		c.turn++
		c.loose[at] = loose{conn, c.turn}
	}
}

// makeRoom closes the oldest loose connection: the new one where all others are held.
func (c *Conns) makeRoom() {
	for len(c.all) > c.limit {
		at, oldest := "", loose{}
		for address, one := range c.loose {
			if oldest.conn == nil || one.turn < oldest.turn {
				at, oldest = address, one
			}
		}
		if oldest.conn == nil {
			return
		}
		delete(c.loose, at)
		delete(c.all, oldest.conn)
		raw := oldest.conn
		if t, ok := raw.(*tls.Conn); ok {
			raw = t.NetConn() // a farewell would be waited for
		}
		_ = raw.Close() // its goroutine ends
	}
}
