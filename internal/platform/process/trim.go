// Package process is about this process as a program of the machine: its memory, and what others see of it.
package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// started is when what only the start needs is given back: the collectors have answered
// once, and the embedded storage is open.
const started = 10 * time.Second

// TrimAfterStart gives back, once, the memory that only the start needed. Where that fails the process
// is a little larger, and nothing else.
func TrimAfterStart(ctx context.Context, log *slog.Logger) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(started):
	}
	if err := Trim(); err != nil {
		log.Debug("memory of the start is not given back", "err", err)
	}
}

// Trim gives back the free heap, and the pages of the binary: the packages that are
// linked touch two thirds of it when they are initialized, and little of it is used again.
// What is is read again, mostly from the page cache. A part of the binary with pages that
// were written to, as the linker's relocations are, is left alone.
func Trim() error {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var from, to uintptr // of the mapping whose lines are read; of one that is not taken both are zero
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch fields := strings.Fields(line); {
		case len(fields) >= 5 && strings.Contains(fields[0], "-"): // 00400000-02652000 r-xp 00000000 fe:00 123 /upkeep
			if from, to = 0, 0; !strings.HasSuffix(line, " "+self) || strings.Contains(fields[1], "w") {
				continue
			}
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
				return err
			}
		case len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0" && to > 0:
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
				return fmt.Errorf("madvise: %w", errno)
			}
		}
	}
	return nil
}

// Private keeps what the process writes and has in memory from other users of the machine:
// it makes no file for others, and its memory is in no core dump.
func Private() {
	unix.Umask(0o077)
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // an old kernel dumps, as its limits say
}
