package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// whole is a configuration that has an entry in each list, so that every key can be set in it.
const whole = `
targets:
  postgres:
  - name: main
    url: postgres://h/d
    archives: [{database: d, table: t, column: c}]
  redis: [{name: r, url: 'redis://h'}]
  host: [{name: h}]
  docker: [{name: d}]
  probe: [{name: p, url: 'http://h/'}]
  backup: [{name: b, path: /x}]
  packages: [{name: k, kind: pip, path: /x}]
collectors: {settings: {redis/memory: {every: 1m}}}
web: {tokens: [{name: t, role: view, file: /t}]}
windows: [{name: w, time_intervals: [{times: [{start_time: '01:00', end_time: '05:00'}], weekdays: [monday]}]}]
policies:
- {name: p, match: ['a="b"'], action: redis/bgsave}
- {name: q, match: ['a="c"'], steps: [{action: redis/bgsave}]}
schedules: [{name: s, cron: 0 3 * * *, action: redis/bgsave, subject: {server: r}}]
notify: {places: [{name: n, kind: slack, url_file: /u}]}
`

func knownHere() Known {
	return Known{Collectors: []string{"redis/memory"},
		Actions: map[string]policy.Action{"redis/bgsave": {Name: "redis/bgsave", Subject: []string{"server"}}}}
}

