package check

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/webconfig"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// Danger returns what of a configuration is dangerous, as errors, and what is weak, as warnings:
// secrets that others can read, passwords that others can listen to. serve refuses to start with
// the former. It connects to nothing.
func Danger(c *config.Config, source *config.Source) []Finding {
	k := &checker{config: c, source: source}
	k.secrets(reflect.ValueOf(*c), nil)
	k.users()
	k.unencrypted()
	return k.found
}

// notSecret are the keys that end in _file and whose files have no secret in them.
func notSecret(key string) bool {
	return slices.Contains([]string{"ca_file", "alertmanager_file"}, key)
}

// secrets visits every file of the configuration that has a secret in it.
func (k *checker) secrets(v reflect.Value, at place) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			key := f.Tag.Get("yaml")
			if key == "" {
				continue
			}
			value, here := v.FieldByIndex(f.Index), at.in(key)
			if value.Kind() != reflect.String {
				k.secrets(value, here)
				continue
			}
			if (strings.HasSuffix(key, "_file") || key == "file") && !notSecret(key) && value.String() != "" {
				k.private(here, value.String())
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			k.secrets(v.Index(i), at.in(i))
		}
	default: // it has no files
	}
}

const (
	othersRead  fs.FileMode = 0o004
	othersWrite fs.FileMode = 0o022
)

// private refuses a secret that every user of the machine can read, or others can write. In a
// container's own folder of secrets no one else is.
func (k *checker) private(at place, path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(path, secretsMount+"/") {
		return // files says what is missing
	}
	switch mode := info.Mode().Perm(); {
	case mode&othersRead != 0:
		k.fault(at, "%s: every user of this machine can read %s; run: chmod 600 %s", name(at), path, path)
	case mode&othersWrite != 0:
		k.fault(at, "%s: others can write %s; run: chmod 600 %s", name(at), path, path)
	}
}

// users compares the users of the web configuration file with their roles.
func (k *checker) users() {
	w := k.config.Web
	if w.ConfigFile == "" {
		return
	}
	file, err := webconfig.New(w.ConfigFile, slog.New(slog.DiscardHandler))
	if err != nil {
		return // files says what is wrong with it
	}
	known := file.Names()
	for _, user := range known {
		if w.Users[user] == "" {
			k.warn(in("web", "config_file"), "user %q of %s has no role and may do nothing; grant one in web.users", user,
				w.ConfigFile)
		}
	}
	for user := range w.Users {
		if !slices.Contains(known, user) {
			k.fault(in("web", "users", user), "web.users: %s is not in basic_auth_users of %s; add the user there, or "+
				"remove this", user, w.ConfigFile)
		}
	}
	if !file.TLS() {
		k.plainListener("set tls_server_config in " + w.ConfigFile)
	}
}

// plainListener warns of tokens and passwords that arrive without TLS.
func (k *checker) plainListener(instead string) {
	w := k.config.Web
	if !w.Local() && !strings.HasPrefix(w.ExternalURL, "https://") {
		k.warn(in("web", "listen"), "web.listen is %s without TLS: tokens and passwords can be read on their way; %s, or "+
			"listen on 127.0.0.1 behind a proxy with TLS and say so in web.external_url", w.Listen, instead)
	}
}

// unencrypted warns of what goes to other machines where others can read it.
func (k *checker) unencrypted() {
	c := k.config
	if c.Web.ConfigFile == "" {
		k.plainListener("set tls_server_config in a web.config_file")
	}
	if u, err := url.Parse(c.Web.ExternalURL); err == nil && u.Scheme == "http" && !local(u.Hostname()) {
		k.warn(in("web", "external_url"), "web.external_url is http://: the links of notifications are rights, and "+
			"passwords and sessions can be read on their way; use https://")
	}
	if c.Store.Password() != nil {
		k.plainPostgres(in("store", "url"), "the store", c.Store.URL)
	}
	for i, p := range c.Targets.Postgres {
		if p.Password() != nil {
			k.plainPostgres(in("targets", "postgres", i, "url"), "postgres "+p.Name, p.URL)
		}
	}
	for i, r := range c.Targets.Redis {
		if u, err := url.Parse(r.URL); err == nil && r.Password() != nil && u.Scheme == "redis" && !local(u.Hostname()) {
			k.warn(in("targets", "redis", i, "url"), "redis %s: its password goes to %s unencrypted; use rediss://", r.Name,
				u.Hostname())
		}
	}
}

func (k *checker) plainPostgres(at place, what, address string) {
	u, err := url.Parse(address)
	if err != nil || u.Query().Get("sslmode") != "disable" || local(u.Hostname()) {
		return
	}
	k.warn(at, "%s: sslmode=disable sends the login and all rows to %s unencrypted; use sslmode=verify-full", what,
		u.Hostname())
}

// local reports whether a host is this machine.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
}

// Refused returns the errors among findings as one, or nil.
func Refused(found []Finding) error {
	var lines []string
	for _, f := range found {
		if !f.Warning {
			lines = append(lines, f.String())
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("the configuration is dangerous:\n%s", strings.Join(lines, "\n"))
}
