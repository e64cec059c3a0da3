package depot_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// keeps tests what every store promises.
func keeps(t *testing.T, s depot.Store) {
	t.Helper()
	ctx := t.Context()
	if all, err := s.List(ctx, ""); err != nil || len(all) != 0 {
		t.Fatalf("a new store has %v, %v", all, err)
	}
	if _, err := s.Get(ctx, "nothing"); !errors.Is(err, depot.ErrMissing) {
		t.Errorf("Get of nothing: %v, want %v", err, depot.ErrMissing)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	for name, content := range map[string][]byte{"a.1": []byte("one"), "a.2": {0, 255, '\n'}, "b": {}, "large": large} {
		for range 2 {
			if err := s.Put(ctx, name, content); err != nil {
				t.Fatalf("Put %s: %v", name, err)
			}
		}
		if err := s.Put(ctx, name, []byte("else")); !errors.Is(err, depot.ErrDiffers) {
			t.Errorf("Put %s with other content: %v, want %v", name, err, depot.ErrDiffers)
		}
		if got, err := s.Get(ctx, name); err != nil || !bytes.Equal(got, content) {
			t.Errorf("Get %s: %d bytes, %v, want %d", name, len(got), err, len(content))
		}
	}
	for prefix, want := range map[string]string{"": "a.1 a.2 b large", "a.": "a.1 a.2", "c": ""} {
		all, err := s.List(ctx, prefix)
		var names []string
		for _, o := range all {
			names = append(names, o.Name)
			if o.Modified.IsZero() || o.Name == "large" && o.Size != int64(len(large)) {
				t.Errorf("List: %+v", o)
			}
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("List %q: %s, %v, want %s", prefix, got, err, want)
		}
	}
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "../a", `a\b`, "a b", "ä", "a\x00", "a\n",
		strings.Repeat("a", 241)} {
		if err := s.Put(ctx, name, nil); err == nil {
			t.Errorf("Put takes the name %q", name)
		}
		if _, err := s.Get(ctx, name); err == nil || errors.Is(err, depot.ErrMissing) {
			t.Errorf("Get takes the name %q: %v", name, err)
		}
	}
	// Who comes at once with the same, as after a takeover, gets the same.
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := s.Put(ctx, "crowd", large); err != nil {
				t.Errorf("Put, eight at once: %v", err)
			}
		})
	}
	all.Wait()
	if got, err := s.Get(ctx, "crowd"); err != nil || !bytes.Equal(got, large) {
		t.Errorf("Get after eight at once: %d bytes, %v", len(got), err)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	keeps(t, depot.Folder(dir))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("%d files are there (%v), want the 5 objects", len(entries), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "b")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("an object is for others too: %v, %v", info.Mode(), err)
	}
}

// Nothing outside of the folder is read or written through what is inside.
func TestFolderStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, to := range map[string]string{"link": outside, "dangling": outside + "2", "self": "self",
		"inner": "plain"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := depot.Folder(dir)
	for _, name := range []string{"link", "dangling", "self", "inner", "folder"} {
		if err := s.Put(t.Context(), name, []byte("theirs")); err == nil {
			t.Errorf("Put writes to %s", name)
		}
		if got, err := s.Get(t.Context(), name); err == nil {
			t.Errorf("Get reads %q from %s", got, name)
		}
	}
	if all, err := s.List(t.Context(), ""); err != nil || len(all) != 1 {
		t.Errorf("List: %v, %v, want the one plain file", all, err)
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "theirs" {
		t.Errorf("outside: %q, %v", got, err)
	}
	if _, err := os.Stat(outside + "2"); !os.IsNotExist(err) {
		t.Errorf("a file was made outside: %v", err)
	}
}

func TestFolderMissing(t *testing.T) {
	s := depot.Folder(filepath.Join(t.TempDir(), "not", "there"))
	for what, err := range map[string]error{"Put": s.Put(t.Context(), "a", nil), "Get": second(s.Get(t.Context(), "a")),
		"List": second(s.List(t.Context(), ""))} {
		if err == nil || !strings.Contains(err.Error(), "is not there: make it") || errors.Is(err, depot.ErrMissing) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// mount mounts a file system of a few blocks, or fails the test.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777,"+options); err != nil {
		t.Fatalf("a small file system is needed, which root can mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// On a full disk nothing is put, nothing is left behind, and what is there stays.
func TestFolderFull(t *testing.T) {
	dir := mount(t, "size=64k")
	s := depot.Folder(dir)
	if err := s.Put(t.Context(), "small", []byte("small")); err != nil {
		t.Fatal(err)
	}
	err := s.Put(t.Context(), "large", make([]byte, 1<<20))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room there") {
		t.Errorf("Put: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v is there (%v), want the small object", entries, err)
	}
	if got, err := s.Get(t.Context(), "small"); err != nil || string(got) != "small" {
		t.Errorf("Get: %q, %v", got, err)
	}
	if err := s.Put(t.Context(), "again", []byte("small")); err != nil {
		t.Errorf("Put of what fits: %v", err)
	}
}

func TestFolderReadOnly(t *testing.T) {
	dir := mount(t, "size=64k,ro")
	err := depot.Folder(dir).Put(t.Context(), "a", nil)
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "mount it for writing") {
		t.Errorf("Put: %v", err)
	}
}

// What was left by one who was killed while he wrote goes after a day.
func TestFolderSweeps(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{".part-old": 25 * time.Hour, ".part-new": time.Hour,
		".other": 25 * time.Hour} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := depot.Folder(dir).Put(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != ".other .part-new a" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestBucket(t *testing.T) {
	server := servertest.S3(t)
	for _, prefix := range []string{"a folder/täble&x=1/", ""} {
		t.Run(prefix, func(t *testing.T) {
			s, err := depot.Bucket(depot.BucketConfig{Endpoint: server.Endpoint, Region: server.Region,
				Bucket: server.Bucket, Prefix: prefix, ID: says(server.ID), Secret: says(server.Secret)})
			if err != nil {
				t.Fatal(err)
			}
			keeps(t, s)
		})
	}
}

// A list of more than one page is whole.
func TestBucketPages(t *testing.T) {
	server := servertest.S3(t)
	const objects = 2345 // a page has a thousand
	for i := range objects {
		if err := os.WriteFile(filepath.Join(server.Dir, "objects", server.Bucket, fmt.Sprintf("o%04d", i)),
			[]byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := depot.Bucket(depot.BucketConfig{Endpoint: server.Endpoint, Region: server.Region, Bucket: server.Bucket,
		ID: says(server.ID), Secret: says(server.Secret)})
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.List(t.Context(), "o")
	if err != nil || len(all) != objects || all[objects-1].Name != "o2344" {
		t.Errorf("%d objects, %v, want %d", len(all), err, objects)
	}
}

func says(s string) func() (string, error) { return func() (string, error) { return s, nil } }
