package scrape

import (
	"bytes"
	"compress/gzip"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// Blocks of any texts, joined in any order and as often as one likes, are one gzip stream, and
// without gzip the same text.
func TestBlocksAreOneText(t *testing.T) {
	p := newPresser()
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 7))
		texts := []string{"", "a", "upkeep_up{server=\"ä\"} 1\n", strings.Repeat("x 1\n", random.IntN(50_000))}
		for range random.IntN(4) {
			noise := make([]byte, random.IntN(100_000)) // what cannot be compressed
			for i := range noise {
				noise[i] = byte(random.Uint32())
			}
			texts = append(texts, string(noise))
		}
		blocks := make([]*block, len(texts))
		for i, text := range texts {
			blocks[i] = p.press([]byte(text), nil)
		}
		var want, zipped, flat bytes.Buffer
		s, f := stream{w: &zipped}, plain{w: &flat}
		s.begin()
		for range random.IntN(12) {
			i := random.IntN(len(texts))
			want.WriteString(texts[i])
			s.add(blocks[i])
			f.add(blocks[i])
		}
		s.end()
		r, err := gzip.NewReader(&zipped)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := io.ReadAll(r) // which compares the checksum and the length too
		if err != nil || !bytes.Equal(got, want.Bytes()) || s.err != nil {
			t.Fatalf("seed %d: %d bytes, %v, %v; want %d", seed, len(got), err, s.err, want.Len())
		}
		if f.err != nil || !bytes.Equal(flat.Bytes(), want.Bytes()) {
			t.Fatalf("seed %d, plain: %d bytes, %v; want %d", seed, flat.Len(), f.err, want.Len())
		}
	}
}

// An answer that has not changed keeps its block; any that has gets another.
func TestPressKeeps(t *testing.T) {
	p := newPresser()
	old := p.press([]byte("a 1\n"), nil)
	if p.press([]byte("a 1\n"), old) != old {
		t.Error("the same text has another block")
	}
	for _, text := range []string{"a 2\n", "a 1", "a 1\n\n", "A 1\n"} {
		if b := p.press([]byte(text), old); b == old || b == nil || b.size != len(text) {
			t.Errorf("%q: %+v", text, b)
		}
	}
	if p.press(nil, old) != nil {
		t.Error("nothing has a block")
	}
}

// The checksum of two texts is that of both, whatever their lengths are.
func TestChecksumOfBoth(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		both := make([]byte, random.IntN(5000))
		for i := range both {
			both[i] = byte(random.Uint32())
		}
		at := random.IntN(len(both) + 1)
		first, second := crc32.ChecksumIEEE(both[:at]), crc32.ChecksumIEEE(both[at:])
		if got, want := crcOfBoth(first, second, len(both)-at), crc32.ChecksumIEEE(both); got != want {
			t.Fatalf("%d and %d bytes: %08x, want %08x", at, len(both)-at, got, want)
		}
	}
}

// gone is a client that has hung up after so many bytes.
type gone struct{ left int }

var errGone = errors.New("the client has hung up")

func (g *gone) Write(b []byte) (int, error) {
	if g.left -= len(b); g.left < 0 {
		return 0, errGone
	}
	return len(b), nil
}

// To a client that has hung up nothing more is written, and nothing panics.
func TestClientHangsUp(t *testing.T) {
	p := newPresser()
	b := p.press([]byte(strings.Repeat("upkeep_up 1\n", 1000)), nil)
	for _, left := range []int{0, 5, 11, 60} {
		s, f := stream{w: &gone{left}}, plain{w: &gone{left}}
		s.begin()
		for range 3 {
			s.add(b)
			f.add(b)
		}
		s.end()
		if !errors.Is(s.err, errGone) || !errors.Is(f.err, errGone) {
			t.Errorf("after %d bytes: %v, plain: %v", left, s.err, f.err)
		}
	}
}
