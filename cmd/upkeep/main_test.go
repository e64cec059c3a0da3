package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

var update = flag.Bool("update", false, "write docs/cli.md") //nolint:gochecknoglobals // a flag of the test

func TestMain(m *testing.M) {
	testscript.Main(granted{m}, map[string]func(){"upkeep": main, "upkeep-single": serveSingle})
}

// TestScript runs the archives of testdata/script: they are the manual's examples.
func TestScript(t *testing.T) {
	server, database := servertest.Database(t)
	cache := servertest.Redis(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			port, err := sandbox.FreePort()
			address := fmt.Sprintf("127.0.0.1:%d", port)
			e.Setenv("ADDRESS", address)
			e.Setenv("POSTGRES", server)
			e.Setenv("DATABASE", database)
			e.Setenv("REDIS", cache.URL)
			e.Setenv("UPKEEP_URL", "http://"+address)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"expand": expand, "ready": ready,
			"eventually": eventually},
	})
}

// expand puts the values of environment variables into files.
func expand(ts *testscript.TestScript, _ bool, files []string) {
	for _, file := range files {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// ready waits until the upkeep at $ADDRESS is ready.
func ready(ts *testscript.TestScript, _ bool, _ []string) {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + ts.Getenv("ADDRESS") + "/-/ready"); err == nil {
			_ = res.Body.Close() // not read
			if res.StatusCode == http.StatusOK {
				return
			}
		}
	}
	ts.Fatalf("no upkeep is ready at %s", ts.Getenv("ADDRESS"))
}

// eventually runs a command until its output matches a pattern.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	var text string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := ts.Exec(args[1], args[2:]...); err == nil {
			if text = ts.ReadFile("stdout"); pattern.MatchString(text) {
				return
			}
		}
	}
	ts.Fatalf("no match for %s in:\n%s", args[0], text)
}

// TestReference compares docs/cli.md with the help of every command.
func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Command line\n\nWhat `upkeep help` says of each command.\n")
	var write func(c *cobra.Command)
	write = func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		help := c.Short
		if c.Long != "" {
			help = c.Long
		}
		b.WriteString("\n## " + c.CommandPath() + "\n\n```\n" + strings.TrimSpace(help) + "\n\n" +
			strings.TrimSpace(c.UsageString()) + "\n```\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" {
				write(sub)
			}
		}
	}
	write(command())
	file := filepath.Join("..", "..", "docs", "cli.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/cli.md is old; run make generate\n%s", diff)
	}
}
