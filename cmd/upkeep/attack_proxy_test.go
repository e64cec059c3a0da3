package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// H1: a proxy on the same machine, with and without its headers, gives no rights to those
// behind it.
func TestAttackThroughProxies(t *testing.T) {
	f := newFort(t, "")
	for name, address := range f.proxies(t) {
		for what, body := range changes() {
			method, path, _ := strings.Cut(what, " ")
			for _, header := range []string{"", "X-Forwarded-For", "X-Real-Ip", "Forwarded"} {
				change := with("Host", "upkeep.example.com")
				if header != "" {
					change = func(r *http.Request) { r.Host = "upkeep.example.com"; r.Header.Set(header, "127.0.0.1") }
				}
				if status, text := try(t, method, address, path, body, change); status != http.StatusUnauthorized {
					t.Errorf("%s, %s with %q: %d %s", name, what, header, status, text)
				}
			}
		}
		if status, text := try(t, "GET", address, console.Prefix+"/status", "", as(access.View),
			with("Host", "upkeep.example.com")); status != http.StatusOK {
			t.Errorf("%s with a token: %d %s", name, status, text)
		}
	}
}

// proxies starts what people put before an upkeep, and returns where each answers.
func (f *fort) proxies(t *testing.T) map[string]string {
	t.Helper()
	through := map[string]string{"nginx": f.nginx(t), "haproxy": f.haproxy(t), "socat": freeAddress(t)}
	spawn(t, f.dir, "socat", "TCP-LISTEN:"+port(through["socat"])+",bind=127.0.0.1,fork,reuseaddr", "TCP:"+f.address)
	for name, address := range through {
		servertest.Eventually(t, name+" answers", func() bool {
			c, err := net.Dial("tcp", address)
			return err == nil && c.Close() == nil
		})
	}
	return through
}

func port(address string) string {
	_, p, _ := strings.Cut(address, ":")
	return p
}

func (f *fort) nginx(t *testing.T) string {
	t.Helper()
	at := freeAddress(t)
	write(t, filepath.Join(f.dir, "nginx.conf"), fmt.Sprintf(`daemon off; pid %[1]s/nginx.pid; error_log stderr;
events {}
http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;
  uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen %[2]s; location / { proxy_pass http://%[3]s; } } }
`, f.dir, at, f.address))
	spawn(t, f.dir, "nginx", "-c", filepath.Join(f.dir, "nginx.conf"), "-e", "stderr")
	return at
}

func (f *fort) haproxy(t *testing.T) string {
	t.Helper()
	at := freeAddress(t)
	write(t, filepath.Join(f.dir, "haproxy.cfg"), fmt.Sprintf(`defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen upkeep
  bind %s
  server upkeep %s
`, at, f.address))
	spawn(t, f.dir, "haproxy", "-f", "haproxy.cfg")
	return at
}

// What a client writes about itself, its way and the site gives it no rights, no other name and no more guesses through
// any proxy, and is repeated nowhere.
func TestAttackThroughProxiesByHeaders(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	forged := map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Client-Ip": "127.0.0.1", "True-Client-Ip": "127.0.0.1",
		"Forwarded":        "for=127.0.0.1;host=evil.example;proto=https;by=127.0.0.1",
		"X-Forwarded-Host": "evil.example", "X-Host": "evil.example", "X-Forwarded-Server": "evil.example",
		"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "//evil.example", "X-Forwarded-Port": "443",
		"X-Forwarded-User": "ann", "X-Remote-User": "ann", "Remote-User": "ann", "X-Webauth-User": "ann", "X-Auth-Request-User": "ann",
		"X-Original-Url": "/-/healthy", "X-Rewrite-Url": "/-/healthy", "X-Http-Method-Override": "GET", "X-Method-Override": "GET",
		"X-Ssl-Client-Verify": "SUCCESS", "X-Forwarded-Client-Cert": "Subject=ann",
		"Via": "1.1 evil.example", "Proxy-Authorization": "Bearer the-token-of-admin", "X-Api-Key": "the-token-of-admin",
		"Upgrade": "h2c", "Expect": "100-continue", "Range": "bytes=0-1", "Max-Forwards": "0",
	}
	forge := func(r *http.Request) {
		r.Host = "upkeep.example.com"
		for name, value := range forged {
			r.Header.Set(name, value)
		}
	}
	for name, address := range f.proxies(t) {
		for _, path := range []string{"/metrics", console.Prefix + "/status", "/", "/api/v1/query?query=up", "/login", "/-/healthy"} {
			want := http.StatusUnauthorized
			if path == "/login" || path == "/-/healthy" {
				want = http.StatusOK
			}
			res, text := tryFor(t, "GET", address, path, nil, forge)
			if res.StatusCode != want {
				t.Errorf("%s, %s: %s %.300s", name, path, res.Status, text)
			}
			if all := fmt.Sprint(res.Header) + text; strings.Contains(all, "evil.example") {
				t.Errorf("%s, %s repeats what was forged: %.2000s", name, path, all)
			}
		}
		if status, text := try(t, "POST", address, "/-/reload", "", forge); status != http.StatusUnauthorized {
			t.Errorf("%s, a change: %d %s", name, status, text)
		}
		if name == "socat" {
			f.guessFromEverywhere(t, name, address) // it is one client for all of them
		}
	}
}

