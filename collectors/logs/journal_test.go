package logs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// settled waits until so many lines of a unit are counted.
func (m *machine) settled(service string, lines int) string {
	m.t.Helper()
	var got string
	servertest.Eventually(m.t, "the lines of "+service+" are counted", func() error {
		var err error
		if got, err = m.collect(); err != nil {
			return err
		}
		if n := sample(got, "upkeep_logs_lines_total", service); n < lines {
			return fmt.Errorf("%d lines of %d", n, lines)
		}
		return nil
	})
	return got
}

// Entries of the journal are counted once each, by their unit, also across restarts of upkeep and new files of the
// journal. PRIORITY is the level where the text has none; a message of several lines has one.
func TestJournal(t *testing.T) {
	t.Parallel()
	j := servertest.NewJournal(t)
	m := newMachine(t, logs.Journal, target.HostLogs{Folder: j.Folder, Units: []string{"a.service", "b.service"}})
	entry := func(unit, priority, message string) servertest.JournalEntry {
		return servertest.JournalEntry{Unit: unit, Priority: priority, Message: message}
	}
	end := func() servertest.JournalEntry { return entry("b.service", "6", "the end") }
	j.Write("one.journal", entry("a.service", "3", "before upkeep"))
	m.start()
	m.counts("at first", map[string][2]int{"a.service": {0, 0}, "b.service": {0, 0}})
	j.Write("one.journal", entry("a.service", "3", "it fails"), entry("a.service", "6", "ERROR its own level"),
		entry("a.service", "3", "INFO its own level"), entry("a.service", "", "none"), entry("x.service", "3", "another's"),
		entry("a.service", "6", "a\xff\x00b\nsecond line"), entry("a.service", "2", "bad\n  at once\n"),
		entry("a.service", "6", `{"level":"error","message":"gone","path":"/x","duration_ms":7}`), end())
	got := m.settled("b.service", 1)
	want := func(when string, lines, failed int) {
		t.Helper()
		if a, b := sample(got, "upkeep_logs_lines_total", "a.service"), sample(got, "upkeep_logs_errors_total", "a.service"); a != lines || b != failed {
			t.Errorf("%s: %d lines and %d errors, want %d and %d\n%s", when, a, b, lines, failed, got)
		}
		if strings.Contains(got, "another") || regexp.MustCompile(`missed_files_total.* [1-9]`).MatchString(got) {
			t.Error(got)
		}
	}
	want("written", 9, 4)
	for i := range 3 {
		m.host.Close()
		file := fmt.Sprintf("%d.journal", i)
		j.Write(file, entry("a.service", "3", "while upkeep is away"), end())
		m.start()
		got = m.settled("b.service", 2+2*i)
		want("started again", 10+3*i, 5+2*i)
		j.Write(file, entry("x.service", "3", "another's"), entry("a.service", "4", "on"), entry("a.service", "1", "on"), end())
		got = m.settled("b.service", 3+2*i)
		want("written on", 12+3*i, 6+2*i)
	}
}

// Where the journal was cut before it was read, that is counted once.
func TestJournalCut(t *testing.T) {
	t.Parallel()
	j := servertest.NewJournal(t)
	m := newMachine(t, logs.Journal, target.HostLogs{Folder: j.Folder, Units: []string{"a.service", "b.service"}})
	j.Write("one.journal", servertest.JournalEntry{Unit: "a.service", Message: "old"})
	m.start()
	m.counts("at first", map[string][2]int{"a.service": {0, 0}})
	m.host.Close()
	state := filepath.Join(m.logs.State, "journal.json")
	text, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`"at":"[^"]*"`).ReplaceAll(text, []byte(`"at":"2025-12-31T00:00:00Z"`))
	if err := os.WriteFile(state, text, 0o600); err != nil {
		t.Fatal(err)
	}
	j.Write("two.journal", servertest.JournalEntry{Unit: "a.service", Priority: "3", Message: "new"})
	if err := os.Remove(filepath.Join(j.Folder, "one.journal")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m.start()
		got := m.settled("a.service", 1)
		for _, unit := range []string{"a.service", "b.service"} {
			if n := sample(got, "upkeep_logs_missed_files_total", unit); n != 1 {
				t.Errorf("%s: %d are missed, want 1", unit, n)
			}
		}
	}
}

// Without a journal it is said what is wrong.
func TestNoJournal(t *testing.T) {
	t.Parallel()
	m := newMachine(t, logs.Journal, target.HostLogs{Folder: filepath.Join(t.TempDir(), "none"), Units: []string{"a.service"}})
	m.start()
	if got, err := m.collect(); err == nil || !strings.Contains(err.Error(), "No such file or directory") || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
}
