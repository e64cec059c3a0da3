// Package terminal writes what people read on a terminal: tables whose columns fit it, and colours where it
// shows them. A name never reaches the terminal but by package visible; what is written past it is colours of this
// package and texts that visible.Text has written.
package terminal

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// A Style is how a text looks where colours are shown.
type Style int

// The styles.
const (
	Plain Style = iota
	Good        // resolved, up
	Bad         // critical, down, failed
	Busy        // a warning, under way
	Ask         // a person has to decide
	Faint       // of little interest
)

// sequence returns what switches a style on.
func (s Style) sequence() string {
	return [...]string{"", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[1;35m", "\x1b[2m"}[s]
}

const (
	plainAgain = "\x1b[0m"
	home       = "\x1b[H\x1b[J" // to the upper left, and nothing below
)

// usualWidth is how many columns a terminal has that does not say how many.
const usualWidth = 80

// A Screen is where a command writes to. What is written to it is shown as visible.Writer shows it.
type Screen struct {
	*visible.Writer
	raw    *keeper
	width  int
	colour bool
}

// A keeper keeps the first error of a writer: who prints does not look at each.
type keeper struct {
	io.Writer
	err error
}

func (k *keeper) Write(p []byte) (n int, err error) {
	if n, err = k.Writer.Write(p); err != nil && k.err == nil {
		k.err = err
	}
	return n, err
}

// Err returns the first error of what was written.
func (s *Screen) Err() error { return s.raw.err }

// screenOn returns a screen without width and colours.
func screenOn(w io.Writer) *Screen {
	raw := &keeper{Writer: w}
	return &Screen{Writer: visible.NewWriter(raw), raw: raw}
}

// New returns the screen of a writer. Only a terminal has a width and colours, which the environment variable
// NO_COLOR and a TERM that is dumb switch off.
func New(w io.Writer) *Screen {
	s := screenOn(w)
	f, ok := w.(*os.File)
	if !ok || !Is(f) {
		return s
	}
	s.width = usualWidth
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		s.width = int(size.Col)
	}
	term := os.Getenv("TERM")
	s.colour = os.Getenv("NO_COLOR") == "" && term != "" && term != "dumb"
	return s
}

// Of returns the screen that a writer is, or a screen without width and colours on it.
func Of(w io.Writer) *Screen {
	if s, ok := w.(*Screen); ok {
		return s
	}
	return screenOn(w)
}

// Sized returns a screen on a terminal of so many columns.
func Sized(w io.Writer, width int, colour bool) *Screen {
	s := screenOn(w)
	s.width, s.colour = width, colour
	return s
}

// Is reports whether a file is a terminal.
func Is(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Live reports whether what was written can be written over: it is a terminal.
func (s *Screen) Live() bool { return s.width > 0 }

// Clear empties the screen where it is a terminal.
func (s *Screen) Clear() {
	if s.width > 0 {
		s.past(home)
	}
}

// Say writes a text in a style.
func (s *Screen) Say(style Style, text string) { s.past(s.styled(style, visible.Text(text))) }

// Rewrite writes a text in the place of the line that is under way.
func (s *Screen) Rewrite(text string) {
	if s.width > 0 {
		s.past("\r" + Cut(visible.Text(text), s.width-1) + "\x1b[K")
	}
}

// styled puts a text, which is visible, between the sequences of its style.
func (s *Screen) styled(style Style, text string) string {
	if !s.colour || style == Plain || text == "" {
		return text
	}
	return style.sequence() + text + plainAgain
}

// past writes past the visible writer.
func (s *Screen) past(text string) {
	_ = s.Flush() // half of a letter at most; a writer that fails does so again below
	_, _ = io.WriteString(s.raw, text)
}

// Age writes how long ago a moment was, or how far it is ahead, in its largest unit.
func Age(now, at time.Time) string {
	d := now.Sub(at)
	switch {
	case at.IsZero():
		return "never"
	case d <= -time.Second:
		return "in " + largest(-d)
	case d < time.Second:
		return "now"
	}
	return largest(d) + " ago"
}

func largest(d time.Duration) string {
	for _, unit := range []struct {
		name string
		is   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if d >= unit.is {
			return fmt.Sprintf("%d%s", d/unit.is, unit.name)
		}
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