// guessFromEverywhere guesses under another address in each request.
func (f *fort) guessFromEverywhere(t *testing.T, name, address string) {
	t.Helper()
	var guesses sync.WaitGroup
	var mu sync.Mutex
	got := make(map[int]int)
	begun := time.Now()
	for n := range 40 {
		guesses.Go(func() {
			status, _ := try(t, "GET", address, "/metrics", "", func(r *http.Request) {
				r.SetBasicAuth("ann", fmt.Sprint("guess ", n))
				for _, header := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded"} {
					r.Header.Set(header, fmt.Sprintf("10.0.%d.%d", n/250, n%250))
				}
			})
			mu.Lock()
			defer mu.Unlock()
			got[status]++
		})
	}
	guesses.Wait()
	if most := 6 + int(time.Since(begun).Seconds()); got[401] > most || got[401]+got[429]+got[503] != 40 {
		t.Errorf("%s: the guesses were answered %v, want 401 for %d at most", name, got, most)
	}
}

// Requests that proxies and servers read in different ways: in absolute form, with two hosts, two lengths, a body in a
// GET. None reaches what it has no login for, and no part of one is taken for another request.
func TestAttackThroughProxiesByForm(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	const host, hidden = "Host: upkeep.example.com\r\n", "GET /-/healthy HTTP/1.1\r\nHost: upkeep.example.com\r\n\r\n"
	requests := map[string]string{
		"absolute form":                "GET http://upkeep.example.com/metrics HTTP/1.1\r\n" + host + "\r\n",
		"absolute form, another host":  "GET http://127.0.0.1/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"absolute form, a password":    "GET http://ann:ann%27s%20password@localhost/metrics HTTP/1.1\r\n" + host + "\r\n",
		"absolute form, https":         "GET https://upkeep.example.com/metrics HTTP/1.1\r\n" + host + "\r\n",
		"another machine":              "GET http://evil.example/metrics HTTP/1.1\r\n" + host + "\r\n",
		"a tunnel":                     "CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + host + "\r\n",
		"a tunnel to upkeep":           "CONNECT /metrics HTTP/1.1\r\n" + host + "\r\n",
		"two hosts":                    "GET /metrics HTTP/1.1\r\n" + host + "Host: localhost\r\n\r\n",
		"no host":                      "GET /metrics HTTP/1.1\r\n\r\n",
		"an old version":               "GET /metrics HTTP/1.0\r\n\r\n",
		"a fragment":                   "GET /-/healthy#/../../metrics HTTP/1.1\r\n" + host + "\r\n",
		"a path upwards":               "GET /-/healthy/../../metrics HTTP/1.1\r\n" + host + "\r\n",
		"a path upwards, encoded":      "GET /static/..%2fmetrics HTTP/1.1\r\n" + host + "\r\n",
		"two slashes":                  "GET //metrics HTTP/1.1\r\n" + host + "\r\n",
		"a semicolon":                  "GET /-/healthy;/../metrics HTTP/1.1\r\n" + host + "\r\n",
		"an encoded letter":            "GET /%6detrics HTTP/1.1\r\n" + host + "\r\n",
		"a folded header":              "GET /metrics HTTP/1.1\r\n" + host + "X: y\r\n Authorization: Bearer the-token-of-admin\r\n\r\n",
		"a space before the colon":     "GET /metrics HTTP/1.1\r\n" + host + "Authorization : Bearer the-token-of-admin\r\n\r\n",
		"length before chunks":         "POST /login HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", 5+len(hidden), hidden),
		"chunks before length":         "POST /login HTTP/1.1\r\n" + host + fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
		"two lengths":                  "POST /login HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
		"a length with a sign":         "POST /login HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: +%d\r\n\r\n%s", len(hidden), hidden),
		"chunks of another name":       "POST /login HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n%s", 5+len(hidden), hidden),
		"chunks behind a tab":          "POST /login HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n%s", 5+len(hidden), hidden),
		"chunks twice":                 "POST /login HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n%s", 5+len(hidden), hidden),
		"a body in a GET":              "GET /login HTTP/1.1\r\n" + host + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(hidden), hidden),
		"chunks of a negative size":    "POST /login HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + hidden,
		"a chunk's extension":          "POST /login HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\n",
		"an upgrade with a body after": "GET /login HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
	}
	for name, address := range f.proxies(t) {
		for what, request := range requests {
			got := raw(t, address, request)
			if strings.Contains(got, "upkeep_build_info") {
				t.Errorf("%s, %s: the metrics are served: %.300s", name, what, got)
			}
			if strings.Contains(request, hidden) && strings.Contains(got, "upkeep is healthy") {
				t.Errorf("%s, %s: what is in the body was answered: %.2000s", name, what, got)
			}
		}
		if got := raw(t, address, hidden); !strings.Contains(got, "upkeep is healthy") {
			t.Errorf("%s does not lead to upkeep: %s", name, got)
		}
	}
}

// raw sends a text, and behind it a request that ends the connection, and returns all that is answered.
func raw(t *testing.T, address, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()                    // it was read
	_ = c.SetDeadline(time.Now().Add(10 * time.Second)) // some wait for more of a body
	_, _ = io.WriteString(c, text+"GET /nowhere HTTP/1.1\r\nHost: upkeep.example.com\r\nConnection: close\r\n\r\n")
	all, _ := io.ReadAll(c) // it may be answered and closed before, or reset
	return string(all)
}
