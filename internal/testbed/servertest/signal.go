package servertest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// Family returns a process and all that it has started and those have.
func Family(t testing.TB, pid int) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	children := make(map[int][]int)
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err != nil {
			continue // it has ended
		}
		var state string
		var parent int
		if _, err := fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent); err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// Signal sends a signal to processes, the first one first. Those that have ended get none.
func Signal(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s) // it may have ended
	}
}

// Freeze stops a process and all that it has started, and returns what lets them go on. A
// server that is stopped starts no more children: it is stopped before they are listed.
func Freeze(t testing.TB, pid int) (thaw func()) {
	t.Helper()
	Signal([]int{pid}, syscall.SIGSTOP)
	Eventually(t, "the process to stop", func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T")) {
			err = errNot
		}
		return err
	})
	all := Family(t, pid)
	Signal(all, syscall.SIGSTOP)
	return func() { Signal(all, syscall.SIGCONT) }
}
