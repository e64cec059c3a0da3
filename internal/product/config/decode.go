package config

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// object fills a struct from a mapping, with defaults for what is not there.
func (d *decoder) object(n *yaml.Node, v reflect.Value, what string) {
	setDefaults(v)
	if null(n) {
		n = &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s is %s; keys and values were expected: %s", what, kind(n), strings.Join(keys(v.Type()), ", "))
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		if line, ok := seen[key.Value]; ok {
			d.fault(key, "duplicate key %q; it was first set in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		f, ok := field(v.Type(), key.Value)
		if !ok {
			d.fault(key, "unknown key %q; %s", key.Value, expected(key.Value, "keys", keys(v.Type())))
			continue
		}
		d.value(value, v.FieldByIndex(f.Index), f, key.Value)
	}
	for _, f := range fields(v.Type()) {
		if want := f.Tag.Get("required"); want != "" && v.FieldByIndex(f.Index).IsZero() && !d.faultIn(n) {
			d.fault(n, "%s has no %q; %s was expected", what, f.Tag.Get("yaml"), want)
		}
	}
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, f reflect.StructField, key string) {
	switch v.Interface().(type) {
	case time.Duration:
		d.duration(n, v, f, key)
	case labels.Matchers:
		d.matchers(n, v, key)
	case *float64:
		d.number(n, v, key)
	case Raw:
		d.raw(n, v, f, key)
	default:
		d.plain(n, v, f, key)
	}
}

func (d *decoder) plain(n *yaml.Node, v reflect.Value, f reflect.StructField, key string) {
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, key)
	case reflect.Slice:
		d.list(n, v, f, key)
	case reflect.Map:
		if v.Type().Elem().Kind() == reflect.String {
			d.texts(n, v, key)
			return
		}
		d.table(n, v, f, key)
	case reflect.String:
		d.text(n, v, f, key)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || err != nil {
			d.fault(n, "%s is %s; true or false was expected", key, kind(n))
			return
		}
		v.SetBool(b)
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		least, _ := strconv.Atoi(f.Tag.Get("min"))
		if n.Kind != yaml.ScalarNode || err != nil || i < least {
			d.fault(n, "%s is %s; a whole number of at least %d was expected", key, kind(n), least)
			return
		}
		if f.Tag.Get("check") == "status" && i != 0 && (i < 100 || i > 599) {
			d.fault(n, "%s is %d; an HTTP status from 100 to 599 was expected, or 0 for 200 to 299", key, i)
			return
		}
		v.SetInt(int64(i))
	case reflect.Float64:
		share, err := parseShare(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.fault(n, "%s is %s; a share was expected, like 20%% or 0.2", key, kind(n))
			return
		}
		v.SetFloat(share)
	default:
		panic("config: no decoder for " + v.Type().String())
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, f reflect.StructField, key string) {
	if null(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fault(n, "%s is %s; a list was expected", key, kind(n))
		return
	}
	for _, item := range n.Content {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(resolve(item), e, f, "an entry of "+key)
		v.Set(reflect.Append(v, e))
	}
}

// parseShare reads a number from 0 to 1, or that of hundred.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		share /= 100
	}
	if err == nil && !(share >= 0 && share <= 1) { // NaN is neither
		err = fmt.Errorf("%q is no share", text)
	}
	return share, err
}

// number reads any number that something can be compared with.
func (d *decoder) number(n *yaml.Node, v reflect.Value, key string) {
	got, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(got) || math.IsInf(got, 0) {
		d.fault(n, "%s is %s; a number was expected", key, kind(n))
		return
	}
	v.Set(reflect.ValueOf(&got))
}

// texts fills a map of texts with free keys.
func (d *decoder) texts(n *yaml.Node, v reflect.Value, key string) {
	if null(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s is %s; names and their values were expected", key, kind(n))
		return
	}
	all := make(map[string]string)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolve(n.Content[i+1])
		switch _, twice := all[name.Value]; {
		case twice:
			d.fault(name, "duplicate key %q", name.Value)
		case value.Kind != yaml.ScalarNode || null(value):
			d.fault(value, "%s of %s is %s; text was expected", name.Value, key, kind(value))
		default:
			all[name.Value] = value.Value
		}
	}
	v.Set(reflect.ValueOf(all))
}

// table fills a map whose keys are names of collectors.
func (d *decoder) table(n *yaml.Node, v reflect.Value, f reflect.StructField, key string) {
	if null(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s is %s; names and their settings were expected", key, kind(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if !slices.Contains(d.known.Collectors, name.Value) {
			d.fault(name, "unknown %s %q; %s", f.Tag.Get("key"), name.Value,
				expected(name.Value, f.Tag.Get("key")+"s", d.known.Collectors))
			continue
		}
		if v.MapIndex(reflect.ValueOf(name.Value)).IsValid() {
			d.fault(name, "duplicate key %q", name.Value)
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.object(resolve(n.Content[i+1]), e, name.Value)
		v.SetMapIndex(reflect.ValueOf(name.Value), e)
	}
}

