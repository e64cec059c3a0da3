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
