package target

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
)

// pieces is a connection to a server that gives the rows of COPY … TO STDOUT piece by
// piece. The server sends each row as one message, and the driver keeps a message in
// memory as a whole; what a message of COPY holds is a stream, and may be sent in
// any number of them.
type pieces struct {
	net.Conn

	from *bufio.Reader
	head [headSize]byte
	out  int // so many bytes of head are still to be given
	left int // of the message, behind the head, to be given as it comes
	more int // of the message's data, behind that: it gets heads of its own
}

const (
	headSize = 5 // the kind of a message, and its length with these four bytes

	copyData = 'd'

	// pieceSize is how much of a row is one message. The driver's buffers are of this
	// size, with the head.
	pieceSize = 64<<10 - headSize
)

func inPieces(c net.Conn) net.Conn {
	return &pieces{Conn: c, from: bufio.NewReaderSize(c, 64<<10)}
}

// Read implements net.Conn. It waits for the first byte only; what is here already
// goes with it, so that many small messages are one read.
func (p *pieces) Read(b []byte) (n int, err error) {
	for err == nil && n < len(b) && (n == 0 || p.ready()) {
		var k int
		k, err = p.some(b[n:])
		n += k
	}
	return n, err
}

// ready reports whether some gives something without waiting.
func (p *pieces) ready() bool {
	switch {
	case p.out > 0:
		return true
	case p.left > 0:
		return p.from.Buffered() > 0
	case p.more > 0:
		return true
	default:
		return p.from.Buffered() >= headSize
	}
}

// some gives what comes next, or takes the step before that.
func (p *pieces) some(b []byte) (n int, err error) {
	switch {
	case p.out > 0:
		n = copy(b, p.head[headSize-p.out:])
		p.out -= n
	case p.left > 0:
		n, err = p.from.Read(b[:min(len(b), p.left)])
		p.left -= n
	case p.more > 0:
		p.begin(copyData, p.more)
	default:
		err = p.next()
	}
	return n, err
}

// next reads the head of the next message. A deadline that passes in the middle of it
// loses nothing: what was read stays in the buffer.
func (p *pieces) next() error {
	head, err := p.from.Peek(headSize)
	if err != nil {
		if len(head) > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	size := int(binary.BigEndian.Uint32(head[1:])) - (headSize - 1)
	kind := head[0]
	if _, err := p.from.Discard(headSize); err != nil {
		return err
	}
	p.begin(kind, size)
	return nil
}

// begin gives a message its head: of all of it, or, of what COPY sends, a piece.
func (p *pieces) begin(kind byte, size int) {
	p.left, p.more = size, 0
	if kind == copyData && size > pieceSize {
		p.left, p.more = pieceSize, size-pieceSize
	}
	p.head[0] = kind
	binary.BigEndian.PutUint32(p.head[1:], uint32(p.left+headSize-1))
	p.out = headSize
}
