package prom

import (
	"net/http"
	"net/url"
)

// LoggedIn returns a client that shows a user and password to the servers at some URLs, and to no
// other one that a redirect leads to. The password is read for each request. It returns nil, the
// usual client, where there is no password.
func LoggedIn(user string, password func() (string, error), urls ...string) *http.Client {
	if password == nil {
		return nil
	}
	l := login{user: user, password: password, servers: make(map[string]bool)}
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil {
			l.servers[u.Scheme+"://"+u.Host] = true
		}
	}
	return &http.Client{Transport: l}
}

// A login is a layer that adds a user and password to each request.
type login struct {
	user     string
	password func() (string, error)
	servers  map[string]bool
}

// RoundTrip implements http.RoundTripper.
func (l login) RoundTrip(r *http.Request) (*http.Response, error) {
	if !l.servers[r.URL.Scheme+"://"+r.URL.Host] {
		return http.DefaultTransport.RoundTrip(r)
	}
	password, err := l.password()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.SetBasicAuth(l.user, password)
	return http.DefaultTransport.RoundTrip(r)
}
