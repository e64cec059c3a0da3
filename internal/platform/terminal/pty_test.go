package terminal_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
)

// openTerminal returns a terminal of so many columns, and what is on it.
func openTerminal(t *testing.T, columns uint16) (*os.File, func(want string) string) {
	t.Helper()
	side, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = side.Close() }) // read only
	fd := int(side.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // a terminal
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return f, func(want string) (is string) {
		for len(is) < len(want) {
			text := make([]byte, 64<<10)
			n, err := side.Read(text)
			if err != nil {
				t.Fatal(err)
			}
			is += strings.ReplaceAll(string(text[:n]), "\r\n", "\n")
		}
		return is
	}
}

// A real terminal has its width and colours, but where NO_COLOR or TERM says that it has none.
func TestRealTerminal(t *testing.T) {
	for _, test := range []struct {
		noColour, term string
		coloured       bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}, {"", "", false}} {
		t.Setenv("NO_COLOR", test.noColour)
		t.Setenv("TERM", test.term)
		f, shown := openTerminal(t, 24)
		s := terminal.New(f)
		table := s.Table("RUN", "WHY").Yield("WHY")
		table.Row(7, terminal.Cell{Text: "a reason of many words", Style: terminal.Bad})
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		want := "RUN  WHY\n7    a reason of many w…\n"
		if test.coloured {
			want = "\x1b[2mRUN\x1b[0m  \x1b[2mWHY\x1b[0m\n7    \x1b[31ma reason of many w…\x1b[0m\n"
		}
		if got := shown(want); got != want || !s.Live() {
			t.Errorf("%+v: %q, want %q", test, got, want)
		}
		s.Rewrite("half")
		s.Clear()
		const both = "\rhalf\x1b[K\x1b[H\x1b[J"
		if got := shown(both); got != both {
			t.Errorf("%q", got)
		}
	}
}
