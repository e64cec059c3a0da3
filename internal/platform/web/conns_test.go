package web

import (
	"net"
	"net/http"
	"testing"
)

// Above the limit the oldest connection is closed that answers no one who has logged in.
func TestConns(t *testing.T) {
	c := NewConns()
	c.limit = 3
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing is left
	open := func() (far net.Conn, closed func() bool) {
		t.Helper()
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = near.Close() }) // it may be closed
		if far, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		c.State(far, http.StateNew)
		return far, func() bool { _, err := far.Write([]byte("x")); return err != nil }
	}
	held, heldClosed := open()
	c.State(held, http.StateActive)
	c.Hold(&http.Request{RemoteAddr: held.RemoteAddr().String()})
	half, halfClosed := open()
	c.State(half, http.StateActive)
	_, idleClosed := open()
	if halfClosed() || idleClosed() || heldClosed() {
		t.Fatal("one was closed below the limit")
	}
	open()
	if !halfClosed() || idleClosed() || heldClosed() {
		t.Error("with one more, the oldest that is not held is not the one that is closed")
	}
	c.State(held, http.StateIdle) // it is the youngest now
	open()
	if !idleClosed() || heldClosed() {
		t.Error("an idle one became older than what waited before it")
	}
	open()
	open()
	if !heldClosed() {
		t.Error("an idle one is kept for ever")
	}
}

// A named connection is one of an address.
type named struct {
	net.Conn
	at     net.Addr
	closed bool
}

func (n *named) RemoteAddr() net.Addr { return n.at }

func (n *named) Close() error {
	n.closed = true
	return nil
}

// The end of a connection is no end of a later one that comes from the same port: that one can
// be closed like any other.
func TestConnsOfOnePort(t *testing.T) {
	c := NewConns()
	c.limit = 1
	at := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port} }
	first, again, other := &named{at: at(1)}, &named{at: at(1)}, &named{at: at(2)}
	c.State(first, http.StateNew)
	c.State(other, http.StateNew) // first is closed, and its goroutine has not ended yet
	c.State(again, http.StateNew) // the client comes back at once
	c.State(first, http.StateClosed)
	if !first.closed || !other.closed || again.closed {
		t.Errorf("closed: %v, %v, %v, want the first two", first.closed, other.closed, again.closed)
	}
	last := &named{at: at(3)}
	c.State(last, http.StateNew)
	if !again.closed || last.closed {
		t.Errorf("the one that came back is closed: %v; the last: %v", again.closed, last.closed)
	}
	c.State(first, http.StateIdle) // late
	if len(c.all) != 1 || len(c.loose) != 1 {
		t.Errorf("%d connections, %d of them may be closed; want one", len(c.all), len(c.loose))
	}
}