// document returns a text as maps and lists.
func document(t *testing.T, text string) (doc map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// A key is one that a configuration may have, with where it may be.
type key struct {
	path  []any
	field reflect.StructField
}

func (k key) String() string { return strings.Trim(fmt.Sprint(k.path...), "[]") }

func (k key) name() string { return k.field.Tag.Get("yaml") }

// keysIn returns every key of a struct and of all within it, of which doc has an entry.
func keysIn(t reflect.Type, doc any, path ...any) (all []key) {
	in, _ := doc.(map[string]any)
	for _, f := range fields(t) {
		one := append(slices.Clone(path), f.Tag.Get("yaml"))
		all = append(all, key{one, f})
		value, inner := in[f.Tag.Get("yaml")], f.Type
		switch {
		case inner == reflect.TypeFor[labels.Matchers]():
		case inner.Kind() == reflect.Struct:
			all = append(all, keysIn(inner, value, one...)...)
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
			list, _ := value.([]any)
			for i, entry := range list {
				all = append(all, keysIn(inner.Elem(), entry, append(slices.Clone(one), i)...)...)
			}
		case inner.Kind() == reflect.Map && inner.Elem().Kind() == reflect.Struct:
			entries, _ := value.(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(entries)) {
				all = append(all, keysIn(inner.Elem(), entries[name], append(slices.Clone(one), name)...)...)
			}
		}
	}
	return all
}

// put sets a value in a document, and makes what is above it.
func put(doc any, path []any, value any) any {
	if len(path) == 0 {
		return value
	}
	if i, ok := path[0].(int); ok {
		list := doc.([]any) //nolint:forcetypeassert // the path was made of it
		list[i] = put(list[i], path[1:], value)
		return list
	}
	in, _ := doc.(map[string]any)
	if in == nil {
		in = make(map[string]any)
	}
	name := path[0].(string) //nolint:forcetypeassert // an index or a key
	in[name] = put(in[name], path[1:], value)
	return in
}

// wrongFor are values that a key cannot have, by what it holds. An empty list, section or map is as none.
func wrongFor(f reflect.StructField) []any {
	list, mapping := []any{"x"}, map[string]any{"x": "y"}
	lists := []any{list, mapping, nil}
	switch f.Type {
	case reflect.TypeFor[time.Duration]():
		wrong := append(lists, "", "5 minutes", "15", "-1s", "1.5s", "1e3s", "99999999999y", "nonsense", true)
		if f.Tag.Get("min") != "" {
			wrong = append(wrong, "0s")
		}
		return wrong
	case reflect.TypeFor[*float64]():
		return append(lists, "", "x", "1%", ".nan", ".inf", "NaN", "1e999")
	case reflect.TypeFor[labels.Matchers]():
		return []any{"a=b", mapping, nil, []any{}, []any{""}, []any{"x"}, []any{`a=~"("`}, []any{list}}
	case reflect.TypeFor[Raw]():
		return []any{"x", mapping, 5}
	}
	switch f.Type.Kind() {
	case reflect.Bool:
		return append(lists, "yep", "1", 0, "TRUE ")
	case reflect.Int:
		wrong := append(lists, "x", -1, 1.5, "1e3", "99999999999999999999")
		if f.Tag.Get("check") == "status" {
			wrong = append(wrong, 99, 600)
		}
		return wrong
	case reflect.Float64:
		return append(lists, "101%", -1, "-1%", "x", "NaN", 1.5, "")
	case reflect.Slice:
		return []any{"x", mapping, true}
	case reflect.Map:
		return []any{"x", list, []any{}}
	case reflect.Struct:
		return []any{"x", 7}
	}
	wrong := lists
	if f.Tag.Get("enum") != "" {
		wrong = append(wrong, "nonsense", "")
	}
	switch f.Tag.Get("check") {
	case "listen":
		wrong = append(wrong, "x", ":x", "::1:1", ":99999")
	case "size":
		wrong = append(wrong, "5", "-1GB", "5 GB", "5gb")
	case "probe":
		wrong = append(wrong, "h", "ftp://h", "http://", "https://u@h", "tcp://h", "tls://h:1/x", "tcp://:25")
	case "regexp":
		wrong = append(wrong, "(", "*", `\8`)
	case "http":
		wrong = append(wrong, "h", "ftp://h", "http://", "http://u@h", "http://h:port", "javascript:alert(1)")
	}
	return wrong
}

// Every key refuses every value that it cannot have: it names itself, and the line of the value; nothing else is said
// without a line, and nothing panics.
func TestEveryWrongValue(t *testing.T) {
	t.Parallel()
	place := regexp.MustCompile(`^f:\d+: .`)
	all := keysIn(reflect.TypeFor[Config](), document(t, whole))
	if len(all) < 200 {
		t.Fatalf("only %d keys", len(all))
	}
	tried := 0
	for _, k := range all {
		if len(k.path) > 2 && k.path[0] == "policies" && k.path[1] == 1 && k.path[2] != "steps" {
			continue // tried in the first policy
		}
		for _, value := range wrongFor(k.field) {
			text, err := yaml.Marshal(put(document(t, whole), k.path, value))
			if err != nil {
				t.Fatal(err)
			}
			var root yaml.Node
			if err := yaml.Unmarshal(text, &root); err != nil {
				t.Fatal(err)
			}
			line := max(at(root.Content[0], k.path...).Line, 1)
			above := max(at(root.Content[0], k.path[:len(k.path)-1]...).Line, 1) // where what is required is missed
			c, err := Parse("f", text, knownHere())
			if c != nil || err == nil {
				t.Errorf("%s: %v is taken", k, value)
				continue
			}
			tried++
			named := false
			for fault := range strings.SplitSeq(err.Error(), "\n") {
				if !place.MatchString(fault) {
					t.Errorf("%s: %v: no line: %s", k, value, fault)
				}
				named = named || strings.Contains(fault, k.name()) && (strings.HasPrefix(fault, fmt.Sprintf("f:%d: ", line)) ||
					strings.HasPrefix(fault, fmt.Sprintf("f:%d: ", above)) && strings.Contains(fault, "has no"))
			}
			if !named {
				t.Errorf("%s: %v, in line %d: the error does not name it:\n%v", k, value, line, err)
			}
		}
	}
	t.Logf("%d wrong values of %d keys", tried, len(all))
}

// A key that is misspelt is refused with its line, and with the one that was meant, wherever it is.
func TestEveryMisspeltKey(t *testing.T) {
	t.Parallel()
	for _, k := range keysIn(reflect.TypeFor[Config](), document(t, whole)) {
		if len(k.name()) < 5 {
			continue // another key may be as near
		}
		wrong := append(slices.Clone(k.path[:len(k.path)-1]), k.name()+"x")
		text, err := yaml.Marshal(put(document(t, whole), wrong, "x"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse("f", text, knownHere())
		if want := fmt.Sprintf("unknown key %q; did you mean %q?", k.name()+"x", k.name()); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", k, err, want)
		}
	}
}

// others are keys whose values depend on those of other keys.
func others(k key) bool {
	name, section := k.name(), fmt.Sprint(k.path[0])
	return slices.Contains([]string{"name", "url", "action", "cron", "time_zone", "query", "root", "directory", "service", "units", "replica_of", "kind",
		"stanza", "path", "retention", "config_file", "start_time", "end_time", "location", "receiver", "table",
		"token_file",
		"token_env", "alertmanager_file", "receivers_file", "enabled", "url_file", "url_env", "file", "env", "purge",
		"column",
		"database", "container", "log_archive", "data_dir", "password_env"}, name) ||
		slices.Contains([]string{"store", "prometheus", "alertmanager", "grafana"}, section) ||
		slices.ContainsFunc(k.path, func(step any) bool {
			return step == "restart" || step == "to" ||
				step == "docker"
		}) ||
		section == "policies" && len(k.path) == 3 && k.path[1] == 1 && name == "mode"
}

// valueFor returns a value that a key may have, as it is written and as it is read; nil where it depends on others.
func valueFor(r *rand.Rand, k key) (written, read any) {
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	if others(k) {
		return nil, nil
	}
	if k.field.Type == reflect.TypeFor[Raw]() {
		return nil, nil
	}
	switch f := k.field; f.Type.Kind() {
	case reflect.Bool:
		b := r.IntN(2) == 0
		return b, b
	case reflect.Int:
		n := 1 + r.IntN(1000)
		if f.Tag.Get("check") == "status" {
			n = 100 + r.IntN(500)
		}
		return n, n
	case reflect.Float64:
		n := r.IntN(101)
		if r.IntN(2) == 0 {
			return fmt.Sprintf("%d%%", n), float64(n) / 100
		}
		return float64(n) / 100, float64(n) / 100
	case reflect.Pointer:
		v := r.NormFloat64()
		return v, &v
	case reflect.String:
		if choices := f.Tag.Get("enum"); choices != "" {
			s := pick(strings.Split(choices, "|")...)
			return s, s
		}
		s := pick("a", "größe", "a: b # c", "- x", `"q"`, "yes", "0x1F", "~", "null", " x ", "a\nb", "%", "{a}", "!t",
			"&a",
			"*a", "@", "'", "true", "1e3", "2026-11-30")
		switch f.Tag.Get("check") {
		case "listen":
			s = fmt.Sprintf("127.0.0.1:%d", r.IntN(65536))
		case "size":
			s = pick("0", "512MB", "20GB", "1B")
		case "http":
			s = pick("http://h", "https://h:1/a?b=c")
		case "regexp":
			s = pick("ok", "^a: b # c$", `"status": ?"UP"`, `\d+`, "größe")
		case "path":
			s = "/" + s
		}
		return s, s
	case reflect.Int64: // a time.Duration
		n := 1 + r.IntN(90)
		unit := []struct {
			name string
			is   time.Duration
		}{{"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}}[r.IntN(3)]
		if strings.HasSuffix(f.Tag.Get("min"), "h") || strings.HasSuffix(f.Tag.Get("min"), "d") {
			unit.name, unit.is = "d", 24*time.Hour
		}
		return fmt.Sprint(n, unit.name), time.Duration(n) * unit.is
	}
	return nil, nil
}

// in returns the value of a key of a configuration.
func in(c *Config, path []any) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for _, step := range path {
		switch step := step.(type) {
		case int:
			v = v.Index(step)
		case string:
			if v.Kind() == reflect.Map {
				v = v.MapIndex(reflect.ValueOf(step))
				continue
			}
			f, _ := field(v.Type(), step)
			v = v.FieldByIndex(f.Index)
		}
	}
	return v
}

// A configuration that is written at random is read as it was written, and what it does not say has its default,
// however
// it is written: as blocks, in one line, as JSON.
func TestRandomConfigurations(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 7))
	var able []key
	for _, k := range keysIn(reflect.TypeFor[Config](), document(t, whole)) {
		if written, _ := valueFor(r, k); written != nil {
			able = append(able, k)
		}
	}
	if len(able) < 90 {
		t.Fatalf("only %d keys", len(able))
	}
	used := make(map[string]bool)
	for range 100 {
		doc := document(t, whole)
		want, err := Parse("/etc/f", []byte(whole), knownHere())
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + r.IntN(12) {
			k := able[r.IntN(len(able))]
			used[k.String()] = true
			written, read := valueFor(r, k)
			put(doc, k.path, written)
			setIn(want, k.path, read)
		}
		for style, text := range styles(t, doc) {
			got, err := Parse("/etc/f", text, knownHere())
			if err != nil {
				t.Fatalf("%s: %v:\n%s", style, err, text)
			}
			if diff := differ(want, got); diff != nil {
				t.Fatalf("%s: %s\n%s", style, strings.Join(diff, "\n"), text)
			}
		}
	}
	if len(used) != len(able) {
		t.Errorf("%d of %d keys were used", len(used), len(able))
	}
}

// styles are ways to write a document.
func styles(t *testing.T, doc map[string]any) map[string][]byte {
	t.Helper()
	block, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(block, &root); err != nil {
		t.Fatal(err)
	}
	root.Content[0].Style = yaml.FlowStyle
	flow, err := yaml.Marshal(&root)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"block": block, "JSON": inJSON, "flow": flow,
		"with a start and an end": slices.Concat([]byte("# x\n---\n"), block, []byte("...\n"))}
}

