package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/collectors/logs/journal"
	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

var errOver = errors.New("it has read enough")

// read follows a journal until it has read so many entries.
func read(t *testing.T, j journal.Journal, cursor string, count int) (all []journal.Entry) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	limited, stop := context.WithTimeout(ctx, servertest.Patience) // decides nothing but when a test that is to fail fails
	defer stop()
	var mu sync.Mutex
	err := j.Follow(limited, cursor, func(e journal.Entry) {
		mu.Lock()
		defer mu.Unlock()
		if all = append(all, e); len(all) == count {
			cancel(errOver)
		}
	})
	if !errors.Is(err, errOver) {
		t.Fatalf("it ended with %v after %.2000q", err, shown(all))
	}
	return all[:count]
}

func shown(all []journal.Entry) (out []string) {
	for _, e := range all {
		out = append(out, fmt.Sprintf("%s %d %q", e.Unit, e.Priority, e.Message))
	}
	return out
}

// Whatever is in an entry is read: any bytes, several lines, no priority, none of its own, much.
func TestFollow(t *testing.T) {
	t.Parallel()
	j := servertest.NewJournal(t)
	long := strings.Repeat("x", 100<<10)
	j.Write("a.journal",
		servertest.JournalEntry{Unit: "a.service", Priority: "3", Message: "it fails"},
		servertest.JournalEntry{Unit: "b.service", Priority: "6", Message: "another's"},
		servertest.JournalEntry{Unit: "a.service", Message: "a\x00\xff\nb \"{\\"},
		servertest.JournalEntry{Unit: "init.scope", Priority: "5", Message: "Started a", Fields: map[string]string{"UNIT": "a.service", "_PID": "1"}},
		servertest.JournalEntry{Unit: "c.service", Priority: "9", Message: "ü\ttab"},
		servertest.JournalEntry{Unit: "a.service", Priority: "7", Message: long},
		servertest.JournalEntry{Unit: "a.service", Priority: "2", Message: strings.Repeat(`"\`, 3<<20)},
		servertest.JournalEntry{Unit: "a.service", Priority: "4"},
	)
	got := read(t, journal.Journal{Folder: j.Folder, Units: []string{"a.service", "c.service"}}, "", 7)
	want := []string{`a.service 3 "it fails"`, `a.service -1 "a\x00\xff\nb \"{\\"`, `a.service 5 "Started a"`,
		`c.service -1 "ü\ttab"`, fmt.Sprintf("a.service 7 %q", long), `a.service 2 ""`, `a.service 4 ""`}
	got[5].Message = nil // its beginning and its end, or nothing
	if diff := cmp.Diff(want, shown(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, e := range got {
		if e.Cursor == "" || e.At.Year() != 2026 {
			t.Errorf("%.80q is at %q, %s", e.Message, e.Cursor, e.At)
		}
	}
}

// From each entry on the journal is read to its end, also where that one is no unit's that is read, or its file is gone.
func TestFollowFromCursor(t *testing.T) {
	t.Parallel()
	j := servertest.NewJournal(t)
	entry := func(unit string, n int) servertest.JournalEntry {
		return servertest.JournalEntry{Unit: unit, Priority: "6", Message: fmt.Sprint(n)}
	}
	j.Write("old.journal", entry("a.service", 1), entry("b.service", 2))
	j.Write("new.journal", entry("a.service", 3), entry("b.service", 4), entry("a.service", 5))
	both := read(t, journal.Journal{Folder: j.Folder, Units: []string{"a.service", "b.service"}}, "", 5)
	mine := journal.Journal{Folder: j.Folder, Units: []string{"a.service"}}
	for i, want := range []string{"3 5", "3 5", "5", "5"} {
		if got := read(t, mine, both[i].Cursor, len(strings.Fields(want))); fmt.Sprintf("%s", messages(got)) != "["+want+"]" {
			t.Errorf("behind %s: %s, want %s", both[i].Message, messages(got), want)
		}
	}
	last, err := mine.Last(t.Context())
	if err != nil || last != both[4].Cursor {
		t.Errorf("the last entry is %q, %v", last, err)
	}
	oldest, err := mine.Oldest(t.Context())
	if err != nil || !oldest.Equal(both[0].At) {
		t.Errorf("the oldest entry is of %s, %v", oldest, err)
	}
	if err := os.Remove(filepath.Join(j.Folder, "old.journal")); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"3 5", "3 5", "5"} {
		if got := read(t, mine, both[i].Cursor, len(strings.Fields(want))); fmt.Sprintf("%s", messages(got)) != "["+want+"]" {
			t.Errorf("behind %s, which is gone: %s, want %s", both[i].Message, messages(got), want)
		}
	}
}

func messages(all []journal.Entry) (out []string) {
	for _, e := range all {
		out = append(out, string(e.Message))
	}
	return out
}

// Where journalctl cannot read, what would help is said; and no shell or flag is made of a name.
func TestNotReadable(t *testing.T) {
	j := servertest.NewJournal(t)
	j.Write("a.journal", servertest.JournalEntry{Unit: "a.service", Message: "x"})
	if err := (journal.Journal{Folder: filepath.Join(j.Folder, "none")}).Follow(t.Context(), "", nil); err == nil ||
		!strings.Contains(err.Error(), "No such file or directory") {
		t.Errorf("no folder: %v", err)
	}
	if err := (journal.Journal{Folder: j.Folder}).Follow(t.Context(), "x --flag", nil); err == nil ||
		!strings.Contains(err.Error(), "no cursor of a journal") {
		t.Errorf("no cursor: %v", err)
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if _, err := (journal.Journal{}).Last(t.Context()); !errors.Is(err, child.ErrNotInstalled) {
		t.Errorf("no journalctl: %v", err)
	}
	for name, text := range map[string]string{
		"others' entries": `echo "Hint: You are currently not seeing messages from other users and the system." >&2
echo '      Users in groups "adm", "systemd-journal" can see all messages.' >&2
exec /bin/sleep 1000`,
		"no file":   `echo "No journal files were opened due to insufficient permissions." >&2; exit 1`,
		"no folder": `echo "Failed to open /var/log/journal: Permission denied" >&2; exit 1`,
	} {
		if err := sandbox.WriteProgram(filepath.Join(bin, "journalctl"), "#!/bin/sh\n"+text+"\n", 0o700); err != nil {
			t.Fatal(err)
		}
		err := (journal.Journal{}).Follow(t.Context(), "", nil)
		if err == nil || !strings.Contains(err.Error(), "add its user to the group systemd-journal") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
