package scrape

import (
	"bytes"
	"hash/crc32"
	"hash/maphash"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
)

// A block is a piece of the exposition that was compressed when it was read. A
// scrape joins blocks into one gzip stream, without touching what is in them.
type block struct {
	deflated []byte // ends at a byte, and refers to nothing before it
	size     int    // of the text
	crc      uint32 // of the text
	hash     uint64 // of the text: an answer that has not changed keeps its block
}

// A presser makes blocks. It belongs to one process: the seed of the hash does.
type presser struct {
	seed    maphash.Seed
	writers sync.Pool
}

func newPresser() *presser {
	return &presser{seed: maphash.MakeSeed(), writers: sync.Pool{New: func() any {
		w, err := flate.NewWriter(nil, flate.BestSpeed)
		if err != nil {
			panic(err) // the level is a constant
		}
		return w
	}}}
}

// press returns text as a block, which is old where old holds the same text.
func (p *presser) press(text []byte, old *block) *block {
	if len(text) == 0 {
		return nil
	}
	hash := maphash.Bytes(p.seed, text)
	if old != nil && old.hash == hash && old.size == len(text) {
		return old
	}
	w := p.writers.Get().(*flate.Writer)
	defer p.writers.Put(w)
	into := bytes.NewBuffer(make([]byte, 0, len(text)/8+64))
	w.Reset(into)
	_, _ = w.Write(text) // a buffer takes everything
	_ = w.Flush()        // so that it ends at a byte and another block can follow
	return &block{deflated: slices.Clip(into.Bytes()), size: len(text), crc: crc32.ChecksumIEEE(text), hash: hash}
}

// The frame of a gzip stream around its blocks: no name, no time, an unknown
// system; at the end an empty last block.
const (
	gzipHead = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
	lastPart = "\x03\x00"
)

// A stream joins blocks into one gzip stream.
type stream struct {
	w    io.Writer
	crc  uint32
	size uint32
	err  error
}

func (s *stream) begin() { s.write([]byte(gzipHead)) }

func (s *stream) add(b *block) {
	if b == nil {
		return
	}
	s.write(b.deflated)
	s.crc = crcOfBoth(s.crc, b.crc, b.size)
	s.size += uint32(b.size) // the format counts modulo 2^32
}

func (s *stream) end() {
	tail := []byte(lastPart)
	for _, v := range []uint32{s.crc, s.size} {
		tail = append(tail, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	s.write(tail)
}

func (s *stream) write(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
}

// A plain stream writes the text of the blocks, for a client that does not take
// gzip.
type plain struct {
	w   io.Writer
	r   io.ReadCloser // of the flate format; nil before the first block
	err error
}

func (p *plain) add(b *block) {
	if b == nil || p.err != nil {
		return
	}
	in := io.MultiReader(bytes.NewReader(b.deflated), bytes.NewReader([]byte(lastPart)))
	if p.r == nil {
		p.r = flate.NewReader(in)
	} else {
		p.err = p.r.(flate.Resetter).Reset(in, nil)
	}
	if p.err == nil {
		_, p.err = io.Copy(p.w, p.r)
	}
}

// crcOfBoth returns the checksum of two texts, one after the other, from the
// checksum of each and the length of the second.
//
// A checksum is a polynomial modulo the one of the format. A text before n bytes
// is multiplied by x^8n, which is the product of those x^(2^k) that add up to 8n.
func crcOfBoth(first, second uint32, length int) uint32 {
	for k := 3; length > 0; length, k = length>>1, k+1 {
		if length&1 == 1 {
			first = product(first, power(k))
		}
	}
	return first ^ second
}

// power returns x^(2^k) modulo the polynomial.
func power(k int) uint32 {
	p := uint32(1 << 30) // x, with the lowest power in the highest bit
	for range k {
		p = product(p, p)
	}
	return p
}

// product multiplies two polynomials modulo the one of the format, the lowest
// power in the highest bit.
func product(a, b uint32) (p uint32) {
	for bit := uint32(1 << 31); bit > 0 && a > 0; bit >>= 1 {
		if a&bit != 0 {
			p ^= b
			a ^= bit
		}
		if b&1 == 1 {
			b = b>>1 ^ crc32.IEEE
		} else {
			b >>= 1
		}
	}
	return p
}
