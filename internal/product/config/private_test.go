package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
