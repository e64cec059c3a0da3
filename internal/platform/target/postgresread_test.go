package target

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/iotest"
)

// A stream of messages in pieces says the same as the stream itself, however it comes
// and however it is read, and no message of it is large.
func TestPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	message := func(b []byte, kind byte, data []byte) []byte {
		b = binary.BigEndian.AppendUint32(append(b, kind), uint32(len(data)+4))
		return append(b, data...)
	}
	var sent, want []byte
	var others [][]byte
	for i := range 300 {
		size := []int{0, 1, 100, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize,
			random.IntN(400_000)}[random.IntN(8)]
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(random.Uint32())
		}
		if i%3 == 0 {
			others = append(others, data)
			sent = message(sent, 'D', data)
			continue
		}
		want = append(want, data...)
		sent = message(sent, copyData, data)
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader,
		"with the end": iotest.DataErrReader,
		"bit by bit":   func(r io.Reader) io.Reader { return &uneven{r, random} },
	} {
		t.Run(name, func(t *testing.T) {
			p := inPieces(reading{Reader: wrap(bytes.NewReader(sent))})
			all, err := io.ReadAll(&uneven{p, random})
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			i := 0
			for len(all) > 0 {
				size := int(binary.BigEndian.Uint32(all[1:])) - 4
				data := all[headSize : headSize+size]
				switch {
				case all[0] != copyData && !bytes.Equal(data, others[i]):
					t.Fatalf("message %d is another", i)
				case all[0] != copyData:
					i++
				case size > pieceSize:
					t.Fatalf("a message has %d bytes", size)
				default:
					got = append(got, data...)
				}
				all = all[headSize+size:]
			}
			if !bytes.Equal(got, want) || i != len(others) {
				t.Errorf("%d bytes and %d other messages, want %d and %d, or they are others", len(got), i, len(want),
					len(others))
			}
		})
	}
}

// A reading is a connection that is read only.
type reading struct {
	net.Conn
	io.Reader
}

func (r reading) Read(b []byte) (int, error) { return r.Reader.Read(b) }

// uneven reads any number of bytes at once.
type uneven struct {
	from   io.Reader
	random *rand.Rand
}

func (u *uneven) Read(b []byte) (int, error) {
	return u.from.Read(b[:min(len(b), 1+u.random.IntN(100_000))])
}
