package config

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// whole checks what no single key can tell.
func (d *decoder) whole(c *Config, n *yaml.Node) {
	if !filepath.IsAbs(c.DataDir) {
		c.DataDir = filepath.Join(d.dir, c.DataDir)
	}
	c.Embedded.dir = d.dir
	for _, key := range []string{"scrape_configs", "remote_write"} {
		if part := at(n, "embedded", key); !c.Embedded.Enabled && has(at(n, "embedded"), key) {
			d.fault(part, "embedded.%s is for the Prometheus within upkeep, and embedded.enabled is false; write it "+
				"into your own Prometheus' configuration", key)
		}
	}
	if c.Web.TokenFile != "" && c.Web.TokenEnv != "" {
		d.fault(at(n, "web", "token_env"), "web has both token_file and token_env; one was expected")
	}
	d.access(c, n)
	d.elsewhere(c, n)
	t := c.Targets
	if t.Count() == 0 && len(d.faults) == 0 {
		d.fault(n, "no target is configured; at least one is required:\n%s", beginning)
	}
	d.targets(t, n)
	d.windows(c, n)
	d.policies(c, n)
	d.schedules(c, n)
	d.notify(c, n)
	d.retention(c, n)
}

// retention checks that the runs are kept that policies look back to.
func (d *decoder) retention(c *Config, n *yaml.Node) {
	look := func(of string, t remediate.Terms) {
		key, most := "cooldown", t.Cooldown
		if t.BreakerFor > most {
			key, most = "breaker_for", t.BreakerFor
		}
		if t.ApprovalLifetime > most {
			key, most = "approval_lifetime", t.ApprovalLifetime
		}
		if most > c.Store.Retention {
			d.fault(at(n, "store", "retention"), "store.retention is %s and %s of %s is %s, which looks back to runs; "+
				"a longer retention was expected", model.Duration(c.Store.Retention), key, of, model.Duration(most))
		}
	}
	for _, p := range c.Policies {
		look("policy "+strconv.Quote(p.Name), p.Terms)
	}
	for _, s := range c.Schedules {
		look("schedule "+strconv.Quote(s.Name), s.Terms)
	}
	if c.Engine.Flap > c.Store.Retention {
		d.fault(at(n, "store", "retention"), "store.retention is %s and engine.flap is %s, which looks back to "+
			"incidents; a longer retention was expected", model.Duration(c.Store.Retention),
			model.Duration(c.Engine.Flap))
	}
}

// elsewhere checks where the store, Prometheus, Alertmanager and Grafana are.
func (d *decoder) elsewhere(c *Config, n *yaml.Node) {
	const own = "%s is for your own %s, and embedded mode has one; set embedded.enabled to false or leave it out"
	if c.Embedded.Enabled && c.Prometheus.URL != "" {
		d.fault(at(n, "prometheus", "url"), own, "prometheus.url", "Prometheus")
	}
	am := at(n, "alertmanager")
	switch a := c.Alertmanager; {
	case c.Embedded.Enabled && a.URL != "":
		d.fault(at(am, "url"), own, "alertmanager.url", "Alertmanager")
	case c.Embedded.Enabled && len(a.URLs) > 0:
		d.fault(at(am, "urls"), own, "alertmanager.urls", "Alertmanager")
	case a.URL != "" && len(a.URLs) > 0:
		d.fault(at(am, "urls"), "alertmanager has both url and urls; one was expected")
	}
	for i, one := range c.Alertmanager.URLs {
		if one == "" {
			d.fault(at(am, "urls", i),
				"a url of alertmanager.urls is empty; something like http://host:9093 was expected")
		}
	}
	d.login(at(n, "prometheus"), "prometheus", c.Prometheus.URL != "", c.Prometheus.User, c.Prometheus.PasswordFile,
		c.Prometheus.PasswordEnv)
	d.login(am, "alertmanager", len(c.Alertmanager.All()) > 0, c.Alertmanager.User, c.Alertmanager.PasswordFile,
		c.Alertmanager.PasswordEnv)
	if c.Grafana.SecretFile != "" && c.Grafana.SecretEnv != "" {
		d.fault(at(n, "grafana", "secret_env"), "grafana has both secret_file and secret_env; one was expected")
	}
	if c.Grafana.TimestampHeader != "" && c.Grafana.Secret() == nil {
		d.fault(at(n, "grafana", "timestamp_header"),
			"grafana has a timestamp_header and neither secret_file nor secret_env; without a secret nothing is signed")
	}
	s := c.Store
	d.passwords(at(n, "store"), "the store", s.PasswordFile, s.PasswordEnv, s.PasswordCommand)
	d.server(at(n, "store"), "the store", s.URL, "postgres", "postgresql")
	if s.URL == "" && s.Password() != nil {
		d.fault(at(n, "store"), "the store has a password and no url; the file in data_dir needs none")
	}
}

