package servertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// A Journal is a journal of systemd in a folder of its own, without systemd.
type Journal struct {
	Folder string

	t       testing.TB
	program string
	n       int
}

// NewJournal returns a journal without entries.
func NewJournal(t testing.TB) *Journal {
	t.Helper()
	j := &Journal{Folder: filepath.Join(t.TempDir(), "journal"), t: t}
	for _, folder := range []string{"/usr/lib/systemd", "/lib/systemd"} {
		if path := filepath.Join(folder, "systemd-journal-remote"); j.program == "" {
			if _, err := os.Stat(path); err == nil {
				j.program = path
			}
		}
	}
	if j.program == "" {
		t.Fatal("systemd-journal-remote is not installed (the tests need Debian's packages; make test installs them)")
	}
	if err := os.Mkdir(j.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return j
}

// A JournalEntry is what is written to a journal.
type JournalEntry struct {
	Unit, Message string
	Priority      string            // "": none
	Fields        map[string]string // further ones
}

// Write writes entries, a second apart, into a file of the journal.
func (j *Journal) Write(file string, entries ...JournalEntry) {
	j.t.Helper()
	var b bytes.Buffer
	for _, e := range entries {
		j.n++
		at := time.Date(2026, 1, 1, 0, 0, j.n, 0, time.UTC)
		fmt.Fprintf(&b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=0123456789abcdef0123456789abcdef"+
			"\n",
			at.UnixMicro(), 1e6*j.n)
		fields := map[string]string{"_SYSTEMD_UNIT": e.Unit, "PRIORITY": e.Priority, "MESSAGE": e.Message}
		for name, value := range e.Fields {
			fields[name] = value
		}
		for name, value := range fields {
			if value == "" && name != "MESSAGE" {
				continue
			}
			// Any byte may be in it: its length is before it.
			fmt.Fprintf(&b, "%s\n", name)
			_ = binary.Write(&b, binary.LittleEndian, uint64(len(value))) // to memory
			fmt.Fprintf(&b, "%s\n", value)
		}
		b.WriteByte('\n')
	}
	cmd := exec.Command(j.program, "--output="+filepath.Join(j.Folder, file), "-")
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &b, &said, &said
	wait, err := sandbox.Start(cmd)
	if err == nil {
		err = wait()
	}
	if err != nil {
		j.t.Fatalf("systemd-journal-remote: %v: %s", err, said.String())
	}
}
