// Command mutants takes one protection after the other out of a copy of the tree and
// runs the test that should miss it. A test that stays green protects nothing.
//
//	go run ./internal/dev/gen/mutants            all of them
//	go run ./internal/dev/gen/mutants contract   some, by name
//	go run ./internal/dev/gen/mutants -list      what there is
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/dev/tree"
)

func main() {
	list := flag.Bool("list", false, "print what there is")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	all := mutants()
	if *list {
		for _, m := range all {
			fmt.Printf("%-22s %s: %s\n", m.name, m.file, m.why)
		}
		return
	}
	if err := run(ctx, ".", all, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		cancel()
		os.Exit(1) //nolint:gocritic // cancel was called
	}
}

// run tries the mutants that are named, or all, and fails where one survives.
func run(ctx context.Context, root string, all []mutant, names []string, out io.Writer) error {
	for _, name := range names {
		if !slices.ContainsFunc(all, func(m mutant) bool { return m.name == name }) {
			return fmt.Errorf("no mutant %q: -list prints them", name)
		}
	}
	var failed []string
	for _, m := range all {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		began := time.Now()
		said, err := try(ctx, root, m)
		if err != nil {
			said = err.Error()
			failed = append(failed, m.name)
		}
		fmt.Fprintf(out, "%-22s %6s  %s\n", m.name, time.Since(began).Round(time.Second), said)
	}
	if len(failed) > 0 {
		return fmt.Errorf("these protections can be taken out unseen, or the list is old: %s",
			strings.Join(failed, ", "))
	}
	return nil
}

// try patches a copy of the tree and runs the test there, which should fail.
func try(ctx context.Context, root string, m mutant) (string, error) {
	dir, err := os.MkdirTemp("", "upkeep-mutant-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only room is lost
	if err := tree.Copy(ctx, root, dir); err != nil {
		return "", err
	}
	if err := patch(dir, m); err != nil {
		return "", err
	}
	args := append([]string{"test", "-count", "1", "-vet=off", "-failfast", "-timeout", "20m", "-run", m.run, m.pkg},
		m.args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath -tags=nomsgpack") // so that copies share what is built
	answer, err := cmd.CombinedOutput()
	if err == nil {
		return "", errors.New("SURVIVED: " + m.run + " of " + m.pkg + " is green without it")
	}
	fail, caught := firstFailure(string(answer))
	if !caught {
		return "", fmt.Errorf("the copy was not tested: %w\n%s", err, answer)
	}
	return "caught by " + fail, nil
}

// firstFailure finds the first test that failed. A package that does not compile has
// none.
func firstFailure(output string) (string, bool) {
	for line := range strings.Lines(output) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			return name, true
		}
	}
	return "", false
}

// patch replaces the one occurrence of a text.
func patch(dir string, m mutant) error {
	path := filepath.Join(dir, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), m.search); n != 1 {
		return fmt.Errorf("%s has %d times %q, want once: the list of mutants is old", m.file, n, m.search)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), m.search, m.replace, 1)), 0o600) //nolint:gosec // of the list
}