// login checks the user and password for a server outside.
func (d *decoder) login(n *yaml.Node, what string, there bool, user, file, env string) {
	switch {
	case file != "" && env != "":
		d.fault(at(n, "password_env"), "%s has both password_file and password_env; one was expected", what)
	case (user != "") != (file != "" || env != ""):
		d.fault(n, "%s has a user without a password, or a password without a user; it needs both, or neither", what)
	case user != "" && !there:
		d.fault(n, "%s has a user and no url; the one within upkeep needs none", what)
	}
}

// targets checks each kind for names that are there twice, and what is particular to it.
func (d *decoder) targets(t Targets, n *yaml.Node) {
	var postgres, redis, sentinel, host, docker, probe, backup, packages []string
	for i, p := range t.Postgres {
		postgres = append(postgres, p.Name)
		where := at(n, "targets", "postgres", i)
		d.passwords(where, "postgres "+p.Name, p.PasswordFile, p.PasswordEnv, p.PasswordCommand)
		d.server(where, "postgres "+p.Name, p.URL, "postgres", "postgresql")
		d.databases(where, p)
	}
	for i, p := range t.Postgres {
		if p.ReplicaOf != "" && (p.ReplicaOf == p.Name || !slices.Contains(postgres, p.ReplicaOf)) {
			d.fault(at(n, "targets", "postgres", i, "replica_of"),
				"replica_of is %q; the name of another postgres server was expected", p.ReplicaOf)
		}
	}
	for i, p := range t.Postgres {
		d.archives(at(n, "targets", "postgres", i, "archives"), p.Archives)
	}
	for i, r := range t.Redis {
		redis = append(redis, r.Name)
		where := at(n, "targets", "redis", i)
		d.passwords(where, "redis "+r.Name, r.PasswordFile, r.PasswordEnv, r.PasswordCommand)
		d.server(where, "redis "+r.Name, r.URL, "redis", "rediss", "unix")
	}
	for i, s := range t.Sentinel {
		sentinel = append(sentinel, s.Name)
		where := at(n, "targets", "sentinel", i)
		d.passwords(where, "sentinel "+s.Name, s.PasswordFile, s.PasswordEnv, s.PasswordCommand)
		d.server(where, "sentinel "+s.Name, s.URL, "redis", "rediss", "unix")
	}
	for i, h := range t.Host {
		host = append(host, h.Name)
		d.absolute(at(n, "targets", "host", i, "root"), h.Root)
		d.hostLogs(at(n, "targets", "host", i), h, t.Docker)
	}
	for i, e := range t.Docker {
		docker = append(docker, e.Name)
		d.absolute(at(n, "targets", "docker", i, "root"), e.Root)
		if e.LogArchive != "" && !filepath.IsAbs(e.LogArchive) {
			d.fault(at(n, "targets", "docker", i, "log_archive"), "log_archive is %q; an absolute path was expected",
				e.LogArchive)
		}
		u, err := url.Parse(e.Host)
		switch host := at(n, "targets", "docker", i, "host"); {
		case strings.Contains(e.Host, "@") && (err != nil || u.Scheme != "unix" || u.User != nil):
			// It is not shown: there may be a password in it.
			d.fault(host, "the host of docker %s has a user or password in it; an address without was expected", e.Name)
		case err != nil || u.Scheme != "unix" && u.Scheme != "tcp":
			d.fault(host, "host is %q; unix:///var/run/docker.sock or tcp://host:port was expected", e.Host)
		case wrongPort(u):
			d.fault(host, "host of docker %s has the port %s; one from 1 to 65535 was expected", e.Name, u.Port())
		default:
			d.engine(at(n, "targets", "docker", i), e, u)
		}
	}
	for i, p := range t.Postgres {
		d.log(at(n, "targets", "postgres", i, "log"), p, docker)
	}
	for i, r := range t.Redis {
		d.restart(at(n, "targets", "redis", i, "restart"), r, docker)
	}
	for i, p := range t.Probe {
		probe = append(probe, p.Name)
		d.probe(at(n, "targets", "probe", i), p)
	}
	for i, b := range t.Backup {
		backup = append(backup, b.Name)
		if b.Path == "" && b.Kind != "pgbackrest" {
			d.fault(at(n, "targets", "backup", i), "backup %s has no path; %s needs one", b.Name, b.Kind)
		}
		if b.Stanza != "" && b.Kind != "pgbackrest" {
			d.fault(at(n, "targets", "backup", i, "stanza"), "stanza is for pgbackrest, and backup %s is %s", b.Name,
				b.Kind)
		}
	}
	for i, p := range t.Packages {
		packages = append(packages, p.Name)
		if p.Database != "" && p.Kind != "trivy" {
			d.fault(at(n, "targets", "packages", i, "database"), "database is for trivy, and packages %s is %s", p.Name,
				p.Kind)
		}
	}
	of := at(n, "targets")
	d.twice(of, "postgres", "postgres", postgres)
	d.twice(of, "redis", "redis", redis)
	d.twice(of, "sentinel", "sentinel", sentinel)
	d.twice(of, "host", "host", host)
	d.twice(of, "docker", "docker", docker)
	d.twice(of, "probe", "probe", probe)
	d.twice(of, "backup", "backup", backup)
	d.twice(of, "packages", "packages", packages)
}

