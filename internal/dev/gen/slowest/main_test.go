package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What fails is shown whole, what passes is not, the slowest are last, and the exit
// code is that of the command.
func TestShows(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.test\n\ngo 1.24\n",
		"good/a_test.go": "package good\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestQuick(t *testing.T) " +
			"{ t.Log(\"quiet\") }\n\nfunc TestSlow(t *testing.T) { time.Sleep(50 * time.Millisecond) }\n",
		"bad/a_test.go": "package bad\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { t.Run(\"part\", " +
			"func(t *testing.T) { t.Error(\"this is wrong\") }) }\n\nfunc TestPanics(t *testing.T) { panic(\"all " +
			"ends\") }\n",
		"broken/a_test.go": "package broken\n\nfunc TestBroken( {\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for name, c := range map[string]struct {
		code    int
		has, no []string
	}{
		"good": {0, []string{"ok  \texample.test/good", "slowest tests", "TestSlow  example.test/good"},
			[]string{"quiet", "=== RUN", "FAIL"}},
		"bad": {1, []string{"--- FAIL: TestBad", "--- FAIL: TestBad/part", "this is wrong", "panic: all ends",
			"FAIL\texample.test/bad"}, nil},
		"broken": {1, []string{"a_test.go:3", "FAIL\texample.test/broken"}, nil},
	} {
		var out, errors bytes.Buffer
		if got := run([]string{"go", "test", "-count", "1", "-json", "./" + name}, &out, &errors); got != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", name, got, c.code, &errors)
		}
		for _, want := range c.has {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, &out)
			}
		}
		if n := strings.Count(out.String(), "--- FAIL: TestBad "); name == "bad" && n != 1 {
			t.Errorf("%s: its failure is printed %d times:\n%s", name, n, &out)
		}
		for _, no := range c.no {
			if strings.Contains(out.String(), no) {
				t.Errorf("%s: %q is in\n%s", name, no, &out)
			}
		}
	}
	if got := run([]string{"no-such-command"}, &bytes.Buffer{}, &bytes.Buffer{}); got == 0 {
		t.Error("a command that is not there ends well")
	}
}