// setIn sets the value of a key, also where it is in a map, and in the chain that the short form of a policy makes.
func setIn(c *Config, path []any, value any) {
	if path[0] == "collectors" && path[1] == "settings" {
		name := path[2].(string) //nolint:forcetypeassert // the key of a map
		one := c.Collectors.Settings[name]
		f, _ := field(reflect.TypeOf(one), path[3].(string)) //nolint:forcetypeassert // a key
		reflect.ValueOf(&one).Elem().FieldByIndex(f.Index).Set(reflect.ValueOf(value))
		c.Collectors.Settings[name] = one
		return
	}
	in(c, path).Set(reflect.ValueOf(value))
	if path[0] == "policies" && path[1] == 0 && path[2] == "mode" {
		c.Policies[0].Steps[0].Mode = value.(string) //nolint:forcetypeassert // a mode
	}
}

// differ lists the keys in which two configurations differ.
func differ(a, b *Config) (all []string) {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	for _, k := range keysIn(reflect.TypeFor[Config](), nil) {
		x, y := in(a, k.path).Interface(), in(b, k.path).Interface()
		if !reflect.DeepEqual(x, y) {
			all = append(all, fmt.Sprintf("%s: %+v, want %+v", k, y, x))
		}
	}
	return append(all, "they differ")
}