// engine checks how an engine and upkeep know each other.
func (d *decoder) engine(n *yaml.Node, e Docker, u *url.URL) {
	has := e.CAFile != "" || e.CertFile != "" || e.KeyFile != ""
	switch {
	case has && u.Scheme == "unix":
		d.fault(n, "docker %s is a socket, which has no TLS: leave ca_file, cert_file and key_file out", e.Name)
	case (e.CertFile == "") != (e.KeyFile == ""):
		d.fault(n, "docker %s: cert_file and key_file belong together", e.Name)
	case !has && target.NeedsTLS(u.Scheme, u.Hostname()):
		d.fault(at(n, "host"), "host is %q without TLS: access to the engine is root on its machine; name ca_file, "+
			"cert_file and key_file, or a proxy on this machine (tcp://127.0.0.1:port)", e.Host)
	}
}

// archives checks that each table has one archive, and each archive one end.
func (d *decoder) archives(n *yaml.Node, all []Archive) {
	type table struct{ database, schema, table string }
	seen := make(map[table]int)
	for i, a := range all {
		subject := table{a.Database, a.Schema, a.Table}
		if first, twice := seen[subject]; twice && a.Table != "" {
			d.fault(at(n, i, "table"), "duplicate table %s.%s of database %s; it was first listed in line %d", a.Schema,
				a.Table, a.Database, first)
			continue
		}
		seen[subject] = at(n, i, "table").Line
		switch to := a.To; {
		case a.Purge && to != Destination{}:
			d.fault(at(n, i, "purge"),
				"the archive of %s has both to and purge; one was expected: rows are moved, or deleted for good",
				a.Table)
		case to.Schema != "" && to.Table == "":
			d.fault(at(n, i, "to"), "to of %s has a schema and no table; a table of that schema was expected", a.Table)
		case to.Table != "" && to.Table == a.Table && (to.Schema == "" || to.Schema == a.Schema):
			d.fault(at(n, i, "to"), "the archive of %s is the table itself; another table was expected", a.Table)
		}
		d.destination(at(n, i, "to"), a)
	}
}

