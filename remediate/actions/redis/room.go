package redis

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// startWithin is how far a process may have been started from when the server
	// says that it was: the one tells whole seconds, the other counts from a boot
	// that is known to the second, and a server that starts on a busy machine looks
	// at the clock late.
	startWithin = 10 * time.Second

	// ticks is how many of the kernel's ticks are a second in /proc, on every Linux.
	ticks = 100
)

// A place is what is seen of a server's folder and machine, where upkeep runs
// beside it and may look into its process. What is not known is nil, and nothing
// is refused for it.
type place struct {
	root       string   // what the process is under in /proc; "" where it is not seen
	free       *float64 // bytes of the folder's disk that are free for the server
	available  *float64 // bytes of the machine's memory that may still be taken
	promise    *float64 // bytes that the kernel may still promise, where it promises no more than there are
	overcommit string   // vm.overcommit_memory
	gone       string   // the folder, where somebody has removed it
}

// find looks for the process of a server on this machine. INFO does not tell where
// the data is kept, and the right that would, +config|get, shows passwords; but a
// server works in the folder of its data.
func find(s read.State) (p place) {
	proc := fmt.Sprintf("/proc/%d", s.PID)
	if s.PID <= 0 || !runs(proc, s) {
		return p
	}
	p.root = proc
	if works, err := os.Readlink(filepath.Join(proc, "cwd")); err == nil && strings.HasSuffix(works, " (deleted)") {
		p.gone = strings.TrimSuffix(works, " (deleted)")
	}
	folders := []string{filepath.Join(proc, "cwd")}
	// From 7.0 on the append-only files are in a folder of their own, which may be a disk of its own.
	if own := filepath.Join(proc, "cwd", "appendonlydir"); exists(own) {
		folders = append(folders, own)
	}
	least := math.Inf(1)
	for _, folder := range folders {
		var fs unix.Statfs_t
		if err := unix.Statfs(folder, &fs); err != nil {
			return place{}
		}
		least = min(least, float64(fs.Bavail)*float64(fs.Bsize))
	}
	p.free = &least
	memory := pairs("/proc/meminfo")
	if v, ok := memory["MemAvailable"]; ok {
		p.available = &v
	}
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err == nil {
		p.overcommit = strings.TrimSpace(string(mode))
	}
	if limit, ok := memory["CommitLimit"]; ok && p.overcommit == "2" {
		p.promise = new(max(limit-memory["Committed_AS"], 0))
	}
	return p
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// pairs reads lines like "MemAvailable:  1234 kB", in bytes.
func pairs(file string) map[string]float64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	all := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			continue
		}
		if unit == "kB" {
			v *= 1024
		}
		all[name] = v
	}
	return all
}

// runs reports whether the process is the server that was asked, and not another
// of that number, here or in a container: it was started when the server was, and
// it listens on the server's port.
func runs(proc string, s read.State) bool {
	began, ok := began(proc)
	if d := began.Sub(s.Started); !ok || d > startWithin || d < -startWithin {
		return false
	}
	if s.Port == 0 {
		name, err := os.ReadFile(filepath.Join(proc, "comm"))
		return err == nil && (strings.HasPrefix(string(name), "redis") || strings.HasPrefix(string(name), "valkey"))
	}
	sockets := listening(proc, s.Port)
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return false // not ours to look into
	}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err == nil && slices.Contains(sockets, to) {
			return true
		}
	}
	return false
}

// began returns when a process was started.
func began(proc string) (at time.Time, ok bool) {
	text, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return at, false
	}
	// The name, in parentheses, may have anything in it; 20 fields later is the start.
	rest := string(text)[strings.LastIndexByte(string(text), ')')+1:]
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return at, false
	}
	start, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return at, false
	}
	system, err := os.ReadFile("/proc/stat")
	if err != nil {
		return at, false
	}
	for line := range strings.Lines(string(system)) {
		if value, found := strings.CutPrefix(line, "btime "); found {
			boot, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Unix(boot, 0).Add(time.Duration(start) * time.Second / ticks), err == nil
		}
	}
	return at, false
}

