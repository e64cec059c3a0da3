package depot_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
)

func parcel() *depot.Parcel {
	return &depot.Parcel{
		Database: "shop", Schema: `My "Schema"`, Table: "t\n../;é",
		Columns: []depot.Column{{Name: "a\n", Type: "text"}}, Column: "at",
		Oldest: "2025-03-04 05:06:07+00", Newest: "2025-04-04 05:06:07+00", Rows: 2, Server: 150004,
		Load: `COPY "t" FROM stdin`,
	}
}

func TestParcel(t *testing.T) {
	p, rows := parcel(), []byte("one\ntwo \\n\n")
	name, content, err := p.Seal(rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := depot.CheckName(name); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(name, depot.Prefix("shop", `My "Schema"`, "t\n../;é")) ||
		!strings.Contains(name, ".20250304.") {
		t.Errorf("name %s", name)
	}
	got, text, err := depot.OpenParcel(name, content)
	if err != nil || !bytes.Equal(text, rows) {
		t.Fatalf("%q, %v", text, err)
	}
	if diff := cmp.Diff(*p, got); diff != "" {
		t.Error(diff)
	}
	again, same, err := parcel().Seal(rows)
	if err != nil || again != name || !bytes.Equal(same, content) {
		t.Errorf("the same rows give %s and %s, %v", name, again, err)
	}
	// People need nothing of ours.
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `zcat "$0" | tail -n +2; sha256sum "$0"`, file).Output()
	if want := string(rows) + depot.Sum(content) + "  " + file + "\n"; err != nil || string(out) != want {
		t.Errorf("zcat and sha256sum say %q, %v", out, err)
	}
}

// No byte of an object can be another without its being seen, nor be missing.
func TestParcelDamaged(t *testing.T) {
	name, content, err := parcel().Seal([]byte("one\ntwo\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range content {
		damaged := bytes.Clone(content)
		damaged[i] ^= 1
		if _, _, err := depot.OpenParcel(name, damaged); !errors.Is(err, depot.ErrDamaged) {
			t.Errorf("byte %d is another: %v", i, err)
		}
		if _, _, err := depot.OpenParcel(name, content[:i]); !errors.Is(err, depot.ErrDamaged) {
			t.Errorf("cut off at %d: %v", i, err)
		}
	}
}

// What is within is compared too, for an object whose name fits a forgery.
func TestParcelForged(t *testing.T) {
	name, content, err := parcel().Seal([]byte("one\ntwo\n"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for what, forged := range map[string]string{
		"another row":   strings.Replace(string(text), "two", "2wo", 1),
		"one row less":  strings.TrimSuffix(string(text), "two\n"),
		"another count": strings.Replace(string(text), `"rows":2`, `"rows":3`, 1),
		"no heading":    strings.TrimPrefix(string(text), "# upkeep "),
		"no JSON":       strings.Replace(string(text), "{", "[", 1),
		"nothing":       "",
		"format 2":      strings.Replace(string(text), `"format":1`, `"format":2`, 1),
	} {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := io.WriteString(w, forged)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		stem := name[:strings.LastIndex(strings.TrimSuffix(name, ".copy.gz"), ".")+1]
		if _, _, err := depot.OpenParcel(stem+depot.Sum(b.Bytes())+".copy.gz", b.Bytes()); err == nil ||
			errors.Is(err, depot.ErrDamaged) == (what == "format 2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, odd := range []string{"", "a", ".copy.gz", name + ".x", strings.TrimSuffix(name, ".gz")} {
		if _, _, err := depot.OpenParcel(odd, content); err == nil {
			t.Errorf("the name %q is good", odd)
		}
	}
}

// Tables whose names look alike in the name of an object are kept apart.
func TestPrefix(t *testing.T) {
	seen := make(map[string]bool)
	for _, n := range [][3]string{{"a", "b", "c"}, {"a", "b.c", ""}, {"a", "b-c", ""}, {"a", "b", "ä"}, {"a", "b", "ö"},
		{".", "..", "/"}, {strings.Repeat("x", 63), strings.Repeat("y", 63), "z"},
		{strings.Repeat("x", 63), strings.Repeat("y", 63), "zz"}} {
		p := depot.Prefix(n[0], n[1], n[2])
		if err := depot.CheckName(p + "20250304." + strings.Repeat("0", 64) + ".copy.gz"); err != nil {
			t.Error(err)
		}
		if seen[p] {
			t.Errorf("%q has the prefix of another", n)
		}
		seen[p] = true
	}
}

// An object of any size is written and read piece by piece: what is more than the
// memory limit goes to a hidden file in the folder of the store.
func TestSealer(t *testing.T) {
	dir := t.TempDir()
	store := depot.Folder(dir)
	s := depot.NewSealer(store)
	defer s.Close()
	random := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 10, 100_000, 2 * depot.SpoolMemory, 10} {
		s.Reset()
		var rows bytes.Buffer
		for rows.Len() < size {
			line := make([]byte, 1+random.IntN(200_000))
			for i := range line {
				line[i] = byte(random.Uint32()) | 1<<7
			}
			line[len(line)-1] = '\n'
			rows.Write(line)
			for len(line) > 0 {
				n := min(len(line), 1+random.IntN(70_000))
				if _, err := s.Write(line[:n]); err != nil {
					t.Fatal(err)
				}
				line = line[n:]
			}
		}
		p := parcel()
		p.Rows = bytes.Count(rows.Bytes(), []byte("\n"))
		name, content, err := s.Seal(p)
		if err != nil {
			t.Fatal(err)
		}
		if large := size > depot.SpoolMemory; large != (content.Size() > depot.SpoolMemory) {
			t.Errorf("%d bytes of rows are %d of an object", size, content.Size())
		}
		for range 2 {
			if err := depot.PutFrom(t.Context(), store, name, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := depot.ReadBack(t.Context(), store, name, *p); err != nil {
			t.Error(err)
		}
		whole, err := store.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, text, err := depot.OpenParcel(name, whole); err != nil || !bytes.Equal(text, rows.Bytes()) {
			t.Errorf("%d bytes are not read as they were written: %v", size, err)
		}
		other := *p
		other.Rows++
		if err := depot.ReadBack(t.Context(), store, name, other); !errors.Is(err, depot.ErrDiffers) {
			t.Errorf("another parcel is the same: %v", err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != name {
				t.Errorf("a file %s is left", e.Name())
			}
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// What cannot be read back is not written, and what is larger than what is read at
// once is no damaged object.
func TestParcelTooLarge(t *testing.T) {
	s := depot.SealerOf(nil, 100)
	defer s.Close()
	if _, err := s.Write(make([]byte, 101)); !errors.Is(err, depot.ErrTooLarge) {
		t.Errorf("%v, want %v", err, depot.ErrTooLarge)
	}
	p := parcel()
	name, content, err := p.Seal([]byte("one\ntwo\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := depot.OpenParcelOf(name, content, 7); !errors.Is(err, depot.ErrTooLarge) ||
		errors.Is(err, depot.ErrDamaged) {
		t.Errorf("%v, want %v", err, depot.ErrTooLarge)
	}
	if _, text, err := depot.OpenParcelOf(name, content, 8); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("%q, %v", text, err)
	}
}
