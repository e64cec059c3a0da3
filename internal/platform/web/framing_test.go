package web_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

// A request whose end is said in two ways is refused, wherever it is on its connection and however its head
// is divided. One that is said in one way is answered, whatever is in its body. With TLS the library does not show both:
// the request ends where its chunks do, and nothing behind it is taken for another one.
func TestTwoLengths(t *testing.T) {
	f := newFixture(web.Post("/echo", access.View, "", hello))
	plain, secure := httptest.NewUnstartedServer(f.router), httptest.NewUnstartedServer(f.router)
	for _, s := range []*httptest.Server{plain, secure} { // as App.answer and webconfig.Serve do
		s.Config.ConnContext = web.FramedContext
	}
	plain.Listener = web.Framed(plain.Listener)
	plain.Start()
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	head := "POST /echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ci-token\r\n"
	const coded = "Transfer-Encoding: chunked\r\n"
	like := "5\r\n" + "x\r\n\r\n\r\n0\r\n\r\n" // a body with an empty line in it
	next := head + "Content-Length: 42\r\n\r\nTransfer-Encoding: x\r\nContent-Length: 9\r\n\r\n"
	for name, test := range map[string]struct{ text, want, secure string }{
		"a length":             {next, "200", "200"},
		"chunks":               {head + coded + "\r\n" + like, "200", "200"},
		"both":                 {head + coded + "Content-Length: 3\r\n\r\n" + like, "400", "200"},
		"both, the other way":  {head + "content-length: 3\r\n" + coded + "\r\n" + like, "400", "200"},
		"both after others":    {next + next + head + coded + "Content-Length: 3\r\n\r\n" + like, "200 200 400", "200 200 200"},
		"nothing after chunks": {head + coded + "\r\n" + like + next, "200", "200"},
		"hidden behind chunks": {head + fmt.Sprintf("Content-Length: %d\r\n", 5+len(next)) + coded + "\r\n0\r\n\r\n" + next, "400", "200"},
		"hidden behind a length": {head + coded + "Content-Length: 4\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(next), next) + next,
			"400", "200"},
		"only newlines":           {strings.ReplaceAll(head+coded+"Content-Length: 3\r\n\r\n", "\r", "") + like, "400", "200"},
		"a long header before it": {head + "X: " + strings.Repeat("x", 9000) + "\r\nContent-Length: 3\r\n" + coded + "\r\n" + like, "400", "200"},
	} {
		for _, part := range []int{1, 7, 1 << 20} {
			at := plain.Listener.Addr().String()
			if got := exchange(t, test.text, part, func() (net.Conn, error) { return net.Dial("tcp", at) }); got != test.want {
				t.Errorf("%s in parts of %d: %q, want %q", name, part, got, test.want)
			}
			at = secure.Listener.Addr().String()
			if got := exchange(t, test.text, part, func() (net.Conn, error) {
				return tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // of the test
			}); got != test.secure {
				t.Errorf("%s in parts of %d with TLS: %q, want %q", name, part, got, test.secure)
			}
		}
	}
}

// exchange sends a text in parts and returns the statuses of all answers until the end of the connection.
func exchange(t *testing.T, text string, part int, dial func() (net.Conn, error)) string {
	t.Helper()
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // it was read
	go func() {
		for text := text; text != ""; text = text[min(part, len(text)):] {
			if _, err := io.WriteString(c, text[:min(part, len(text))]); err != nil {
				return // it was answered and closed
			}
		}
		_ = c.(interface{ CloseWrite() error }).CloseWrite() // it may be closed
	}()
	var got []string
	for r := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return strings.Join(got, " ")
		}
		_, _ = io.Copy(io.Discard, res.Body) // it may be cut
		got = append(got, fmt.Sprint(res.StatusCode))
	}
}
