package redis

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/remediate"
)

//go:embed defaults.txt
var defaultsText string

// reading are the rights that running needs.
func reading() []need {
	return []need{{"+config|get", []any{"config", "get", "dir"}}, {"+acl|list", []any{"acl", "list"}}}
}

// running asks the server what it is set to.
func (a restart) running(ctx context.Context) (r running, err error) {
	all, err := a.target.Client.ConfigGet(ctx, "*").Result()
	if err != nil {
		return r, fmt.Errorf("config get: %w", privilege(err, "+config|get"))
	}
	r.settings = make(map[string]string, len(all))
	for name, value := range all {
		r.settings[canonical(name)] = value
	}
	lines, err := a.target.Client.ACLList(ctx).Result()
	if err != nil {
		return r, fmt.Errorf("acl list: %w", privilege(err, "+acl|list"))
	}
	r.users = make(map[string][]string, len(lines))
	for _, line := range lines {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "user" {
			r.users[f[1]] = f[2:]
		}
	}
	calls, err := read.ReadCalls(ctx, a.target.Client)
	if err != nil {
		return r, privilege(err, "+info")
	}
	r.changes = changes(calls)
	return r, nil
}

// changes counts the commands that set something which a restart may take back. Who
// resets the count is counted too. Before 7.0 subcommands are not distinguished.
func changes(calls map[string]int64) (n int64) {
	if _, known := calls["config|get"]; !known {
		return -1
	}
	for _, name := range []string{"config|set", "config|resetstat", "acl|setuser", "acl|deluser", "acl|load",
		"replicaof", "slaveof", "debug", "module|load", "module|unload"} {
		n += calls[name]
	}
	return n
}

// bearing are the settings on which the data bears: one that is not what the server
// is started with is refused. Each has what holds where nothing is said.
func bearing() map[string]string {
	return map[string]string{
		"dbfilename": "dump.rdb", "appendonly": "no", "appendfilename": "appendonly.aof",
		"appenddirname": "appendonlydir", "appendfsync": "everysec",
		"save": "3600 1 300 100 60 10000", "replicaof": "", "maxmemory": "0", "maxmemory-policy": "noeviction",
		"aof-load-truncated": "yes", "aof-use-rdb-preamble": "yes",
	}
}

// bears refuses where the server would read other data after a restart than it has
// now, or keep them otherwise. It names all such settings.
func (now observation) bears() error {
	begun := now.begun
	var others []string
	for _, name := range slices.Sorted(maps.Keys(bearing())) {
		is, there := now.running.settings[name]
		if !there || name == "replicaof" && now.state.Cluster {
			continue // it is older than the setting, or keeps it in a file of its own
		}
		starts, where := bearing()[name], "command line"
		if now.state.ConfigFile != "" {
			where = "configuration file"
		}
		if said, ok := begun.said[name]; ok {
			starts, where = said, begun.where[name]
		}
		if !alike(name, is, starts) {
			others = append(others, fmt.Sprintf("%s is %s by CONFIG SET, and its %s has %s", name, shown(is), where,
				shown(starts)))
		}
	}
	if len(others) > 0 {
		also := ""
		if goes := now.goes(); len(goes) > 0 {
			also = ". A restart would also take back " + strings.Join(goes, ", ")
		}
		return remediate.Refuse(remediate.ReasonUnfit,
			"%s: after a restart it would read or keep other data than now. Make both the same first (CONFIG "+
				"REWRITE)%s", strings.Join(others, "; "), also)
	}
	return now.works()
}

// works refuses a server that works in another folder than it is started in.
func (now observation) works() error {
	is, starts := now.running.settings["dir"], now.begun.dir(now.supervised.WorkDir)
	if now.place.root != "" {
		works, err1 := statInside(now.place.root, is)
		begins, err2 := statInside(now.place.root, starts)
		if err1 == nil && err2 == nil && sameFile(works, begins) {
			return nil
		}
	}
	if path.Clean(is) != path.Clean(starts) {
		return remediate.Refuse(remediate.ReasonUnfit,
			"the server keeps its data in %s, which was set while it runs, and is started in %s: after a restart it "+
				"would not find them. Make both the same first (CONFIG REWRITE)", is, starts)
	}
	return nil
}

