package check

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/collectors/packages"
	"github.com/ai-micro-service/upkeep/internal/platform/files"
	"github.com/ai-micro-service/upkeep/internal/platform/webconfig"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// secretsMount is where Docker puts a container's secrets. Where it is not there, the
// configuration is for a container, and its files cannot be looked at from here.
const secretsMount = "/run/secrets"

// files checks the files, folders and environment variables that the configuration
// names.
func (k *checker) files() {
	k.keys(reflect.ValueOf(*k.config), nil)
	c := k.config
	if c.Web.ConfigFile != "" && k.file(in("web", "config_file"), "web.config_file", c.Web.ConfigFile) {
		if _, err := webconfig.New(c.Web.ConfigFile, slog.New(slog.DiscardHandler)); err != nil {
			k.fault(in("web", "config_file"),
				"web.config_file is wrong: %v; correct it as exporter-toolkit's web-configuration.md says", err)
		}
	}
	if info, err := os.Stat(c.DataDir); err == nil && !info.IsDir() {
		k.fault(in("data_dir"), "data_dir is %s, which is a file; name a folder", c.DataDir)
	} else if err := files.Folder(c.DataDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.fault(in("data_dir"), "data_dir: %v", err)
	}
	if c.Web.ConfigFile != "" {
		k.private(in("web", "config_file"), "config_file", c.Web.ConfigFile)
	}
	for i, pattern := range c.Embedded.RuleFiles {
		if found, err := filepath.Glob(pattern); err != nil || len(found) == 0 && c.Embedded.Enabled {
			k.fault(in("embedded", "rule_files", i),
				"embedded.rule_files: no file matches %s; a rule that is not there cannot fire", pattern)
		}
	}
	for i, p := range c.Targets.Postgres {
		for j, a := range p.Archives {
			if a.To.Folder != "" {
				k.folder(in("targets", "postgres", i, "archives", j, "to", "folder"),
					"the folder of the archive of "+a.Table, a.To.Folder)
			}
		}
		if p.Log.Path != "" {
			k.serverLog(in("targets", "postgres", i, "log", "path"), "the log of postgres "+p.Name, p.Log.Path)
		}
	}
	for i, h := range c.Targets.Host {
		k.folder(in("targets", "host", i, "root"), "root of host "+h.Name, h.Root)
		k.hostLogs(in("targets", "host", i, "logs"), h)
	}
	for i, d := range c.Targets.Docker {
		k.folder(in("targets", "docker", i, "root"), "root of docker "+d.Name, d.Root)
		if d.LogArchive != "" {
			k.folder(in("targets", "docker", i, "log_archive"), "log_archive of docker "+d.Name, d.LogArchive)
		}
	}
	k.reports()
	k.receivers()
}

// receivers checks the files that the Alertmanager configuration file names.
func (k *checker) receivers() {
	f := k.config.AlertmanagerFile()
	if f == nil {
		return
	}
	lacks, err := f.MissingFiles()
	if err != nil {
		k.add(f.Path, 0, false, fmt.Sprintf("%v; let upkeep's user read it", err))
	}
	for _, l := range lacks {
		if away(l.Path) {
			continue
		}
		k.add(f.Path, l.Line, true, l.Text)
	}
}

// reports checks what others write: it may not be there yet.
func (k *checker) reports() {
	for i, b := range k.config.Targets.Backup {
		if info, err := os.Stat(b.Verified); b.Verified != "" && err == nil && !info.Mode().IsRegular() {
			k.warn(in("targets", "backup", i, "verified"),
				"verified of backup %s: %s is no file; name a file that the test of the restore touches", b.Name,
				b.Verified)
		} else if b.Verified != "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.warn(in("targets", "backup", i, "verified"), "verified of backup %s: %s; let the user that runs upkeep "+
				"read it", b.Name, reason(b.Verified, err))
		}
		if found, err := filepath.Glob(b.Path); b.Path != "" && (err != nil || len(found) == 0) {
			k.warn(in("targets", "backup", i, "path"),
				"no backup is at %s of backup %s; look at the pattern, or make the first backup", b.Path, b.Name)
		}
	}
	for i, p := range k.config.Targets.Packages {
		if _, err := os.Stat(p.Path); err != nil {
			k.warn(in("targets", "packages", i, "path"),
				"packages %s: there is nothing at %s; name the report or the service's folder", p.Name, p.Path)
		}
		if p.Database == "" || away(p.Database) {
			continue
		}
		if _, err := packages.Built(p.Database); err != nil {
			k.warn(in("targets", "packages", i, "database"), "packages %s: the age of its database is not known: %s; "+
				"name the metadata.json in the folder db of Trivy's cache", p.Name, reason(p.Database, err))
		}
	}
}