// destination checks that an archive has one destination, and a bucket what it needs.
func (d *decoder) destination(n *yaml.Node, a Archive) {
	to := a.To
	bucket := to
	bucket.Schema, bucket.Table, bucket.Folder, bucket.Bucket = "", "", "", ""
	kinds := 0
	for _, is := range []bool{to.Table != "" || to.Schema != "", to.Folder != "", to.Bucket != ""} {
		if is {
			kinds++
		}
	}
	switch {
	case d.faultIn(n):
	case kinds > 1:
		d.fault(n, "to of %s has more than one of table, folder and bucket; one was expected", a.Table)
	case to.Bucket == "" && bucket != Destination{}:
		d.fault(n, "to of %s says how to reach a bucket, and names none; bucket was expected beside endpoint", a.Table)
	case to.Bucket == "":
	case strings.ContainsAny(to.Bucket, "/\\?#%: \t\r\n"):
		d.fault(at(n, "bucket"), "bucket %q is not a valid bucket name; put a prefix of the keys into prefix",
			to.Bucket)
	case to.Endpoint == "":
		d.fault(n, "to of %s has a bucket and no endpoint; something like https://s3.eu-central-1.amazonaws.com was "+
			"expected", a.Table)
	case (to.KeyIDFile == "") == (to.KeyIDEnv == ""):
		d.fault(n, "to of %s has a bucket and needs key_id_file or key_id_env", a.Table)
	case (to.SecretFile == "") == (to.SecretEnv == ""):
		d.fault(n, "to of %s has a bucket and needs secret_file or secret_env", a.Table)
	}
}

// databases checks that the lists of databases leave one.
func (d *decoder) databases(n *yaml.Node, p Postgres) {
	for i, name := range p.Databases {
		if name == "" {
			d.fault(at(n, "databases", i), "an entry of databases is empty; the name of a database was expected")
		}
	}
	for i, name := range p.Exclude {
		if name == "" {
			d.fault(at(n, "exclude", i), "an entry of exclude is empty; the name of a database was expected")
		}
	}
	excluded := func(name string) bool { return slices.Contains(p.Exclude, name) }
	switch {
	case len(p.Databases) == 0 && has(n, "databases"):
		d.fault(at(n, "databases"),
			"databases of postgres %s is empty, which is not \"none\"; name databases, or leave the key out for all "+
				"of them", p.Name)
	case len(p.Databases) > 0 && !slices.ContainsFunc(p.Databases, func(s string) bool { return !excluded(s) }):
		d.fault(at(n, "exclude"), "exclude of postgres %s has every database that databases names, so none is left; "+
			"take one out of exclude", p.Name)
	}
}

// log checks where the log of a server is.
func (d *decoder) log(n *yaml.Node, p Postgres, engines []string) {
	switch l := p.Log; {
	case l.Path != "" && (l.Docker != "" || l.Container != ""):
		d.fault(at(n, "path"), "log of postgres %s is both a file and a container; one was expected", p.Name)
	case l.Docker != "" && !slices.Contains(engines, l.Docker):
		d.fault(at(n, "docker"), "docker is %q; %s", l.Docker, expected(l.Docker, "docker targets", engines))
	case (l.Docker == "") != (l.Container == ""):
		d.fault(n, "log of postgres %s has docker or container; the names of a docker target and of a container were "+
			"expected", p.Name)
	}
}

// restart checks who restarts a server.
func (d *decoder) restart(n *yaml.Node, r Redis, engines []string) {
	switch by := r.Restart; {
	case by.Systemd != "" && (by.Docker != "" || by.Container != ""):
		d.fault(at(n, "systemd"), "redis %s is restarted by both docker and systemd; one was expected", r.Name)
	case by.Systemd != "" && !target.UnitName(by.Systemd):
		d.fault(at(n, "systemd"), "systemd is %q; the whole name of a service was expected, like redis-server.service",
			by.Systemd)
	case by.Docker != "" && !slices.Contains(engines, by.Docker):
		d.fault(at(n, "docker"), "docker is %q; %s", by.Docker, expected(by.Docker, "docker targets", engines))
	case by.Docker != "" && by.Container == "":
		d.fault(at(n, "docker"),
			"restart of redis %s has docker and no container; the name of the container was expected", r.Name)
	case by.Docker == "" && by.Container != "":
		d.fault(at(n, "container"),
			"restart of redis %s has container and no docker; the name of a docker target was expected", r.Name)
	}
}

func (d *decoder) absolute(n *yaml.Node, root string) {
	if !filepath.IsAbs(root) {
		d.fault(n, "root is %q; an absolute path was expected", root)
	}
}