// dir is the folder that a server begins to work in.
func (s startup) dir(from string) string {
	d := s.said["dir"]
	if !path.IsAbs(d) {
		d = path.Join(cmp.Or(from, "/"), d)
	}
	return path.Clean(d)
}

func shown(value string) string {
	if value == "" {
		return `""`
	}
	return value
}

// goes names what was set while the server ran and a restart takes back: settings by
// their names alone, since some are passwords, and users.
func (now observation) goes() (all []string) {
	if !now.begun.known {
		return nil
	}
	defaults := now.defaults()
	for name, is := range now.running.settings {
		if _, refused := bearing()[name]; refused || name == "dir" {
			continue
		}
		said, ok := now.begun.said[name]
		likely := defaults[name]
		if ok {
			likely = []string{said}
		}
		if name == "client-output-buffer-limit" && ok && len(defaults[name]) > 0 {
			likely = []string{defaults[name][0] + " " + said}
		}
		if len(likely) > 0 && incomparable(name) == "" &&
			!slices.ContainsFunc(likely, func(l string) bool { return alike(name, is, l) }) {
			all = append(all, "the setting "+name)
		}
	}
	all = append(all, now.usersGo()...)
	slices.Sort(all)
	return all
}

// incomparable says why the values of a setting cannot be compared as they are
// written: the server makes something else of them.
func incomparable(name string) string {
	switch name {
	case "bind", "proc-title-template", "oom-score-adj-values", "unixsocketperm", "latency-tracking-info-percentiles",
		"maxclients", "port", "logfile", "pidfile", "server-cpulist", "supervised":
		return "the server writes it in its own way"
	}
	return ""
}

// defaults are what settings are where nothing is said, as far as that is known.
func (now observation) defaults() map[string][]string {
	all := make(map[string][]string)
	// A Valkey calls itself Redis 7.2.4 and has others.
	if older(now.state.Version, 6, 2) || !older(now.state.Version, 7, 3) || now.state.Valkey {
		return all
	}
	for line := range strings.Lines(defaultsText) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "#") {
			name, value, _ := strings.Cut(line, " ")
			all[name] = append(all[name], value)
		}
	}
	return all
}

// alike reports whether two values of a setting are the same.
func alike(name, a, b string) bool {
	switch name {
	case "dbfilename", "appendfilename", "appenddirname":
		return a == b
	case "notify-keyspace-events":
		return events(a) == events(b)
	case "client-output-buffer-limit":
		return maps.Equal(limits(a), limits(b))
	case "replicaof":
		a, b = strings.TrimPrefix(a, "no one"), strings.TrimPrefix(strings.ToLower(b), "no one")
	}
	return strings.EqualFold(a, b) || slices.EqualFunc(strings.Fields(a), strings.Fields(b), func(x, y string) bool {
		n, ok1 := amount(x)
		m, ok2 := amount(y)
		return strings.EqualFold(x, y) || ok1 && ok2 && n == m
	})
}

// amount reads a number as the server does: "100mb" are bytes.
func amount(text string) (n int64, ok bool) {
	text = strings.ToLower(text)
	for _, u := range []struct {
		name string
		n    int64
	}{{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}, {"", 1}} {
		if number, has := strings.CutSuffix(text, u.name); has {
			v, err := strconv.ParseInt(number, 10, 64)
			return v * u.n, err == nil
		}
	}
	return 0, false
}

// events puts the letters of notify-keyspace-events in one order.
func events(text string) string {
	letters := []byte(strings.ReplaceAll(text, "A", "g$lshzxetd"))
	slices.Sort(letters)
	return string(slices.Compact(letters))
}

