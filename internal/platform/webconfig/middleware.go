package webconfig

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/common/config"
	"golang.org/x/crypto/bcrypt"
)

// deliveries begin the paths that monitoring systems deliver alerts to.
const deliveries = "/webhook/"

// Middleware limits the rate of requests and sets the headers of http_server_config. While the
// file cannot be understood it refuses every request.
func (f *File) Middleware() gin.HandlerFunc {
	return func(g *gin.Context) {
		if f.path == "" {
			return
		}
		s, err := f.current()
		if err != nil {
			refuse(g, http.StatusInternalServerError,
				"the web configuration file cannot be read, or is invalid; the log of upkeep has the reason")
			return
		}
		if s.limiter != nil && !s.limiter.Allow() {
			tooMany(g)
			return
		}
		for name, value := range s.config.HTTPConfig.Header {
			g.Header(name, value)
		}
	}
}

func refuse(g *gin.Context, status int, text string) {
	http.Error(g.Writer, text, status)
	g.Abort()
}

// tooMany answers a request above the limit. Alertmanager gives up a delivery that is
// answered 429 and repeats one that is answered 503.
func tooMany(g *gin.Context) {
	g.Header("Retry-After", "1")
	status := http.StatusTooManyRequests
	if strings.HasPrefix(g.Request.URL.Path, deliveries) {
		status = http.StatusServiceUnavailable
	}
	refuse(g, status, "more requests than rate_limit of the web configuration allows")
}

// HasUsers reports whether the file has users.
func (f *File) HasUsers() bool { return len(f.users()) > 0 }

// TLS reports whether the file says how to serve with TLS.
func (f *File) TLS() bool {
	if f.path == "" {
		return false
	}
	s, err := f.current()
	return err == nil && s.config.TLSConfig.IsEnabled()
}

// KeyFile returns the file with the key of the certificate, "" without TLS.
func (f *File) KeyFile() string {
	if f.path == "" {
		return ""
	}
	s, err := f.current()
	if err != nil {
		return ""
	}
	return s.config.TLSConfig.TLSKeyPath
}

// Names returns the users of the file.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.users())) }

func (f *File) users() map[string]config.Secret {
	if f.path == "" {
		return nil
	}
	s, err := f.current()
	if err != nil {
		return nil // Middleware refuses every request
	}
	return s.config.Users
}

// Known reports whether the password of a user is right. Where it was not right a moment ago,
// turn is asked first, and done is called afterwards: the hash is slow to compute.
func (f *File) Known(name, password string, turn func() (done func(), err error)) (bool, error) {
	return f.known(f.users(), name, password, turn)
}

// Stamp returns a value that changes with the password, and whether the user exists.
func (f *File) Stamp(name string) (stamp []byte, there bool) {
	hash, there := f.users()[name]
	sum := sha256.Sum256([]byte(hash))
	return sum[:8], there
}

// remembered limits the passwords that are known to be right.
const remembered = 100

// unknownUser is the hash that an unknown user's password is compared with, so that the time of
// an answer does not say which users exist.
const unknownUser = "$2a$10$7EqJtq98hPqEX7fNZaFWoOhiN0k2WlTpoEOVKTIn1F1pSW7mHIpwK"

// unknown returns the most expensive hash of the users, or unknownUser without users: an
// administrator chooses what a hash costs.
func unknown(users map[string]config.Secret) config.Secret {
	hash, most := config.Secret(unknownUser), 0
	for _, one := range users {
		if cost, err := bcrypt.Cost([]byte(one)); err == nil && cost > most {
			hash, most = one, cost
		}
	}
	return hash
}

func (p *passwords) known(users map[string]config.Secret, name, password string,
	turn func() (func(), error)) (bool, error) {
	hash, there := users[name]
	if !there {
		hash = unknown(users)
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", name, password, string(hash)))
	p.cache.Lock()
	right := p.right[key]
	p.cache.Unlock()
	if right && there {
		return true, nil
	}
	done, err := turn()
	if err != nil {
		return false, err
	}
	err = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	done()
	if err != nil || !there {
		return false, nil
	}
	p.cache.Lock()
	defer p.cache.Unlock()
	if len(p.right) >= remembered {
		clear(p.right)
	}
	p.right[key] = true
	return true, nil
}