// keys visits every text of the configuration whose key ends in _file or _env.
func (k *checker) keys(v reflect.Value, at place) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			if key := f.Tag.Get("yaml"); key != "" {
				k.key(v.FieldByIndex(f.Index), at.in(key), key)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			k.keys(v.Index(i), at.in(i))
		}
	default: // it has no keys
	}
}

func (k *checker) key(v reflect.Value, at place, key string) {
	if command, ok := v.Interface().([]string); ok && key == config.CommandKey {
		k.command(at, command)
		return
	}
	if v.Kind() != reflect.String {
		k.keys(v, at)
		return
	}
	value := v.String()
	switch {
	case value == "" || key == "config_file":
	case strings.HasSuffix(key, "_file") || key == "file":
		if k.file(at, name(at), value) {
			k.private(at, key, value)
		}
	case strings.HasSuffix(key, "_env") || key == "env":
		if os.Getenv(value) == "" {
			k.warn(at, "%s names the environment variable %s, which is not set here; set it for upkeep's process",
				name(at), value)
		}
	}
}

// command checks a program that upkeep is to run. It does not run it: what it writes is known when a
// connection is made, which --connect tries.
func (k *checker) command(at place, argv []string) {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) { // the latter is said already
		return
	}
	info, err := os.Stat(argv[0])
	switch {
	case err != nil:
		k.fault(at, "%s: %s; install the program, or name another", name(at), reason(argv[0], err))
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		k.fault(at, "%s: %s is no program; name one that upkeep's user may run", name(at), argv[0])
	default:
		if err := files.Ours(argv[0]); err != nil {
			k.fault(at, "%s: %v", name(at), err)
		}
	}
}

// private checks who else can read a file. That of Alertmanager, of certificates and of users may
// have no secret in it.
func (k *checker) private(at place, key, path string) {
	err := files.Secret(path)
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
	case config.SecretKey(key):
		k.fault(at, "%s: %v", name(at), err)
	case files.Ours(path) != nil: // that is said already
	case key == "alertmanager_file" || key == "receivers_file" || key == "config_file":
		k.warn(at, "%s: %v; it may have secrets in it", name(at), err)
	}
}

// name writes a path as people do.
func name(at place) string {
	var parts []string
	for _, step := range at {
		if s, ok := step.(string); ok {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ".")
}

// file checks that a file can be read and is not empty.
func (k *checker) file(at place, what, path string) bool {
	if away(path) {
		return false
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		k.fault(at, "%s: %s; create the file, or name another", what, reason(path, err))
	case info.IsDir():
		k.fault(at, "%s: %s is a folder; name a file", what, path)
	case info.Size() == 0 && info.Mode().IsRegular():
		k.fault(at, "%s: %s is empty; write into it what it is for", what, path)
	default:
		f, err := os.Open(path)
		if err != nil {
			k.fault(at, "%s: %s; let the user that runs upkeep read it", what, reason(path, err))
			return false
		}
		_ = f.Close() // only opened
		return true
	}
	return false
}

// serverLog checks that the log of a server can be read. One that was just rotated is empty.
func (k *checker) serverLog(at place, what, path string) {
	f, err := files.Open(path)
	switch {
	case err == nil:
		_ = f.Close() // only opened
	case errors.Is(err, fs.ErrNotExist):
		k.fault(at, "%s: %s; name the file that the server writes", what, reason(path, err))
	case errors.Is(err, fs.ErrPermission):
		k.fault(at, "%s: %s; let the user that runs upkeep read it, as group adm does on Debian", what,
			reason(path, err))
	default:
		k.fault(at, "%s: %v; name the file that the server writes", what, err)
	}
}

func (k *checker) folder(at place, what, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		k.fault(at, "%s: %s; create the folder, or name another", what, reason(path, err))
	case !info.IsDir():
		k.fault(at, "%s: %s is a file; name a folder", what, path)
	}
}

