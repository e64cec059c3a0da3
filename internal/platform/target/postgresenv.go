package target

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// environment maps the parameters of a server's URL to the variables by which
// libpq's programs get the same.
func environment() map[string]string {
	return map[string]string{
		"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
		"sslsni":               "PGSSLSNI",
		"target_session_attrs": "PGTARGETSESSIONATTRS", "connect_timeout": "PGCONNECT_TIMEOUT",
		"passfile": "PGPASSFILE",
		"service":  "PGSERVICE", "servicefile": "PGSERVICEFILE", "krbsrvname": "PGKRBSRVNAME",
		"channel_binding": "PGCHANNELBINDING",
		"options":         "PGOPTIONS",
	}
}

// inherited lists what such a program gets of our own environment. A password of another
// target may be in a variable whose name begins with PG too.
func inherited() []string {
	return append(slices.Collect(maps.Values(environment())), "PATH", "HOME", "TZ", "PGTZ", "PGSYSCONFDIR",
		"PGLOCALEDIR", "PGCLIENTENCODING", "PGGSSENCMODE", "PGSSLCRL", "PGREQUIREPEER")
}

// passed lists the parameters of a URL that reach a program by other means.
func passed() []string {
	return []string{"host", "port", "user", "password", "dbname", "database", "application_name",
		"fallback_application_name"}
}

// Environ returns the environment in which one of PostgreSQL's own programs comes
// to the same database as the same role. The password is in it and must be in
// nothing else: a user who may read the environment of our process may read
// our memory. Of our own environment it has what such a program needs.
func (p *Postgres) Environ(database, application string) ([]string, error) {
	c, err := p.session(database)
	if err != nil {
		return nil, err
	}
	var hosts, ports []string
	add := func(host string, port uint16) {
		number := strconv.Itoa(int(port))
		for i := range hosts { // a fallback may be the same host without encryption
			if hosts[i] == host && ports[i] == number {
				return
			}
		}
		hosts, ports = append(hosts, host), append(ports, number)
	}
	add(c.Host, c.Port)
	for _, f := range c.Fallbacks {
		add(f.Host, f.Port)
	}
	all := map[string]string{
		"PGHOST": strings.Join(hosts, ","), "PGPORT": strings.Join(ports, ","), "PGUSER": c.User,
		"PGDATABASE": database,
		"PGAPPNAME":  application, "LC_ALL": "C",
	}
	if c.Password != "" {
		all["PGPASSWORD"] = c.Password
	}
	u, err := url.Parse(p.url)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, fmt.Errorf("postgres %s: PostgreSQL's own programs need the target as a URL (postgres://…)", p.Name)
	}
	for name, values := range u.Query() {
		variable := environment()[name]
		switch {
		case slices.Contains(passed(), name) || len(values) == 0:
		case variable == "":
			return nil, fmt.Errorf("postgres %s: PostgreSQL's own programs do not support the parameter %q of the URL",
				p.Name, name)
		default:
			all[variable] = values[0]
		}
	}
	for _, setting := range os.Environ() {
		name, value, _ := strings.Cut(setting, "=")
		if _, ours := all[name]; !ours && slices.Contains(inherited(), name) {
			all[name] = value
		}
	}
	list := make([]string, 0, len(all))
	for name, value := range all {
		if strings.ContainsRune(name+value, 0) {
			return nil, fmt.Errorf("postgres %s: a zero byte in %s", p.Name, name)
		}
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list, nil
}
