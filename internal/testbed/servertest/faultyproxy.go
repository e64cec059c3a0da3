package servertest

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// A FaultyProxy is a proxy that can disturb connections, in front of a server, whose
// address stays.
type FaultyProxy struct {
	Address string // host:port

	to string

	mu     sync.Mutex
	l      net.Listener // nil while connections are refused
	open   map[net.Conn]bool
	still  chan struct{} // closed when what is held back goes on; nil while nothing is
	slower time.Duration // that an answer takes at most
}

// NewFaultyProxy starts a proxy before the server at an address.
func NewFaultyProxy(t testing.TB, to string) *FaultyProxy {
	t.Helper()
	w := &FaultyProxy{to: to, open: make(map[net.Conn]bool)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.Address, w.l = l.Addr().String(), l
	go w.accept(l)
	t.Cleanup(func() { w.Restore(t); w.Refuse() })
	return w
}

// Refuse ends every connection and takes no new one.
func (w *FaultyProxy) Refuse() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.l != nil {
		_ = w.l.Close() // that is the point
		w.l = nil
	}
	for c := range w.open {
		_ = c.Close() // the same
	}
}

// HoldAnswers holds back whatever is said, in both directions.
func (w *FaultyProxy) HoldAnswers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.still == nil {
		w.still = make(chan struct{})
	}
}

// Slow lets each answer take a while, at most so long.
func (w *FaultyProxy) Slow(most time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slower = most
}

// Restore lets everything through again.
func (w *FaultyProxy) Restore(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slower = 0
	if w.still != nil {
		close(w.still)
		w.still = nil
	}
	if w.l != nil {
		return
	}
	l, err := net.Listen("tcp", w.Address)
	if err != nil {
		t.Errorf("proxy: %v", err)
		return
	}
	w.l = l
	go w.accept(l)
}

func (w *FaultyProxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go w.serve(c)
	}
}

func (w *FaultyProxy) serve(c net.Conn) {
	defer w.keep(c)()
	s, err := net.Dial("tcp", w.to)
	if err != nil {
		return // the client sees that nothing answers
	}
	defer w.keep(s)()
	go func() {
		w.copy(s, c, false)
		_ = s.Close() // its end is the connection's
	}()
	w.copy(c, s, true)
}

func (w *FaultyProxy) keep(c net.Conn) (forget func()) {
	w.mu.Lock()
	w.open[c] = true
	w.mu.Unlock()
	return func() {
		_ = c.Close() // it may be closed already
		w.mu.Lock()
		delete(w.open, c)
		w.mu.Unlock()
	}
}

func (w *FaultyProxy) copy(to, from net.Conn, answers bool) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		still, slower := w.still, w.slower
		w.mu.Unlock()
		if still != nil {
			<-still
		}
		if answers && slower > 0 {
			time.Sleep(rand.N(slower))
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