// A configuration that is wrong in many places says the same each time, and each place once.
func TestSameErrorsEachTime(t *testing.T) {
	t.Parallel()
	text := "targets:\n"
	for _, kind := range []string{"postgres", "redis", "probe", "backup", "packages", "docker", "host"} {
		text += "  " + kind + ":\n"
		for range 2 {
			text += "  - {name: a, url: 'x://', path: /x, kind: x, host: x, root: x}\n"
		}
	}
	_, first := Parse("f", []byte(text), knownHere())
	if first == nil {
		t.Fatal("it is taken")
	}
	for range 20 {
		if _, again := Parse("f", []byte(text), knownHere()); again == nil || again.Error() != first.Error() {
			t.Fatalf("first\n%v\nand then\n%v", first, again)
		}
	}
	all := strings.Split(first.Error(), "\n")
	if once := slices.Compact(slices.Sorted(slices.Values(all))); len(once) != len(all) {
		t.Errorf("something is said twice:\n%v", first)
	}
}

// An alias in a configuration is the value of its anchor.
func TestAliases(t *testing.T) {
	t.Parallel()
	plain, err := Parse("f",
		[]byte("targets:\n  redis:\n  - {name: a, url: 'redis://h'}\n  - {name: b, url: 'redis://h'}\n"+
			"  host: [{name: a}]\n"), knownHere())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("f",
		[]byte("targets:\n  redis:\n  - {name: &n a, url: &u 'redis://h'}\n  - {name: b, url: *u}\n"+
			"  host: [{name: *n}]\n"), knownHere())
	if err != nil {
		t.Fatal(err)
	}
	if diff := differ(plain, again); diff != nil {
		t.Error(diff)
	}
}

