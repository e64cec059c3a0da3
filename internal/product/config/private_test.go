package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// A secret that every user can read, or that others can write, is refused wherever the
// configuration names one, with the command that mends it. The group may read it.
func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	names := []string{"password_file", "token_file", "secret_file", "key_id_file", "url_file", "file"}
	for _, name := range names {
		if err := os.WriteFile(file(name), []byte("a secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse(file("upkeep.yaml"), fmt.Appendf(nil, `data_dir: data
web: {token_file: token_file, tokens: [{name: ci, role: view, file: file}]}
targets:
  postgres:
    - name: main
      url: postgres://u@h/db
      password_file: password_file
      archives: [{database: d, table: t, column: c, to: {bucket: b, endpoint: 'http://s3', key_id_file: key_id_file, secret_file: secret_file}}]
notify: [{name: chat, kind: slack, url_file: url_file}]
`), known())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Private(); err != nil {
		t.Errorf("all are private: %v", err)
	}
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: false, 0o644: true, 0o604: true,
		0o660: true, 0o602: true, 0o620: true} {
		for _, name := range names {
			if err := os.Chmod(file(name), mode); err != nil {
				t.Fatal(err)
			}
			err := c.Private()
			if (err != nil) != refused {
				t.Errorf("%s of mode %04o: %v", name, mode, err)
			}
			if mend := "run: chmod 640 " + file(name); refused && !strings.Contains(fmt.Sprint(err), mend) {
				t.Errorf("%s of mode %04o: %v, want %q", name, mode, err, mend)
			}
			if err := os.Chmod(file(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Remove(file("url_file")); err != nil {
		t.Fatal(err)
	}
	if err := c.Private(); err != nil {
		t.Errorf("one that is not there is said where it is read: %v", err)
	}
}

// mark puts a secret into every text that could have one, of every part that a configuration may have, and returns
// how many there are.
func mark(v reflect.Value, key string, n *int) {
	next := func() string { *n++; return fmt.Sprintf("MARK%dKRAM", *n) }
	switch value := v.Interface().(type) {
	case config.Raw:
		v.Set(reflect.ValueOf(config.Raw(fmt.Sprintf(`- job_name: services
  basic_auth: {username: ann, password: %s}
  authorization: {type: Bearer, credentials: %s}
  oauth2: {client_id: c, client_secret: %s, endpoint_params: {resource: %s}}
  params: {token: [%s]}
  http_headers: {X-Key: {secrets: [%s]}}
  url: https://ann:%s@push.example/api/%s?key=%s
  tls_config: {key: "%s", server_name: push.example}
  static_configs: [{targets: ['10.0.0.8:9100', 'https://%s@other.example/%s'], labels: {token: %s}}]
`, next(), next(), next(), next(), next(), next(), next(), next(), next(), next(), next(), next(), next()))))
		return
	case *float64, labels.Matchers, time.Duration:
		_ = value
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			if f.IsExported() && !f.Anonymous {
				mark(v.FieldByIndex(f.Index), f.Tag.Get("yaml"), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		mark(v.Index(0), key, n)
	case reflect.Map:
		one := reflect.New(v.Type().Elem()).Elem()
		mark(one, "", n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("name"), one)
	case reflect.String:
		secret := config.SecretKey(key) || key == "env" || strings.HasSuffix(key, "_env")
		switch {
		case secret:
			v.SetString(next())
		case strings.Contains(key, "url") || key == "endpoint" || key == "registry" || key == "host":
			v.SetString(fmt.Sprintf("https://ann:%s@h.example/p?sslmode=verify-full&password=%s", next(), next()))
		default: // a person may write one anywhere
			v.SetString(fmt.Sprintf("see postgres://ann:%s@h.example/db, password=%s", next(), next()))
		}
	}
}

// What is shown of a configuration has no secret in it, wherever one can be, and has what it says.
func TestShown(t *testing.T) {
	var c config.Config
	n := 0
	mark(reflect.ValueOf(&c).Elem(), "", &n)
	text := c.Shown()
	if found := regexp.MustCompile(`MARK\d+KRAM`).FindAllString(text, -1); n < 100 || len(found) > 0 {
		t.Errorf("%d secrets, shown: %v in\n%s", n, found, text)
	}
	for _, want := range []string{"password_file: " + config.Redacted, "job_name: services", "- 10.0.0.8:9100",
		"url: https://push.example", "- https://other.example", "server_name: push.example", "username: " + config.Redacted,
		"https://" + config.Redacted + "@h.example/p?sslmode=verify-full&password=" + config.Redacted} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	loaded, err := config.Parse("upkeep.yaml", []byte(`
targets:
  postgres: [{name: main, url: 'postgres://upkeep@10.0.0.7:5432/postgres?sslmode=disable', password_file: /etc/pw}]
embedded: {enabled: false}
policies: [{name: dead rows, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, mode: ask, limit: 0.2}]
`), known())
	if err != nil {
		t.Fatal(err)
	}
	text = loaded.Shown()
	for _, want := range []string{"url: postgres://upkeep@10.0.0.7:5432/postgres?sslmode=disable", "enabled: false",
		`alertname="PostgresDeadRows"`, "cooldown: 1h", "limit: 0.2", "retention: 400d", "budget: 0.2"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "/etc/pw") || strings.Contains(text, "redis:") {
		t.Error(text)
	}
	var again map[string]any
	if err := yaml.Unmarshal([]byte(text), &again); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
}