// limits reads the limits of each class of clients; a later one counts more.
func limits(text string) map[string]string {
	all := make(map[string]string)
	f := strings.Fields(text)
	for ; len(f) >= 4; f = f[4:] {
		var values []string
		for _, v := range f[1:4] {
			n, _ := amount(v)
			values = append(values, strconv.FormatInt(n, 10))
		}
		all[canonical(f[0])] = strings.Join(values, " ")
	}
	return all
}

// usersGo names the users that are not, or not as they are now, in what the server is
// started with.
func (now observation) usersGo() (all []string) {
	starts, ok := now.startUsers()
	if !ok {
		return []string{"users that are not in " + now.running.settings["aclfile"] + ", which cannot be read from here"}
	}
	for name, rules := range now.running.users {
		if begins, there := starts[name]; !there {
			all = append(all, "the user "+name)
		} else if !slices.Equal(plain(rules), plain(begins)) {
			all = append(all, "rules of the user "+name)
		}
	}
	for name := range starts {
		if _, there := now.running.users[name]; !there {
			all = append(all, "the removal of user "+name)
		}
	}
	return all
}

// startUsers are the users that a restart makes.
func (now observation) startUsers() (map[string][]string, bool) {
	all := map[string][]string{"default": {"on", "nopass", "~*", "&*", "+@all"}}
	if p := now.begun.said["requirepass"]; p != "" {
		all["default"] = []string{"on", ">" + p, "~*", "&*", "+@all"}
	}
	lines := now.begun.users
	if file := now.running.settings["aclfile"]; file != "" {
		if !path.IsAbs(file) {
			file = path.Join(now.begun.dir(now.supervised.WorkDir), file)
		}
		text, err := readInside(now.place.root, file)
		if now.place.root == "" || err != nil {
			return nil, false
		}
		lines = nil
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) > 1 && strings.EqualFold(f[0], "user") {
				lines = append(lines, f[1:])
			}
		}
	}
	for _, l := range lines {
		if len(l) > 0 {
			all[l[0]] = l[1:]
		}
	}
	return all, true
}

// plain writes the rules of a user in one way. Two that are written differently may
// still mean the same: that is reported, but does not refuse the run.
func plain(rules []string) (all []string) {
	for _, r := range rules {
		switch r {
		case "sanitize-payload", "resetchannels", "resetkeys", "resetpass", "reset", "clearselectors", "-@all",
			"nocommands":
			continue
		case "allkeys":
			r = "~*"
		case "allchannels":
			r = "&*"
		case "allcommands":
			r = "+@all"
		}
		if password, ok := strings.CutPrefix(r, ">"); ok {
			sum := sha256.Sum256([]byte(password))
			r = "#" + hex.EncodeToString(sum[:])
		}
		all = append(all, r)
	}
	if !slices.Contains(all, "on") && !slices.Contains(all, "off") {
		all = append(all, "off")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ourselves refuses where the restart takes back the user that upkeep is.
func (now observation) ourselves(c *goredis.Client) error {
	us := cmp.Or(c.Options().Username, "default")
	for _, gone := range now.goes() {
		if gone == "the user "+us || gone == "rules of the user "+us || us == "default" &&
			gone == "the setting requirepass" {
			return remediate.Refuse(remediate.ReasonUnfit,
				"%s, as which upkeep is logged in, was set while the server ran and would be taken back: what comes "+
					"back could not be looked at. Write it down first (ACL SAVE, CONFIG REWRITE)", gone)
		}
	}
	return nil
}

// set refuses where it is not known what the server is started with, and something
// may have been set since.
func (now observation) set() error {
	if now.begun.known || now.running.changes == 0 {
		return nil
	}
	how := "and whether something was set since cannot be seen (INFO commandstats)"
	if now.running.changes > 0 {
		how = fmt.Sprintf("and %d commands have set something since (INFO commandstats)", now.running.changes)
	}
	return remediate.Refuse(remediate.ReasonUnfit,
		"what the server is started with cannot be seen from here (%s), %s: it may come back with other data, or "+
			"none. Let upkeep read it, as root or as the server's user on its machine", now.begun.lacks, how)
}