// away reports whether a path is in a container's secrets, and this is no container.
func away(path string) bool {
	if !strings.HasPrefix(path, secretsMount+"/") {
		return false
	}
	_, err := os.Stat(secretsMount)
	return errors.Is(err, fs.ErrNotExist)
}

func reason(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path + " does not exist"
	case errors.Is(err, fs.ErrPermission):
		return path + " cannot be read: permission denied"
	}
	return fmt.Sprint(err)
}

// Danger returns what of a configuration is dangerous, as errors, and what is weak, as warnings:
// files by which other users would decide what upkeep does; users without a role, and roles
// without a user; passwords that others can listen to. serve refuses to start with the former,
// and with secrets that others can read (config.Private). It connects to nothing.
func Danger(c *config.Config, source *config.Source) []Finding {
	k := &checker{config: c, source: source}
	k.owned()
	k.users()
	k.unencrypted()
	return k.found
}

// owned looks at the files that decide who may do what, and who is sent a link that is a right.
func (k *checker) owned() {
	c := k.config
	for _, one := range []struct {
		at   place
		path string
	}{
		{nil, k.source.File()}, {in("web", "config_file"), c.Web.ConfigFile},
		{in("embedded", "alertmanager_file"), c.Embedded.AlertmanagerFile},
		{in("notify", "receivers_file"), c.Notify.ReceiversFile},
	} {
		if one.path == "" {
			continue
		}
		if err := files.Ours(one.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.fault(one.at, "%v", err)
		}
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
			k.warn(in("web", "config_file"), "user %q of %s has no role and may do nothing; grant one in web.users",
				user, w.ConfigFile)
		}
	}
	for user := range w.Users {
		if !slices.Contains(known, user) {
			k.fault(in("web", "users", user), "web.users: %s is not in basic_auth_users of %s; add the user there, or "+
				"remove this", user, w.ConfigFile)
		}
	}
	if key := file.KeyFile(); key != "" {
		if err := files.Secret(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.fault(in("web", "config_file"), "web.config_file: %v", err)
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
		k.warn(in("web", "listen"), "web.listen is %s without TLS: tokens and passwords can be read on their way; "+
			"%s, or listen on 127.0.0.1 behind a proxy with TLS and say so in web.external_url", w.Listen, instead)
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
	if c.Prometheus.Password() != nil {
		k.plainHTTP(in("prometheus", "url"), "prometheus", c.Prometheus.URL)
	}
	if c.Alertmanager.Password() != nil {
		for _, address := range c.Alertmanager.All() {
			k.plainHTTP(in("alertmanager"), "alertmanager", address)
		}
	}
	for i, r := range c.Targets.Redis {
		if r.Password() != nil {
			k.plainRedis(in("targets", "redis", i, "url"), "redis "+r.Name, r.URL)
		}
	}
	for i, s := range c.Targets.Sentinel {
		if s.Password() != nil {
			k.plainRedis(in("targets", "sentinel", i, "url"), "sentinel "+s.Name, s.URL)
		}
	}
}

func (k *checker) plainRedis(at place, what, address string) {
	if u, err := url.Parse(address); err == nil && u.Scheme == "redis" && !local(u.Hostname()) {
		k.warn(at, "%s: its password goes to %s unencrypted; use rediss://", what, u.Hostname())
	}
}

func (k *checker) plainHTTP(at place, what, address string) {
	if u, err := url.Parse(address); err == nil && u.Scheme == "http" && !local(u.Hostname()) {
		k.warn(at, "%s: its password goes to %s unencrypted; use https://", what, u.Hostname())
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