func (d *decoder) text(n *yaml.Node, v reflect.Value, f reflect.StructField, key string) {
	if n.Kind != yaml.ScalarNode || null(n) {
		d.fault(n, "%s is %s; text was expected", key, kind(n))
		return
	}
	if choices := f.Tag.Get("enum"); choices != "" && !slices.Contains(strings.Split(choices, "|"), n.Value) {
		d.fault(n, "%s is %q; %s was expected", key, n.Value, strings.ReplaceAll(choices, "|", " or "))
		return
	}
	value := n.Value
	switch f.Tag.Get("check") {
	case "listen":
		if _, port, err := net.SplitHostPort(value); err != nil || !isPort(port) {
			d.fault(n, "%s is %q; an address and a port was expected, like 127.0.0.1:9847 or :9847", key, value)
		}
	case "size":
		if !regexp.MustCompile(`^(0|[1-9][0-9]*(B|[KMGTPE]B))$`).MatchString(value) {
			d.fault(n, "%s is %q; a number with a unit was expected, like 512MB or 20GB, or 0 for no limit", key, value)
		}
	case "http":
		if u, err := url.Parse(value); value != "" && (err != nil || u.Host == "" ||
			u.Scheme != "http" && u.Scheme != "https") {
			d.fault(n, "%s is not an HTTP URL; expected a URL like http://host:9093", key)
		} else if u != nil && u.User != nil {
			d.fault(n, "%s has a user or password in it; a URL without was expected", key)
		} else if wrongPort(u) {
			d.fault(n, "%s has the port %s; one from 1 to 65535 was expected", key, u.Port())
		}
	case "probe":
		d.probed(n, value, key)
	case "regexp":
		if _, err := regexp.Compile(value); err != nil {
			d.fault(n, "%s is no regular expression: %v", key, err)
		}
	case "path":
		if value != "" && !filepath.IsAbs(value) {
			value = filepath.Join(d.dir, value)
		}
	}
	v.SetString(value)
}

// probed checks the address of a probe.
func (d *decoder) probed(n *yaml.Node, value, key string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "tcp", "tls"}, u.Scheme):
		d.fault(n, "%s is not an address of http, https, tcp or tls; expected one like http://host:8080/health or "+
			"tcp://host:25", key)
	case u.User != nil:
		d.fault(n, "%s has a user or password in it; a URL without was expected", key)
	case wrongPort(u):
		d.fault(n, "%s has the port %s; one from 1 to 65535 was expected", key, u.Port())
	case strings.HasPrefix(u.Scheme, "t") && (u.Port() == "" || u.Path != "" || u.RawQuery != ""):
		d.fault(n, "%s: of %s an address and a port was expected, like %s://host:5432", key, u.Scheme, u.Scheme)
	}
}

// wrongPort reports whether a URL has a port that does not exist: parsing a URL takes any number.
func wrongPort(u *url.URL) bool {
	return u != nil && u.Port() != "" && (!isPort(u.Port()) || strings.Trim(u.Port(), "0") == "")
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n <= 65535
}

func (d *decoder) duration(n *yaml.Node, v reflect.Value, f reflect.StructField, key string) {
	got, err := model.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.fault(n, "%s is %s; a duration was expected, like 30s, 5m, 1h30m or 15d", key, kind(n))
		return
	}
	if text := f.Tag.Get("min"); text != "" {
		if least, err := model.ParseDuration(text); err != nil {
			panic("config: min of " + key)
		} else if got < least {
			d.fault(n, "%s is %s; at least %s was expected", key, n.Value, text)
			return
		}
	}
	v.SetInt(int64(got))
}

func (d *decoder) matchers(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, `%s is %s; a list of matchers was expected, like ['alertname="PostgresDeadRows"']`, key, kind(n))
		return
	}
	var all labels.Matchers
	for _, item := range n.Content {
		item = resolve(item)
		one, err := policy.ParseMatchers(item.Value)
		if item.Kind != yaml.ScalarNode || err != nil || len(one) == 0 {
			d.fault(item, `%s %s does not parse (%v); a matcher was expected, `+
				`like alertname="PostgresDeadRows" or severity=~"warning|critical"`, key, kind(item), err)
			continue
		}
		all = append(all, one...)
	}
	v.Set(reflect.ValueOf(all))
}

func setDefaults(v reflect.Value) {
	for _, f := range fields(v.Type()) {
		text, ok := f.Tag.Lookup("default")
		if !ok {
			if f.Type.Kind() == reflect.Struct {
				setDefaults(v.FieldByIndex(f.Index))
			}
			continue
		}
		target := v.FieldByIndex(f.Index)
		switch target.Interface().(type) {
		case string:
			target.SetString(text)
		case bool:
			target.SetBool(text == "true")
		case int:
			i, err := strconv.Atoi(text)
			if err != nil {
				panic("config: default of " + f.Name)
			}
			target.SetInt(int64(i))
		case float64:
			share, err := parseShare(text)
			if err != nil {
				panic("config: default of " + f.Name)
			}
			target.SetFloat(share)
		case time.Duration:
			got, err := model.ParseDuration(text)
			if err != nil {
				panic("config: default of " + f.Name)
			}
			target.SetInt(int64(got))
		}
	}
}
