package words

import (
	"encoding/binary"
	"unicode/utf8"
)

// Plain reports whether there is no control character in a line and no byte
// beyond ASCII that is no UTF-8, many at a time.
func Plain(b []byte) bool {
	const low, high = 0x2020202020202020, 0x8080808080808080
	if len(b) < 32 {
		return slowPlain(b)
	}
	for i := 0; ; {
		w, x, y, z := binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:]),
			binary.LittleEndian.Uint64(b[i+16:]), binary.LittleEndian.Uint64(b[i+24:])
		if ((w-low)|w|(x-low)|x|(y-low)|y|(z-low)|z)&high != 0 {
			return slowPlain(b)
		}
		if i == len(b)-32 {
			return true
		}
		i = min(i+32, len(b)-32)
	}
}

// slowPlain takes what is right UTF-8 too.
func slowPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' {
			return false
		}
	}
	return utf8.Valid(b)
}
