package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// CommandKey is the key of a program, with its arguments, that writes a secret.
const CommandKey = "password_command"

// SecretKey reports whether a key names a file with a secret.
func SecretKey(key string) bool {
	return slices.Contains(
		[]string{"password_file", "token_file", "secret_file", "key_id_file", "url_file", "key_file", "file"},
		key,
	)
}

// Private refuses a configuration that names a secret which other users of the machine can
// read or write, or a program that they can write. What is not there is said where it is read.
func (c *Config) Private() error { return private(reflect.ValueOf(*c)) }

func private(v reflect.Value) (err error) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			key := f.Tag.Get("yaml")
			if key == "" || !f.IsExported() {
				continue
			}
			value := v.FieldByIndex(f.Index)
			if command, ok := value.Interface().([]string); ok && key == CommandKey && len(command) > 0 {
				if is := files.Ours(command[0]); is != nil && !errors.Is(is, fs.ErrNotExist) {
					err = errors.Join(err, fmt.Errorf("%s: %w", key, is))
				}
			}
			if value.Kind() != reflect.String || !SecretKey(key) || value.String() == "" {
				err = errors.Join(err, private(value))
				continue
			}
			if is := files.Secret(value.String()); is != nil && !errors.Is(is, fs.ErrNotExist) {
				err = errors.Join(err, fmt.Errorf("%s: %w", key, is))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			err = errors.Join(err, private(v.Index(i)))
		}
	default: // it has no keys
	}
	return err
}

// Redacted is shown in the place of a secret, and of the file or variable that one is read from: a person may have
// written the secret itself there.
const Redacted = "<redacted>"

// Shown writes the configuration as it was loaded, as YAML, with the defaults that hold. It has no secret in it:
// what may be one is Redacted, also in the parts that are in the syntax of other programs.
func (c *Config) Shown() string {
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(shown(reflect.ValueOf(*c), "")); err != nil {
		return "the configuration cannot be written: " + err.Error()
	}
	return b.String()
}

// shown is a value as it is shown; nil where there is nothing to show.
func shown(v reflect.Value, key string) *yaml.Node {
	text := func(s string) *yaml.Node {
		n := &yaml.Node{}
		n.SetString(s)
		return n
	}
	switch value := v.Interface().(type) {
	case time.Duration:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: model.Duration(value).String()}
	case *float64:
		if value == nil {
			return nil
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(*value, 'g', -1, 64)}
	case *labels.Matcher:
		return text(withoutSecret(value.String()))
	case Raw:
		var n yaml.Node
		if yaml.Unmarshal([]byte(value), &n) != nil || len(n.Content) == 0 {
			return nil
		}
		return foreign(n.Content[0], "")
	}
	switch v.Kind() {
	case reflect.Struct:
		return ofStruct(v)
	case reflect.Slice:
		return ofSlice(v, key)
	case reflect.Map:
		return ofMap(v)
	case reflect.String:
		if v.String() != "" && (SecretKey(key) || key == "env" || strings.HasSuffix(key, "_env")) {
			return text(Redacted)
		}
		return text(withoutSecret(v.String()))
	default: // numbers and truth values
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v.Interface())}
	}
}

func ofStruct(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields(v.Type()) {
		value := v.FieldByIndex(f.Index)
		if value.IsZero() && slices.Contains([]string{"", "false", "0", "0s", "0%"}, f.Tag.Get("default")) {
			continue // it is not set, and holds nothing
		}
		if one := shown(value, f.Tag.Get("yaml")); one != nil {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.Tag.Get("yaml")}, one)
		}
	}
	if len(n.Content) == 0 {
		return nil
	}
	return n
}

func ofSlice(v reflect.Value, key string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range v.Len() {
		if one := shown(v.Index(i), key); one != nil {
			n.Content = append(n.Content, one)
		}
	}
	if len(n.Content) == 0 {
		return nil
	}
	return n
}

func ofMap(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range slices.SortedFunc(slices.Values(v.MapKeys()),
		func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
		if one := shown(v.MapIndex(name), ""); one != nil {
			key := &yaml.Node{}
			key.SetString(name.String())
			n.Content = append(n.Content, key, one)
		}
	}
	if len(n.Content) == 0 {
		return nil
	}
	return n
}

// harmless are the keys of other programs' syntax whose values are shown. All others may be, or become, keys of
// secrets.
func harmless(key string) bool {
	return slices.Contains([]string{"job_name", "name", "scheme", "metrics_path", "targets", "files", "names", "type",
		"port", "url", "scrape_interval", "scrape_timeout", "refresh_interval", "remote_timeout", "honor_labels",
		"honor_timestamps", "follow_redirects", "enable_http2", "insecure_skip_verify", "server_name", "send_exemplars",
		"send_native_histograms", "sample_limit", "label_limit", "source_labels", "target_label", "separator", "regex",
		"modulus", "replacement", "action"}, key)
}

// foreign is a part in the syntax of another program as it is shown.
func foreign(n *yaml.Node, key string) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind}
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := &yaml.Node{}
			name.SetString(n.Content[i].Value)
			out.Content = append(out.Content, name, foreign(n.Content[i+1], n.Content[i].Value))
		}
	case n.Kind == yaml.SequenceNode:
		for _, one := range n.Content {
			out.Content = append(out.Content, foreign(one, key))
		}
	case !harmless(key):
		out.SetString(Redacted)
	default:
		out.SetString(place(n.Value))
	}
	return out
}

// place is a text of another program's syntax; of a URL it is where it leads to, and not its path: that of a
// webhook is a secret.
func place(text string) string {
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "://") && (err != nil || u.Host == ""):
		return Redacted
	case strings.Contains(text, "://"):
		return u.Scheme + "://" + u.Host
	}
	return withoutSecret(text)
}

// withoutSecret writes a text without what may be a secret in it. A password in a URL is refused when the file is
// read: what is here is for what that may overlook.
func withoutSecret(text string) string {
	urls := regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+`)
	text = urls.ReplaceAllStringFunc(text, func(text string) string {
		u, err := url.Parse(text)
		if err != nil {
			return Redacted
		}
		shown := u.Scheme + "://"
		if u.User != nil {
			name := u.User.Username()
			if _, has := u.User.Password(); has || !strings.HasPrefix(u.Scheme, "postgres") && u.Scheme != "redis" &&
				u.Scheme != "rediss" {
				name = Redacted
			}
			shown += name + "@"
		}
		shown += u.Host + u.EscapedPath()
		for i, one := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' }) {
			name, _, _ := strings.Cut(one, "=")
			if !slices.Contains([]string{"sslmode", "connect_timeout", "application_name", "target_session_attrs",
				"db"}, name) {
				one = name + "=" + Redacted
			}
			shown += map[bool]string{true: "?", false: "&"}[i == 0] + one
		}
		return shown
	})
	pairs := regexp.MustCompile(`(?i)((?:passw|passphrase|secret|token|credential|api_?key)[a-z_]*\s*[=:]\s*)` +
		`("[^"]*"|'[^']*'|[^\s&"']+)`)
	return pairs.ReplaceAllString(text, "${1}"+Redacted)
}
