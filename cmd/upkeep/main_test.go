package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
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
			"eventually": eventually, "exits": exitsWith, "valid": valid},
	})
}

// expand puts the values of environment variables into files.
func expand(ts *testscript.TestScript, _ bool, files []string) {
	for _, file := range files {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// exitsWith runs a command that ends with a status.
func exitsWith(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		code = ended.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("it ends with %d (%v), want %s: %s", code, err, args[0], ts.ReadFile("stderr"))
	}
}

// valid compares the output of the command before with the schema of a command's answers.
func valid(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "schema", args[0]+".json"))
	ts.Check(err)
	var schema jsonschema.Schema
	ts.Check(json.Unmarshal(text, &schema))
	resolved, err := schema.Resolve(nil)
	ts.Check(err)
	var answer any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &answer))
	ts.Check(resolved.Validate(answer))
	if strings.Contains(ts.ReadFile("stdout"), "0001-01-01") {
		ts.Fatalf("a time that is not known is written:\n%s", ts.ReadFile("stdout"))
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

// programs says what programs can rely on.
const programs = `
## Output for programs

Each command that asks a running upkeep writes its answer with ` + "`-o json`" + ` or ` + "`-o yaml`" + `; the schema is beside the
command. Later versions add properties; they remove and rename none, and change no type. A list is never null. A time
that is not known is left out. Times are RFC 3339, durations are in nanoseconds. What is written without ` + "`-o`" + ` is for
people and changes. Errors are written to standard error. Colours are written to a terminal only, and not where the
environment variable ` + "`NO_COLOR`" + ` is set.
`

// schemaOf is the file of the schema of a command's answers.
func schemaOf(c *cobra.Command) string {
	_, name, _ := strings.Cut(c.CommandPath(), " ")
	return "schema/" + strings.ReplaceAll(name, " ", "_") + ".json"
}

// TestReference compares docs/cli.md with the help of every command.
func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Command line\n\nWhat `upkeep help` says of each command.\n\n" +
		"## Exit status\n\n| status | what it means |\n| --- | --- |\n")
	for _, s := range exits() {
		fmt.Fprintf(&b, "| %d | %s |\n", s.status, s.meaning)
	}
	b.WriteString("\nA status keeps its meaning in later versions.\n" + programs)
	described := make(map[string]bool)
	var write func(c *cobra.Command)
	write = func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		help := c.Short
		if c.Long != "" {
			help = c.Long
		}
		b.WriteString("\n## " + c.CommandPath() + "\n\n```\n" + strings.TrimSpace(help) + "\n\n" +
			strings.TrimSpace(c.UsageString()) + "\n```\n")
		if name := schemaOf(c); c.Flags().Lookup("json") != nil {
			if _, err := os.Stat(filepath.Join("..", "..", "docs", name)); err != nil {
				t.Errorf("%s writes JSON without a schema: add it to answers in internal/dev/gen/docs", c.CommandPath())
			}
			fmt.Fprintf(&b, "\nJSON: [%s](%[1]s)\n", name)
			described[filepath.Base(name)] = true
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" {
				write(sub)
			}
		}
	}
	write(command())
	all, err := os.ReadDir(filepath.Join("..", "..", "docs", "schema"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if !described[file.Name()] {
			t.Errorf("docs/schema/%s is of no command", file.Name())
		}
	}
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
