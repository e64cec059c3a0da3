package webconfig

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/common/config"
	"golang.org/x/crypto/bcrypt"
)

// deliveries begin the paths that monitoring systems deliver alerts to.
const deliveries = "/webhook/"

// Middleware lets a request through that names a user with the right password, or that
// has the token. Where the file has no users it lets all requests through. It also limits
// their rate and sets the headers of http_server_config.
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
		if len(s.config.Users) == 0 {
			return
		}
		switch ok, err := f.may(g.Request, s.config.Users); {
		case err != nil:
			refuse(g, http.StatusInternalServerError, err.Error())
		case !ok:
			g.Header("WWW-Authenticate", "Basic")
			refuse(g, http.StatusUnauthorized, http.StatusText(http.StatusUnauthorized))
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

// may reports whether a request has the token, or a user's name and password.
func (f *File) may(r *http.Request, users map[string]config.Secret) (bool, error) {
	if got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if f.token == nil {
			return false, nil
		}
		want, err := f.token()
		if err != nil {
			return false, fmt.Errorf("web token: %w", err)
		}
		x, y := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want)) // every token takes the same time
		return want != "" && subtle.ConstantTimeCompare(x[:], y[:]) == 1, nil
	}
	name, password, ok := r.BasicAuth()
	return ok && f.known(users, name, password), nil
}

// remembered limits the passwords that are known to be right.
const remembered = 100

// unknownUser is the hash that an unknown user's password is compared with, so that the time of
// an answer does not say which users exist.
const unknownUser = "$2a$10$7EqJtq98hPqEX7fNZaFWoOhiN0k2WlTpoEOVKTIn1F1pSW7mHIpwK"

func (p *passwords) known(users map[string]config.Secret, name, password string) bool {
	hash, there := users[name]
	if !there {
		hash = unknownUser
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", name, password, string(hash)))
	p.cache.Lock()
	right := p.right[key]
	p.cache.Unlock()
	if right {
		return true
	}
	p.one.Lock()
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	p.one.Unlock()
	if err != nil || !there {
		return false
	}
	p.cache.Lock()
	defer p.cache.Unlock()
	if len(p.right) >= remembered {
		clear(p.right)
	}
	p.right[key] = true
	return true
}
