package receivers

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"
)

// secretURL is a URL with secrets wherever a URL can have some.
func secretURL(r *rand.Rand) (text string, parts []string) {
	letters := []rune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789-_.~ %+/ü")
	part := func(n int) string {
		all := make([]rune, 4+r.IntN(n))
		for i := range all {
			all[i] = letters[r.IntN(len(letters)-3)]
		}
		return string(all)
	}
	u := url.URL{Scheme: "https", Host: "chat.example"}
	segments := []string{part(20), part(20)}
	u.Path = "/" + strings.Join(segments, "/")
	parts = append(parts, segments...)
	if r.IntN(2) == 0 {
		password := part(12)
		u.User = url.UserPassword("bot", password)
		parts = append(parts, password)
	}
	if r.IntN(2) == 0 {
		token := part(30)
		u.RawQuery = url.Values{"token": {token}}.Encode()
		parts = append(parts, token)
	}
	return u.String(), parts
}

// repeats are the ways in which a server or a library repeats what it was sent.
func repeats(text string) []string {
	u, err := url.Parse(text)
	if err != nil {
		return nil
	}
	decoded, _ := url.QueryUnescape(u.RawQuery)
	return []string{text, fmt.Sprintf("Post %q: connection refused", text), "no route for " + u.RequestURI(),
		"404: " + u.EscapedPath() + " was not found", "404: " + u.Path, "bad query " + u.RawQuery,
		"bad query " + decoded,
		"said: {\"url\": \"" + text + "\"}"}
}

// Whatever URL a receiver has, an error that repeats it, or a part of it, has none of its secrets.
func TestNoSecretOfAURLInErrors(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 18))
	for range 2000 {
		text, secrets := secretURL(r)
		other, more := secretURL(r)
		c := careful{secrets: func() []string { return slices.Concat(partsOf(text), partsOf(other)) }}
		for _, said := range slices.Concat(repeats(text), repeats(other)) {
			shown := c.hide(fmt.Errorf("%s", said), nil).Error()
			for _, s := range slices.Concat(secrets, more) {
				if strings.Contains(shown, s) || strings.Contains(shown, url.PathEscape(s)) || strings.Contains(shown,
					url.QueryEscape(s)) {
					t.Fatalf("%q of %q is in %q", s, said, shown)
				}
			}
			if strings.TrimSpace(shown) == "" {
				t.Fatalf("nothing is left of %q", said)
			}
		}
	}
}

// No text that is hidden is left, however the texts overlap or are within each other; what is short stays, and so does
// everything else.
func TestRedact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text    string
		secrets []string
		want    string
	}{
		{"abcdef", []string{"abcd"}, "<redacted>ef"},
		{"abcd abcdef", []string{"abcd", "abcdef"}, "<redacted> <redacted>"},
		{"abcdef", []string{"abcdef", "abcd"}, "<redacted>"},
		{"abc", []string{"abc"}, "abc"},
		{"plain", nil, "plain"},
		{"plain", []string{""}, "plain"},
		{"übertragen", []string{"über"}, "<redacted>tragen"},
	} {
		before := slices.Clone(c.secrets)
		if got := redact(c.text, c.secrets); got != c.want {
			t.Errorf("%q without %q is %q, want %q", c.text, c.secrets, got, c.want)
		}
		if !slices.Equal(before, c.secrets) {
			t.Errorf("the list was changed: %q", c.secrets)
		}
	}
	r := rand.New(rand.NewPCG(14, 19))
	for range 5000 {
		var secrets []string
		for range 1 + r.IntN(4) {
			secrets = append(secrets, strings.Repeat("ab", 2)[r.IntN(2):]+strings.Repeat("a", r.IntN(3)))
		}
		text := make([]byte, r.IntN(40))
		for i := range text {
			text[i] = "ab"[r.IntN(2)]
		}
		got := redact(string(text), secrets)
		for _, s := range secrets {
			if len(s) >= secretLeast && strings.Contains(got, s) {
				t.Fatalf("%q without %q is %q", text, secrets, got)
			}
		}
	}
}

// An error is one line of a length that a person reads, keeps its reason, and has no link by which a plan is approved.
func TestHide(t *testing.T) {
	t.Parallel()
	c := careful{secrets: func() []string { return nil }}
	approve := "https://upkeep.example/approve?token=c29tZXRoaW5n"
	alerts := []*alert.Alert{{Alert: model.Alert{Annotations: model.LabelSet{"approve_url": model.LabelValue(approve)}}}}
	said := c.hide(fmt.Errorf("400: you sent\n%s\r\n\t%s", approve, strings.Repeat("ü ", 400)), alerts).Error()
	if strings.Contains(said, "c29tZXRoaW5n") || strings.ContainsAny(said, "\r\n\t") || len(said) > whyLimit+len("…") ||
		!strings.HasSuffix(said, "…") || strings.ToValidUTF8(said, "?") != said {
		t.Errorf("%q", said)
	}
	for _, reason := range []notify.Reason{notify.RateLimitedReason, notify.ClientErrorReason} {
		err := c.hide(notify.NewErrorWithReason(reason, fmt.Errorf("no")), nil)
		if limited(err) != (reason == notify.RateLimitedReason) || err.Error() != "no" {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// A file is the same as itself, and another one where its text or that of one of its templates is another.
func TestSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() *File {
		t.Helper()
		f, err := Load(filepath.Join(dir, "am.yml"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	const config = "route: {receiver: a}\nreceivers: [{name: a}, {name: b}]\ntemplates: ['*.tmpl']\n"
	write("am.yml", config)
	write("one.tmpl", `{{ define "x" }}1{{ end }}`)
	first := load()
	for _, change := range []struct {
		name string
		do   func()
		same bool
	}{
		{"nothing", func() {}, true},
		{"another file", func() { write("note.txt", "x") }, true},
		{"a template", func() { write("one.tmpl", `{{ define "x" }}2{{ end }}`) }, false},
		{"the template is as it was", func() { write("one.tmpl", `{{ define "x" }}1{{ end }}`) }, true},
		{"one more template", func() { write("two.tmpl", "") }, false},
		{"one less", func() { _ = os.Remove(filepath.Join(dir, "two.tmpl")) }, true},
		{"the file", func() { write("am.yml", config+"# a comment\n") }, false},
	} {
		change.do()
		if is := load(); is.Same(first) != change.same || !is.Same(is) {
			t.Errorf("%s: the same: %t", change.name, is.Same(first))
		}
	}
	var none *File
	if !none.Same(nil) || none.Same(first) || first.Same(nil) {
		t.Error("none is the same as a file, or not as none")
	}
	if names := first.Names(); !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("its receivers are %q", names)
	}
}
