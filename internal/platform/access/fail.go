package access

import "net/http"

// fail counts and logs a failed login. What was shown is in neither.
func (g *Guard) fail(r *http.Request, kind Kind, name string) error {
	if g.config.Failed != nil {
		g.config.Failed(kind, name)
	}
	if lines := g.failures.line(g.config.Now()); lines > 0 && g.config.Logger != nil {
		g.config.Logger.Warn("login failed", "kind", string(kind), "user", plain(name), "remote", r.RemoteAddr,
			"path", r.URL.Path, "failures", lines)
	}
	return ErrWrong
}