// Whatever things are called in a configuration, what is wrong with it is said in one line each, with its place.
func TestNamesInErrors(t *testing.T) {
	t.Parallel()
	place := regexp.MustCompile(`^f:\d+: .`)
	n := 0
	visibletest.Names(t, func(name string) {
		if n++; len(name) > 300 || n > 140 && n%5 > 0 { // every part, and some of what is made of several
			return
		}
		two := func(more map[string]any) []any {
			entry := map[string]any{"name": name}
			maps.Copy(entry, more)
			return []any{entry, entry}
		}
		text, err := yaml.Marshal(map[string]any{
			"targets": map[string]any{
				"postgres": two(map[string]any{"url": name, "replica_of": name + "x", "password_file": name,
					"password_env": name}),
				"redis": two(map[string]any{"url": "x://" + name, "restart": map[string]any{"docker": name,
					"systemd": name}}),
				"docker": two(map[string]any{"host": name, "root": "x" + name, "log_archive": name}),
				"backup": two(map[string]any{"stanza": name, "kind": name}), "probe": two(nil),
			},
			"windows": two(map[string]any{"time_intervals": []any{map[string]any{"weekdays": []any{name},
				"location": name}}}),
			"policies": two(map[string]any{"action": name, "match": []any{name}, "windows": []any{name},
				"x" + name: name}),
			"schedules": two(map[string]any{"action": "redis/bgsave", "cron": name, "time_zone": name, "query": name}),
			"notify":    two(map[string]any{"kind": name, "receiver": name}),
			"web": map[string]any{"users": map[string]any{name: name}, "hosts": []any{name + "/"},
				"listen": name},
			"log": map[string]any{"level": name},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse("f", text, knownHere())
		if err == nil {
			t.Fatalf("it is taken:\n%s", text)
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if visibletest.Line(t, line); !place.MatchString(line) {
				t.Fatalf("%q breaks a line: %q", name, line)
			}
		}
	})
}

// randomTerms are terms as a configuration may have them, some of which ask for nothing.
func randomTerms(r *rand.Rand) (t remediate.Terms) {
	v := reflect.ValueOf(&t).Elem()
	for i := range v.NumField() {
		if r.IntN(3) == 0 {
			continue
		}
		switch f := v.Field(i); f.Interface().(type) {
		case time.Duration:
			f.SetInt(int64(time.Duration(1+r.IntN(5_000_000)) * []time.Duration{time.Millisecond,
				time.Second}[r.IntN(2)]))
		case float64:
			f.SetFloat(float64(r.IntN(1001)) / 1000)
		case int:
			f.SetInt(int64(r.IntN(1e6)))
		case bool:
			f.SetBool(r.IntN(2) == 0)
		case []string:
			f.Set(reflect.ValueOf([]string{"w"}))
		}
	}
	t.ApprovalLifetime += time.Minute // the least
	return t
}

// The terms of a policy are read as they are written for people: by the keys of the configuration, in its syntax, and
// without digits that no one has written.
func TestTermsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 20))
	odd := regexp.MustCompile(`[0-9]{7}`)
	for range 150 {
		want := randomTerms(r)
		said := make(map[string]string)
		for _, one := range strings.Split(want.Text(), "; ") {
			key, value, _ := strings.Cut(one, " ")
			said[key] = value
			if odd.MatchString(value) {
				t.Errorf("%s is written as %s", key, value)
			}
		}
		policy := "- {name: x, match: [a=b], action: redis/bgsave"
		for _, key := range keys(reflect.TypeFor[remediate.Terms]()) {
			f, _ := field(reflect.TypeFor[remediate.Terms](), key)
			value, asked := said[key]
			switch {
			case f.Type.Kind() == reflect.Bool:
				value = fmt.Sprint(asked)
			case f.Type.Kind() == reflect.Slice:
				value = "[" + value + "]"
			case !asked && f.Type == reflect.TypeFor[time.Duration]():
				value = "0s"
			case !asked:
				value = "0"
			}
			policy += ", " + key + ": " + value
		}
		text := strings.Replace(whole, "policies:\n", "store: {retention: 100y}\npolicies:\n"+policy+"}\n", 1)
		c, err := Parse("f", []byte(text), knownHere())
		if err != nil {
			t.Fatalf("%v: %s", err, policy)
		}
		if got := c.Policies[0].Terms; got.Text() != want.Text() || len(got.Windows) != len(want.Windows) {
			t.Fatalf("%s\nis read as\n%s", want.Text(), got.Text())
		}
	}
}

// The reference says which keys of a probe are refused with an address of TCP.
func TestKeysOfTCPProbes(t *testing.T) {
	for key, value := range map[string]string{"status": "200", "redirects": "none", "headers": "{a: b}", "body_without": "x",
		"ca_file": "x", "body": "x"} {
		_, err := Parse("/f", []byte("targets: {probe: [{name: a, url: 'tcp://h:1', "+key+": "+value+"}]}\n"), knownHere())
		f, ok := field(reflect.TypeFor[Probe](), key)
		if !ok {
			t.Fatal(key)
		}
		if says := strings.Contains(f.Tag.Get("doc"), "with tcp://"); says != (err != nil) {
			t.Errorf("%s: %v, and its doc is %q", key, err, f.Tag.Get("doc"))
		}
	}
}
