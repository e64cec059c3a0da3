package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
)

const (
	// AdminTokenName is the name of the token that upkeep makes in data_dir.
	AdminTokenName = "admin"

	// AdminTokenFile is where it is in data_dir.
	AdminTokenFile = "admin-token"

	// plainToken is the name of the token of token_file and token_env.
	plainToken = "token"
)

// DefaultDataDir returns where the data are where the configuration says nothing.
func DefaultDataDir() string { return defaultText[Config]("DataDir") }

// Access returns the configured tokens.
func (w Web) Access() (all []access.Token) {
	if read := secret(w.TokenFile, w.TokenEnv); read != nil {
		all = append(all, access.Token{Name: plainToken, Role: access.Admin, Read: read})
	}
	for _, t := range w.Tokens {
		role, err := access.ParseRole(t.Role)
		if err != nil {
			continue // it was refused when the file was read
		}
		all = append(all, access.Token{Name: t.Name, Role: role, Read: secret(t.File, t.Env)})
	}
	return all
}

// Roles returns the roles of the users of the web configuration file.
func (w Web) Roles() map[string]access.Role {
	all := make(map[string]access.Role, len(w.Users))
	for name, text := range w.Users {
		if role, err := access.ParseRole(text); err == nil {
			all[name] = role
		}
	}
	return all
}

// Local reports whether only this machine can reach the listen address.
func (w Web) Local() bool {
	host, _, err := net.SplitHostPort(w.Listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// access checks who may do what.
func (d *decoder) access(c *Config, n *yaml.Node) {
	w, web := c.Web, at(n, "web")
	names := []string{AdminTokenName}
	if w.TokenFile != "" || w.TokenEnv != "" {
		names = append(names, plainToken)
	}
	for i, t := range w.Tokens {
		node := at(web, "tokens", i)
		switch {
		case d.faultIn(node):
		case strings.ContainsAny(t.Name, " \t\r\n"):
			d.fault(at(node, "name"), "the name of a token is %q; a name without spaces was expected", t.Name)
		case t.Name != "" && slices.Contains(names, t.Name):
			d.fault(at(node, "name"), "a second token is called %q; each needs a name of its own", t.Name)
		case (t.File == "") == (t.Env == ""):
			d.fault(node, "token %s needs file or env, and not both", t.Name)
		}
		names = append(names, t.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Users)) {
		if _, err := access.ParseRole(w.Users[name]); err != nil {
			d.fault(at(web, "users", name), "web.users: %s: %s", name, err)
		}
	}
	if len(w.Users) > 0 && w.ConfigFile == "" {
		d.fault(at(web, "users"), "web.users names the roles of users, and there is no web.config_file with their "+
			"passwords (basic_auth_users)")
	}
	for i, name := range w.Hosts {
		if wrong := faultyHost(name); wrong != "" {
			d.fault(at(web, "hosts", i), "web.hosts has %s", wrong)
		}
	}
	if !w.Local() && len(w.Access()) == 0 && len(w.Users) == 0 && !d.faultIn(at(web, "listen")) {
		d.fault(at(web, "listen"), "web.listen is %s, which other machines can reach, and no one can log in from "+
			"there: add web.tokens, or web.users with web.config_file; or listen on 127.0.0.1", w.Listen)
	}
}

// faultyHost says what is wrong with a host name, or "".
func faultyHost(name string) string {
	if name == "" || strings.ContainsAny(name, "/ :@*") {
		return fmt.Sprintf("%q; a host name without port was expected, like upkeep.example.com", name)
	}
	return ""
}
