package web_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

// A request whose end is said in two ways is refused, wherever it is on its connection and however its head
// is divided. One that is said in one way is answered, whatever is in its body.
func TestTwoLengths(t *testing.T) {
	route := web.Post("/echo", access.View, "", hello)
	f := newFixture(route)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f.router, ConnContext: web.FramedContext} //nolint:gosec // ended by the test
	go func() { _ = server.Serve(web.Framed(l)) }()                           // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	head := "POST /echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ci-token\r\n"
	const coded = "Transfer-Encoding: chunked\r\n"
	like := "5\r\n" + "x\r\n\r\n\r\n0\r\n\r\n" // a body with an empty line in it
	plain := head + "Content-Length: 42\r\n\r\nTransfer-Encoding: x\r\nContent-Length: 9\r\n\r\n"
	for name, test := range map[string]struct{ text, want string }{
		"a length":                {plain, "200"},
		"chunks":                  {head + coded + "\r\n" + like, "200"},
		"both":                    {head + coded + "Content-Length: 3\r\n\r\n" + like, "400"},
		"both, the other way":     {head + "content-length: 3\r\n" + coded + "\r\n" + like, "400"},
		"both after others":       {plain + plain + head + coded + "Content-Length: 3\r\n\r\n" + like, "200 200 400"},
		"nothing after chunks":    {head + coded + "\r\n" + like + plain, "200"},
		"only newlines":           {strings.ReplaceAll(head+coded+"Content-Length: 3\r\n\r\n", "\r", "") + like, "400"},
		"a long header before it": {head + "X: " + strings.Repeat("x", 9000) + "\r\nContent-Length: 3\r\n" + coded + "\r\n" + like, "400"},
	} {
		for _, part := range []int{1, 7, 1 << 20} {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for text := test.text; text != ""; text = text[min(part, len(text)):] {
					if _, err := io.WriteString(c, text[:min(part, len(text))]); err != nil {
						return // it was answered and closed
					}
				}
				_ = c.(*net.TCPConn).CloseWrite() // it may be closed
			}()
			var got []string
			for r := bufio.NewReader(c); ; {
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, res.Body) // it may be cut
				got = append(got, fmt.Sprint(res.StatusCode))
			}
			_ = c.Close() // it was read
			if strings.Join(got, " ") != test.want {
				t.Errorf("%s in parts of %d: %q, want %q", name, part, got, test.want)
			}
		}
	}
}
