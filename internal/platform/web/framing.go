package web

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Framed returns a listener that sees how requests say where they end. net/http drops a Content-Length that
// is beside a Transfer-Encoding, and answers; a proxy that believes the other of the two takes the
// body for the next request, of another client.
func Framed(l net.Listener) net.Listener { return framedListener{l} }

// FramedContext is for http.Server.ConnContext.
func FramedContext(ctx context.Context, c net.Conn) context.Context {
	if f, ok := c.(*framed); ok {
		return context.WithValue(ctx, framedKey{}, f)
	}
	return ctx // of TLS, where no one sees the text on its way
}

type framedKey struct{}

type framedListener struct{ net.Listener }

func (l framedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &framed{Conn: c}, nil
}

// framed follows the requests of a connection up to the first that has a Transfer-Encoding: after that one
// the connection is closed.
type framed struct {
	net.Conn

	mu      sync.Mutex
	line    []byte // of a head, as far as it has come; long ones are cut
	length  string // the Content-Length of the head
	coded   bool   // it has a Transfer-Encoding
	body    int64  // bytes of a body that are still to come
	stopped bool
}

func (f *framed) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.follow(p[:n])
	return n, err
}

// keptLine is how much of a line says which header it is, and how long a body.
const keptLine = 64

func (f *framed) follow(p []byte) {
	for len(p) > 0 && !f.stopped {
		if f.body > 0 {
			n := min(f.body, int64(len(p)))
			f.body, p = f.body-n, p[n:]
			continue
		}
		part, rest, whole := bytes.Cut(p, []byte("\n"))
		f.line = append(f.line, part[:min(len(part), keptLine-len(f.line))]...)
		if !whole {
			return
		}
		f.header(string(bytes.TrimSuffix(f.line, []byte("\r"))))
		f.line, p = f.line[:0], rest
	}
}

// header takes a whole line of a head, of which the last is empty.
func (f *framed) header(line string) {
	name, value, _ := strings.Cut(line, ":")
	switch {
	case line == "" && f.coded:
		f.stopped = true
	case line == "" && f.length != "":
		size, err := strconv.ParseInt(f.length, 10, 64)
		f.body, f.length, f.stopped = size, "", err != nil // net/http refuses it
	case strings.EqualFold(name, "Content-Length"):
		f.length = strings.TrimSpace(value)
	case strings.EqualFold(name, "Transfer-Encoding"):
		f.coded = true
	}
}

// ends reports whether a request says in one way where it ends. The connection is closed after one that has
// a Transfer-Encoding, as RFC 9112 asks for in section 6.1.
func ends(w http.ResponseWriter, r *http.Request) bool {
	if len(r.TransferEncoding) == 0 && r.Header.Get("Transfer-Encoding") == "" {
		return true
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	f, ok := r.Context().Value(framedKey{}).(*framed)
	if !ok {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.length == ""
}
