package depot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
)

// A history is a folder beside a map that has what it should keep.
type history struct {
	*rand.Rand

	store depot.Store
	model map[string][]byte
}

// name is one of few, so that they meet.
func (h history) name() string {
	return fmt.Sprint([]string{"a", "a.1", "b-", "B_2"}[h.IntN(4)], h.IntN(5))
}

// step does one thing with the folder, and the same with the map.
func (h history) step(ctx context.Context) (did string, err error) {
	name := h.name()
	kept, there := h.model[name]
	switch h.IntN(6) {
	case 0, 1:
		content := bytes.Repeat([]byte{byte(h.IntN(3))}, h.IntN(3)*70_000)
		did = fmt.Sprintf("put %d bytes as %s", len(content), name)
		err = depot.PutFrom(ctx, h.store, name, readable(content))
		if there && !bytes.Equal(kept, content) {
			return did, want(err, depot.ErrDiffers)
		}
		h.model[name] = content
	case 2:
		did = "put again " + name
		if err = h.store.Put(ctx, name, kept); !there {
			h.model[name] = kept
		}
	case 3:
		did = "get " + name
		got, err := h.store.Get(ctx, name)
		if !there {
			return did, want(err, depot.ErrMissing)
		}
		if err == nil && !bytes.Equal(got, kept) {
			err = errors.New("it is another")
		}
		return did, err
	case 4:
		prefix := name[:h.IntN(len(name)+1)]
		all, err := h.store.List(ctx, prefix)
		return "list " + prefix, errors.Join(err, h.listed(all, prefix))
	case 5:
		gone, cancel := context.WithCancel(ctx)
		cancel()
		return "put cancelled", want(h.store.Put(gone, h.name()+"x", []byte("x")), context.Canceled)
	}
	return did, err
}

// want returns an error where one is not what was expected.
func want(got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("%w, want %w", errors.Join(got, errors.New("got this")), want)
	}
	return nil
}

// listed compares a list with the map.
func (h history) listed(all []depot.Object, prefix string) error {
	var got, want []string
	for _, o := range all {
		got = append(got, fmt.Sprint(o.Name, " ", o.Size))
	}
	for _, name := range slices.Sorted(maps.Keys(h.model)) {
		if strings.HasPrefix(name, prefix) {
			want = append(want, fmt.Sprint(name, " ", len(h.model[name])))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("(-map +folder):\n%s", diff)
	}
	return nil
}

// readable is a text as Content.
type readable []byte

func (r readable) Size() int64       { return int64(len(r)) }
func (r readable) Reader() io.Reader { return bytes.NewReader(r) }

// Whatever is put, put again, asked for and listed, a folder is a map whose entries are never changed, and leaves
// nothing
// else behind.
func TestFolderAgainstAMap(t *testing.T) {
	t.Parallel()
	for seed := range 3 {
		dir := t.TempDir()
		h := history{rand.New(rand.NewPCG(14, uint64(seed))), depot.Folder(dir), make(map[string][]byte)}
		var log []string
		for range 150 {
			did, err := h.step(t.Context())
			if log = append(log, did); err != nil {
				t.Fatalf("%v: after\n%s", err, strings.Join(log, "\n"))
			}
			if len(log)%40 == 0 { // another process
				h.store = depot.Folder(dir)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(h.model) || len(entries) < 10 {
			t.Errorf("%d files of %d objects, %v", len(entries), len(h.model), err)
		}
	}
}

// Whatever a table, its columns and its rows are called, its object has a name that a store takes, and is read back as
// it
// was made; the names of two tables never begin alike.
func TestParcelsOfAnything(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 11))
	seen := make(map[string]string)
	visibletest.Names(t, func(name string) {
		p := &depot.Parcel{Database: name, Schema: name, Table: name, Columns: []depot.Column{{Name: name, Type: name}},
			Column: name, Oldest: name, Newest: name, Encoding: "LATIN1", Load: name, Names: []depot.Name{{Name: name}}}
		rows := []byte(strings.Repeat(strings.ReplaceAll(name, "\n", `\n`)+"\n", r.IntN(3)))
		p.Rows = bytes.Count(rows, []byte("\n"))
		object, content, err := p.Seal(rows)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if err := depot.CheckName(object); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		got, text, err := depot.OpenParcel(object, content)
		if err != nil || !bytes.Equal(text, rows) || got.Rows != p.Rows || got.Table != name && utf8.ValidString(name) {
			t.Errorf("%q: %q as %q, %v", name, text, got.Table, err)
		}
		for _, of := range [][3]string{{name, "s", "t"}, {"d", name, "t"}, {"d", "s", name}} {
			prefix, who := depot.Prefix(of[0], of[1], of[2]), fmt.Sprintf("%q", of)
			if other, twice := seen[prefix]; twice && other != who {
				t.Errorf("%s and %s have the prefix %s", who, other, prefix)
			}
			seen[prefix] = who
		}
	})
}

// Of an object that was changed in any place, or cut off, no row is believed.
func TestParcelsChangedAnywhere(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 12))
	p := parcel()
	p.Rows = 300
	var rows bytes.Buffer
	for range p.Rows {
		fmt.Fprintf(&rows, "%d\t%x\n", r.IntN(100), r.Uint64())
	}
	name, content, err := p.Seal(rows.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for range 400 {
		damaged := slices.Clone(content)
		at := r.IntN(len(damaged))
		switch r.IntN(4) {
		case 0:
			damaged[at] ^= 1 << r.IntN(8)
		case 1:
			damaged = damaged[:at]
		case 2:
			damaged = slices.Delete(damaged, at, at+1)
		case 3:
			damaged = slices.Insert(damaged, at, byte(r.IntN(256)))
		}
		if _, text, err := depot.OpenParcel(name, damaged); err == nil || text != nil {
			t.Fatalf("changed at %d of %d: %d bytes of rows, %v", at, len(content), len(text), err)
		}
	}
	for _, other := range []string{"", ".copy.gz", name + "x", "x" + name[1:], strings.Replace(name, ".copy.gz", ".gz",
		1),
		name[:len(name)-9] + "g.copy.gz"} {
		if _, text, err := depot.OpenParcel(other, content); err == nil && other != "x"+name[1:] {
			t.Errorf("as %q: %d bytes of rows, %v", other, len(text), err)
		}
	}
}

// A name of an object is one of letters, digits and ._-, of which the first is no dot, and has at most 240.
func TestNamesOfObjects(t *testing.T) {
	t.Parallel()
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	for r := range rune(0x250) {
		for _, name := range []string{string(r), "a" + string(r), string(r) + "a"} {
			plain := strings.ContainsRune(letters, r) && name[0] != '.'
			if err := depot.CheckName(name); (err == nil) != plain {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	for n, fits := range map[int]bool{1: true, 240: true, 241: false, 5000: false} {
		if err := depot.CheckName(strings.Repeat("a", n)); (err == nil) != fits {
			t.Errorf("%d letters: %v", n, err)
		}
	}
	visibletest.Names(t, func(name string) {
		if err := depot.CheckName(name); err != nil {
			visibletest.Line(t, err.Error())
		}
	})
}
