package visible

import (
	"io"
	"unicode/utf8"
)

// A Writer shows what is written to it: of what is not printable only newlines and tabs
// pass.
type Writer struct {
	to   io.Writer
	rest []byte // the beginning of a letter whose end was not yet written
}

// NewWriter returns a Writer to a terminal or a log.
func NewWriter(to io.Writer) *Writer { return &Writer{to: to} }

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	text := p
	if len(w.rest) > 0 {
		text = append(w.rest, p...)
	}
	whole := len(text)
	for i := max(0, len(text)-utf8.UTFMax+1); i < len(text); i++ {
		if utf8.RuneStart(text[i]) && !utf8.FullRune(text[i:]) {
			whole = i
			break
		}
	}
	rest := append([]byte(nil), text[whole:]...)
	if _, err := io.WriteString(w.to, Lines(string(text[:whole]))); err != nil {
		return 0, err
	}
	w.rest = rest
	return len(p), nil
}

// Flush writes what is left of a letter that was never ended.
func (w *Writer) Flush() error {
	rest := w.rest
	w.rest = nil
	_, err := io.WriteString(w.to, Lines(string(rest)))
	return err
}
