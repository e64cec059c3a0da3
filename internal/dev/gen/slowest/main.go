// Command slowest runs a command that prints what "go test -json" prints, shows of it
// what "go test" would, and names the ten slowest tests at the end. It ends as the
// command does.
//
//	go run ./internal/dev/gen/slowest go test -json ./...
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// named is how many tests are named.
const named = 10

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "slowest: name a command that prints what go test -json prints")
		os.Exit(2)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code of the command.
func run(command []string, out, errors io.Writer) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	child := exec.CommandContext(ctx, command[0], command[1:]...)             //nolint:gosec // it is what this is for
	child.Cancel = func() error { return child.Process.Signal(os.Interrupt) } // it ends its tests itself
	child.Stderr = errors
	from, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		_, _ = fmt.Fprintln(errors, "slowest:", err)
		return 1
	}
	s := show{out: out, said: make(map[test][]string), took: make(map[test]float64)}
	s.all(from)
	return code(child.Wait(), errors)
}

func code(err error, out io.Writer) int {
	if err == nil {
		return 0
	}
	ended, ok := errors.AsType[*exec.ExitError](err)
	if ok && ended.Exited() {
		return ended.ExitCode()
	}
	_, _ = fmt.Fprintln(out, "slowest:", err)
	return 1
}

// An event is one line of go test -json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// A test is known by its package and its name; without a name it is the package.
type test struct{ pkg, name string }

// A show is what is printed of the events.
type show struct {
	out  io.Writer
	said map[test][]string // what tests that have not ended have printed
	took map[test]float64  // seconds, by test; of its longest subtest where that took longer
}

func (s *show) all(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			s.line(line)
		}
		if err != nil {
			break
		}
	}
	s.slowest()
}

// line shows one line; what is no event is shown as it is.
func (s *show) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		s.print(line)
		return
	}
	is := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		s.print(e.Output)
	case "output":
		s.said[is] = append(s.said[is], e.Output)
	case "pass", "skip", "fail":
		s.end(is, e)
	}
}

// end shows what a test printed that failed, with what its subtests did, and of a
// package its result.
func (s *show) end(is test, e event) {
	said := s.said[is]
	delete(s.said, is)
	if is.name == "" {
		for _, left := range s.unfinished(is.pkg) { // a panic, or a limit of time
			s.print(s.said[left]...)
			delete(s.said, left)
		}
		s.print(slices.DeleteFunc(said, func(text string) bool { return text == "PASS\n" })...)
		return
	}
	parent, _, sub := cutLast(is.name)
	top, _, _ := strings.Cut(is.name, "/")
	// that of parallel subtests is not in their parent's
	s.took[test{is.pkg, top}] = max(s.took[test{is.pkg, top}], e.Elapsed)
	if e.Action != "fail" {
		return
	}
	said = slices.DeleteFunc(said, func(text string) bool { return strings.HasPrefix(text, "=== ") })
	if sub {
		if n := len(said); n > 0 && strings.HasPrefix(said[n-1], "--- FAIL: ") { // as go test prints it
			said = append([]string{"    " + said[n-1]}, said[:n-1]...)
		}
		above := test{is.pkg, parent}
		s.said[above] = append(s.said[above], said...)
		return
	}
	// The line with the result is last, and first if go test prints it.
	own := func(text string) bool { return strings.HasPrefix(text, "--- FAIL: "+is.name+" ") }
	if i := slices.IndexFunc(said, own); i > 0 {
		s.print(said[i])
		said = slices.Delete(said, i, i+1)
	}
	s.print(said...)
}

func (s *show) unfinished(pkg string) (all []test) {
	for is := range s.said {
		if is.pkg == pkg && is.name != "" {
			all = append(all, is)
		}
	}
	slices.SortFunc(all, func(a, b test) int { return strings.Compare(a.name, b.name) })
	return all
}

func cutLast(name string) (before, after string, found bool) {
	i := strings.LastIndex(name, "/")
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

func (s *show) print(texts ...string) {
	for _, text := range texts {
		_, _ = io.WriteString(s.out, text) // to people
	}
}

func (s *show) slowest() {
	all := slices.SortedFunc(maps.Keys(s.took), func(a, b test) int {
		return cmp.Or(cmp.Compare(s.took[b], s.took[a]), cmp.Compare(a.name, b.name), cmp.Compare(a.pkg, b.pkg))
	})
	if len(all) == 0 || s.took[all[0]] == 0 {
		return // all of it was cached
	}
	s.print("slowest tests, which may have waited for others:\n")
	for _, t := range all[:min(named, len(all))] {
		took := time.Duration(s.took[t] * float64(time.Second)).Round(100 * time.Millisecond)
		s.print(fmt.Sprintf("%9s  %s  %s\n", took, t.name, t.pkg))
	}
}
