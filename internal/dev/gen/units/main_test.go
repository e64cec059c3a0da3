package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommittedCatalogIsCurrent(t *testing.T) {
	const root = "../../../.."
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is old; run make generate\n%s", name, diff)
		}
	}
}

func TestFindsConstructorsOnly(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "collectors", "smtp")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"queue.go": `package smtp
func Queue(t *target.Host) collectors.Collector { panic(0) }
func queue(t *target.Host) collectors.Collector { panic(0) }
func Two(t, u *target.Host) collectors.Collector { panic(0) }
func Other(t *Host) collectors.Collector { panic(0) }
func Value(t target.Host) collectors.Collector { panic(0) }
func (Queues) Method(t *target.Host) collectors.Collector { panic(0) }
func Read(t *target.Host) error { panic(0) }
`,
		"queue_test.go": "package smtp\nfunc Fake(t *target.Host) collectors.Collector { panic(0) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := find(root, "collectors/*", "collectors.Collector")
	if err != nil {
		t.Fatal(err)
	}
	want := []unit{{"collectors/smtp", "smtp", "Queue", "Host"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(unit{})); diff != "" {
		t.Error(diff)
	}
}