// passwords checks where the password of a server comes from.
func (d *decoder) passwords(n *yaml.Node, name, file, env string, command []string) {
	if file != "" && env != "" {
		d.fault(at(n, "password_env"), "%s has both password_file and password_env; one was expected", name)
	}
	if len(command) == 0 {
		return
	}
	where := at(n, "password_command")
	if file != "" || env != "" {
		d.fault(where, "%s has password_command and password_file or password_env; one was expected", name)
	}
	if !filepath.IsAbs(command[0]) { // the arguments are not shown: one may be a secret
		d.fault(where, "%s: the first entry of password_command is no absolute path; the program and its arguments "+
			"were expected, like [/usr/bin/pass, show, upkeep/main]", name)
	}
}

// server checks where a server is.
func (d *decoder) server(n *yaml.Node, name, address string, schemes ...string) {
	if address == "" {
		return // said already
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || !slices.Contains(schemes, u.Scheme):
		// The URL itself is not shown: if it does not parse, it is unknown
		// whether there is a password in it.
		d.fault(at(n, "url"), "%s: invalid url: it must start with %s://", name, strings.Join(schemes, ":// or "))
	case wrongPort(u):
		d.fault(at(n, "url"), "%s: the url has the port %s; one from 1 to 65535 was expected", name, u.Port())
	case hasPassword(u):
		d.fault(at(n, "url"), "the url of %s has a password in it; put it into a file and name that in "+
			"password_file, or name an environment variable in password_env", name)
	}
}

// probe checks what is expected of an answer.
func (d *decoder) probe(n *yaml.Node, p Probe) {
	seen := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(p.Headers)) {
		canonical := http.CanonicalHeaderKey(name)
		if !regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$").MatchString(name) {
			d.fault(at(n, "headers", name), "headers: %q is no name of a header; one like Content-Type was expected",
				name)
		} else if first, twice := seen[canonical]; twice {
			d.fault(at(n, "headers", name), "headers: %s and %s are the same header; one entry was expected", first,
				name)
		}
		seen[canonical] = name
		if _, err := regexp.Compile(p.Headers[name]); err != nil {
			d.fault(at(n, "headers", name), "headers: %s is no regular expression: %v", name, err)
		}
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Scheme != "tcp" && u.Scheme != "tls" {
		return
	}
	for _, key := range []struct {
		name string
		set  bool
	}{{"status", p.Status != 0}, {"redirects", p.Redirects == "none"}, {"headers", len(p.Headers) > 0},
		{"body_without", p.BodyWithout != ""}, {"ca_file", p.CAFile != "" && strings.HasPrefix(p.URL, "tcp:")}} {
		if key.set {
			d.fault(at(n, key.name), "%s is not for probe %s: its address is %s://%s; remove %s, or use http or https",
				key.name, p.Name, u.Scheme, u.Host, key.name)
		}
	}
}

func hasPassword(u *url.URL) bool {
	if _, in := u.User.Password(); in {
		return true
	}
	return slices.ContainsFunc([]string{"password", "sslpassword"}, u.Query().Has)
}

// Restartless returns an error that names everything that differs from old and is taken
// up at a start only: the sections that are tagged so, but for the keys in them that a
// reload reads.
func (c *Config) Restartless(old *Config) error {
	var faults []error
	now, before := reflect.ValueOf(c).Elem(), reflect.ValueOf(old).Elem()
	for _, f := range fields(now.Type()) {
		if f.Tag.Get("change") != "restart" {
			continue
		}
		is, kept := fixed(now.FieldByIndex(f.Index))
		was, _ := fixed(before.FieldByIndex(f.Index))
		if reflect.DeepEqual(is, was) {
			continue
		}
		key := f.Tag.Get("yaml")
		if n := len(kept); n > 1 {
			kept = []string{strings.Join(kept[:n-1], ", ") + " and " + kept[n-1]}
		}
		if len(kept) > 0 {
			key += fmt.Sprintf(" (but for %s)", kept[0])
		}
		faults = append(faults, fmt.Errorf("%s has changed; that needs a restart", key))
	}
	return errors.Join(faults...)
}

// fixed returns a section without the keys that a reload reads, and these keys.
func fixed(section reflect.Value) (rest any, reloaded []string) {
	if section.Kind() != reflect.Struct {
		return section.Interface(), nil
	}
	part := reflect.New(section.Type()).Elem()
	part.Set(section)
	for _, f := range fields(section.Type()) {
		if f.Tag.Get("change") == "reload" {
			part.FieldByIndex(f.Index).SetZero()
			reloaded = append(reloaded, f.Tag.Get("yaml"))
		}
	}
	return part.Interface(), reloaded
}
