package console_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/console"
)

func TestAuthorize(t *testing.T) {
	right := func() (string, error) { return "right", nil }
	for _, test := range []struct {
		name         string
		token        func() (string, error)
		remote       string
		host         string
		header       [2]string
		status       int // 0: let through
		fromABrowser string
	}{
		{name: "the token, from anywhere", token: right, remote: "192.0.2.7:1",
			header: [2]string{"Authorization", "Bearer right"}},
		{name: "another token", token: right, remote: "127.0.0.1:1", header: [2]string{"Authorization", "Bearer wrong"},
			status: 401},
		{name: "no token, from here", token: right, remote: "127.0.0.1:1", status: 401},
		{name: "another scheme", token: right, remote: "127.0.0.1:1", header: [2]string{"Authorization", "Basic right"},
			status: 401},
		{name: "an empty token", token: right, remote: "127.0.0.1:1", header: [2]string{"Authorization", "Bearer "},
			status: 401},
		{name: "the token cannot be read", token: func() (string, error) { return "", errors.New("gone") },
			remote: "127.0.0.1:1", header: [2]string{"Authorization", "Bearer "}, status: 500},
		{name: "the token through a proxy", token: right, remote: "127.0.0.1:1", host: "upkeep.example",
			header: [2]string{"Authorization", "Bearer right"}},
		{name: "no token wanted, from here", remote: "127.0.0.1:1"},
		{name: "no token wanted, from here by IPv6", remote: "[::1]:1", host: "[::1]:9847"},
		{name: "no token wanted, by the name localhost", remote: "127.0.0.1:1", host: "localhost:9847"},
		{name: "no token wanted, from elsewhere", remote: "192.0.2.7:1", status: 403},
		{name: "no token wanted, through a proxy here", remote: "127.0.0.1:1",
			header: [2]string{"X-Forwarded-For", "192.0.2.7"}, status: 403},
		{name: "no token wanted, under a name that leads here", remote: "127.0.0.1:1", host: "evil.example:9847",
			status: 403},
		{name: "another site's page", token: right, remote: "192.0.2.7:1",
			header: [2]string{"Authorization", "Bearer right"}, fromABrowser: "cross-site", status: 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.RemoteAddr, r.Host = test.remote, "127.0.0.1:9847"
			if test.host != "" {
				r.Host = test.host
			}
			if test.header[0] != "" {
				r.Header.Set(test.header[0], test.header[1])
			}
			if test.fromABrowser != "" {
				r.Header.Set("Sec-Fetch-Site", test.fromABrowser)
			}
			if status, err := console.NewGate(test.token).Authorize(r); status != test.status ||
				(err == nil) != (test.status == 0) {
				t.Errorf("Authorize: %d %v, want %d", status, err, test.status)
			}
		})
	}
}
