package receivers

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	amcommon "github.com/prometheus/alertmanager/config/common"
	common "github.com/prometheus/common/config"
)

// absolute joins every relative path of a file that something names with a folder.
// Alertmanager does so for the settings of HTTP clients only; all others it would take
// from the folder in which it was started.
func absolute(v reflect.Value, dir string) {
	walk(v, func(v reflect.Value, field reflect.StructField) {
		if v.CanAddr() {
			if c, ok := reflect.TypeAssert[*common.HTTPClientConfig](v.Addr()); ok {
				c.SetDirectory(dir)
			}
		}
		if v.Kind() == reflect.String && v.CanSet() && namesFile(field) && v.String() != "" &&
			!filepath.IsAbs(v.String()) {
			v.SetString(filepath.Join(dir, v.String()))
		}
	})
}

// namesFile reports whether a field is the path of a file.
func namesFile(f reflect.StructField) bool {
	return strings.HasSuffix(key(f), "_file")
}

// key returns the name of a field in the file.
func key(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

// walk calls f with every value within another one and the field that it is, or is in.
func walk(v reflect.Value, f func(v reflect.Value, field reflect.StructField)) {
	walkIn(v, reflect.StructField{}, f)
}

func walkIn(v reflect.Value, field reflect.StructField, f func(reflect.Value, reflect.StructField)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walkIn(v.Elem(), field, f)
		}
		return
	case reflect.Struct:
		f(v, field)
		if _, ok := reflect.TypeAssert[url.URL](v); ok {
			return
		}
		for i := range v.NumField() {
			if inner := v.Type().Field(i); inner.IsExported() {
				walkIn(v.Field(i), inner, f)
			}
		}
	case reflect.Slice:
		f(v, field)
		for i := range v.Len() {
			walkIn(v.Index(i), field, f)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			walkIn(v.MapIndex(key), field, f)
		}
	default:
		f(v, field)
	}
}

// secretFileLimit is how long a file may be whose text is a secret, and no certificate.
const secretFileLimit = 4 << 10

// A hidden is what of a receiver is in no error: texts, and files that hold such.
type hidden struct{ texts, files []string }

// secretsOf finds the secrets of a receiver by their types, whatever kind it is.
func secretsOf(v reflect.Value) hidden {
	var h hidden
	walk(v, func(v reflect.Value, field reflect.StructField) {
		if v.Kind() == reflect.String && strings.Contains(v.Type().Name(), "Secret") { // there are several of them
			h.texts = append(h.texts, partsOf(v.String())...)
			return
		}
		switch s := v.Interface().(type) {
		case amcommon.SecretURL:
			if s.URL != nil {
				h.texts = append(h.texts, partsOf(s.String())...)
			}
		case url.URL:
			if password, ok := s.User.Password(); ok {
				h.texts = append(h.texts, password, s.User.String())
			}
		case string:
			if namesFile(field) && s != "" && !slices.Contains([]string{"ca_file", "cert_file"}, key(field)) {
				h.files = append(h.files, s)
			}
		}
	})
	return h
}

// read returns the secrets, those in files as they are now.
func (h hidden) read() []string {
	all := slices.Clone(h.texts)
	for _, file := range h.files {
		info, err := os.Stat(file)
		if err != nil || info.Size() > secretFileLimit {
			continue
		}
		if text, err := os.ReadFile(file); err == nil {
			all = append(all, partsOf(strings.TrimSpace(string(text)))...)
		}
	}
	return all
}

// partsOf returns a text and, where it is a URL, every part of it that may be a secret,
// as a server or a library may repeat it: all but the host.
func partsOf(text string) []string {
	all := []string{text}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return all
	}
	all = append(all, u.String(), u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery, u.Fragment)
	if u.User != nil {
		password, _ := u.User.Password()
		all = append(all, u.User.String(), password)
	}
	for _, values := range u.Query() {
		all = append(all, values...)
	}
	return append(all, strings.Split(u.Path, "/")...)
}

// secretLeast is how many letters a secret has at least: to hide shorter texts would
// only make an error unreadable.
const secretLeast = 4

// redact takes secrets out of a text, the longest first.
func redact(text string, secrets []string) string {
	secrets = slices.Clone(secrets)
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, s := range secrets {
		if len(s) >= secretLeast {
			text = strings.ReplaceAll(text, s, "<redacted>")
		}
	}
	return text
}
