package serverlog

import (
	"bufio"
	"context"
	"errors"
	"io"
)

// The columns of csvlog that are read. There have been more of them with later versions, behind these.
const (
	timeColumn     = 0
	severityColumn = 11
	stateColumn    = 12
	messageColumn  = 13
	fewestColumns  = 23

	keptOfField = 4 << 10 // a statement may be much longer, and is not looked at
)

// errQuote says that a quote is where none can be: what is read began within quotes.
var errQuote = errors.New("a quote within a field")

// csv reads a log of csvlog. A message may have lines that look like records. Where the beginning of what is
// read is in the middle of one, its last quote is where none can be: all since the beginning is dropped then.
func (l layout) csv(ctx context.Context, r io.Reader, whole bool, t *tally) error {
	c := table{r: bufio.NewReaderSize(r, longest)}
	sure := whole // the record began where one begins
	if !whole {
		if err := c.skip(); err != nil {
			return ended(err)
		}
	}
	var stretch []event
	keep := func() {
		for _, e := range stretch {
			t.saw(e.at)
			t.add(e)
		}
		stretch = stretch[:0]
	}
	for n := 0; ; n++ {
		fields, err := c.record()
		switch {
		case errors.Is(err, errQuote):
			if sure {
				keep()
			}
			stretch, sure = stretch[:0], false
			err = c.skip()
		case err == nil && len(fields) >= fewestColumns:
			e := event{at: l.time(fields[timeColumn]), severity: fields[severityColumn], state: fields[stateColumn],
				message: fields[messageColumn]}
			if stretch = append(stretch, e); sure {
				keep()
			}
		}
		if err != nil {
			keep()
			return ended(err)
		}
		if n%1000 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// A table reads records of comma-separated values, as PostgreSQL writes them.
type table struct {
	r      *bufio.Reader
	fields []string
}

// skip goes to the next line.
func (c *table) skip() error {
	for {
		_, err := c.r.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// record reads a record and its line feed.
func (c *table) record() ([]string, error) {
	c.fields = c.fields[:0]
	for {
		field, end, err := c.field()
		if err != nil {
			return nil, err
		}
		if c.fields = append(c.fields, field); end == '\n' {
			return c.fields, nil
		}
	}
}

// field reads a field and what ends it: a comma or a line feed.
func (c *table) field() (field string, end byte, err error) {
	var text []byte
	add := func(b byte) {
		if len(text) < keptOfField {
			text = append(text, b)
		}
	}
	quoted, closed, any := false, false, false
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return "", 0, err
		}
		switch {
		case quoted && b == '"':
			next, err := c.r.Peek(1)
			if err != nil {
				return "", 0, err
			}
			if next[0] == '"' {
				_, _ = c.r.Discard(1) // it was peeked at
				add('"')
				continue
			}
			quoted, closed = false, true
		case quoted:
			add(b)
		case b == ',' || b == '\n':
			return string(text), b, nil
		case b == '"' && !any:
			quoted = true
		case b == '"' || closed:
			return "", 0, errQuote
		default:
			add(b)
		}
		any = true
	}
}