// listening returns the sockets that listen on a port, as links in /proc name them.
func listening(proc string, port int) (sockets []string) {
	const state, inode = 3, 9
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join(proc, "net", table))
		if err != nil {
			continue // no such protocol
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > inode && f[state] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				sockets = append(sockets, "socket:["+f[inode]+"]")
			}
		}
	}
	return sockets
}

// A bound says how much a save may take, as shares of the used memory.
type bound struct{ disk, memory float64 }

// bounds reads the parameters of an action that lets the server fork and write.
func bounds(params map[string]string) (b bound, err error) {
	for name, into := range map[string]*float64{"disk": &b.disk, "memory": &b.memory} {
		text := params[name]
		if text == "" {
			text = "1"
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= 0 && v <= 1) {
			return b, remediate.Refuse(remediate.ReasonSubject, "the parameter %s is %q, want a number from 0 to 1",
				name, text)
		}
		*into = v
	}
	return b, nil
}

// boundParams are what bounds reads.
func boundParams() []remediate.Param {
	return []remediate.Param{
		{Name: "disk", Type: remediate.Ratio, Default: "1",
			Doc: "How much must be free on the disk of the server's folder, as a share of the used memory. What is " +
				"written is smaller than that, and much smaller where it is compressed well. Asked where upkeep runs " +
				"beside the server and may look into its process."},
		{Name: "memory", Type: remediate.Ratio, Default: "1",
			Doc: "How much memory must be available on the machine, as a share of the used memory: so much may be " +
				"written to, and is then needed twice, while the server's child works. Where a save was made since " +
				"the start, twice what that needed is enough. Asked as disk is."},
	}
}

// fits refuses when there is not enough room for a child of the server that writes
// all data, and tells what there is.
func (p place) fits(s read.Snapshot, b bound, what string) (facts []string, err error) {
	bytes := func(v float64) string { return remediate.Quantity("_bytes", v) }
	disk, memory := s.Used*b.disk, s.Used*b.memory
	if s.Copied > 0 {
		memory = min(memory, 2*s.Copied)
	}
	if p.gone != "" {
		return nil, remediate.Refuse(remediate.ReasonUnfit,
			"the server's folder %s was removed: nothing can be saved there. Make it anew, owned by the server's "+
				"user, and restart the server or have it work in another (CONFIG SET dir)", p.gone)
	}
	if p.free == nil {
		return []string{"how much of the server's disk is free cannot be seen from here"}, nil
	}
	facts = append(facts, fmt.Sprintf("the disk of the server's folder has %s free; %s takes %s at most",
		bytes(*p.free), what, bytes(s.Used)))
	if *p.free < disk {
		return facts, remediate.Refuse(remediate.ReasonUnfit,
			"the disk of the server's folder has %s free, and %s may take %s: one that fails for want of space makes "+
				"the server refuse every write (MISCONF). "+
				"Free space first; a save that succeeds ends such a refusal", bytes(*p.free), what, bytes(disk))
	}
	if p.available != nil && *p.available < memory {
		return facts, remediate.Refuse(remediate.ReasonUnfit,
			"the machine has %s of memory available, and what is written to while the server's child works, %s at "+
				"most, is needed twice", bytes(*p.available), bytes(memory))
	}
	if p.promise != nil && *p.promise < s.Used {
		return facts, remediate.Refuse(remediate.ReasonUnfit,
			"vm.overcommit_memory is 2 and the kernel may promise %s more: the fork of a server that uses %s would "+
				"be refused", bytes(*p.promise), bytes(s.Used))
	}
	if p.available != nil && p.overcommit == "0" && *p.available < s.Used {
		facts = append(facts, "vm.overcommit_memory is 0 and less memory is available than the server uses: the "+
			"kernel may refuse the fork; 1 is what Redis asks for")
	}
	return facts, nil
}
