package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
)

// runLine runs a command line in the process.
func runLine(args ...string) (code int, out, said string) {
	var o, e strings.Builder
	code = execute(args, &o, &e)
	return code, o.String(), e.String()
}

// What is wrong with a command line is said before anything is asked, by the names of its flags and arguments.
func TestUsageExits(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"ftp://127.0.0.1:1", "127.0.0.1:1", "http://", "file:///etc"} {
		code, out, said := runLine("runs", "--url", url)
		if code != int(exitUsage) || !strings.Contains(said, "--url "+strconv.Quote(url)+": want something like "+
			"http://") && url != "http://" || out != "" {
			t.Errorf("%s: %d %q %q", url, code, out, said)
		}
	}
	for line, want := range map[string]string{
		"runs --limit abc":                            `--limit "abc": want a whole number`,
		"runs --limit 0":                              `--limit 0: want at least 1`,
		"runs -o xml":                                 `--output "xml": want text, wide, json, yaml`,
		"runs --until then":                           `--until "then": want how long ago`,
		"runs --before -1":                            `--before -1: want the number of a run`,
		"approve":                                     "missing RUN: upkeep approve RUN",
		"approve x":                                   `run "x": want a number, as upkeep runs lists them`,
		"retry 0 --why x":                             `run "0": want a number`,
		"reject 7":                                    "missing --why: give a reason; it is recorded in the journal",
		"pause all --why x --for soon":                `--for "soon": want a duration like 30s, 5m or 2h`,
		"pause all --why x --for -1h":                 `--for -1h0m0s: want a duration above 0`,
		"policy promote":                              "missing POLICY: upkeep policy promote POLICY",
		"policy promote p":                            "missing --why",
		"policy demote p":                             "missing --why",
		"run":                                         "missing ACTION: upkeep run ACTION [key=value…]",
		"run a/b server":                              `"server": want key=value, like table=logs`,
		"run a/b server=x server=y":                   "server is given twice",
		"run a/b --limit much":                        `--limit "much": want a number`,
		"show 1 2":                                    `unexpected argument "2": upkeep show RUN`,
		"status now":                                  `unexpected argument "now": upkeep status takes none`,
		"rights postgres/nope":                        `unknown action "postgres/nope"; there are postgres/`,
		"rights nope/nope":                            `postgres/vacuum`,
		"logs top --since long":                       `--since "long": want a duration like 12h or 7d`,
		"logs top --top 0":                            "--top 0: want at least 1",
		"runs --token-file /does/not/exist":           "--token-file: open /does/not/exist",
		"archives list -c /does/not/exist":            "does not exist",
		"logs top -c /does/not/exist":                 "does not exist",
		"journal verify -c /does/not/exist":           "does not exist",
		"notify test x -c /does/not/exist":            "does not exist",
		"serve -c /does/not/exist":                    "does not exist",
		"journal lst":                                 `unknown command "lst" of upkeep journal; did you mean list?`,
		"report month --format docx --month 2026-10 ": `--format "docx": want html, md, json or pdf`,
	} {
		code, out, said := runLine(append(strings.Fields(line), "--url", "http://127.0.0.1:1")...)
		if strings.Contains(said, "unknown flag --url") { // it asks no upkeep
			code, out, said = runLine(strings.Fields(line)...)
		}
		if code != int(exitUsage) || !strings.Contains(said, want) || out != "" {
			t.Errorf("%s: %d %q %q, want %q", line, code, out, said, want)
		}
	}
}

// The exit status says what upkeep has answered.
func TestExitOfAnswers(t *testing.T) {
	var status atomic.Int64
	var text atomic.Pointer[string]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte(*text.Load()))
	}))
	defer s.Close()
	t.Setenv("UPKEEP_TOKEN", "x")
	for _, test := range []struct {
		status int
		text   string
		want   exit
		said   string
	}{
		{200, `[]`, exitDone, ""},
		{400, `{"error":"limit: want a number"}`, exitUsage, "upkeep: limit: want a number\n"},
		{401, `{"error":"no"}`, exitDenied, "upkeep: not logged in: the token in $UPKEEP_TOKEN is not one of web.tokens\n"},
		{403, `{"error":"the role view may not"}`, exitDenied, "upkeep: the role view may not\n"},
		{404, `{"error":"there is no such run: 1"}`, exitRefused, "upkeep: there is no such run: 1\n"},
		{409, `{"error":"run 1 has ended"}`, exitRefused, "upkeep: run 1 has ended\n"},
		{422, `{"error":"it is paused","reason":"pause"}`, exitRefused, "upkeep: refused (pause): it is paused\n"},
		{503, `{"error":"the store is unavailable"}`, exitAway, "upkeep: the store is unavailable\n"},
		{429, `{"error":"too many"}`, exitAway, "upkeep: too many\n"},
		{500, `{"error":"it broke"}`, exitFault, "upkeep: it broke\n"},
		{200, `<html>`, exitAway, "is that an upkeep of this version?\n"},
		{502, `<html>`, exitAway, "is that an upkeep?\n"},
	} {
		status.Store(int64(test.status))
		text.Store(&test.text)
		code, _, said := runLine("runs", "--url", s.URL)
		if code != int(test.want) || !strings.HasSuffix(said, test.said) || test.said == "" && said != "" {
			t.Errorf("%d %s: %d %q, want %d %q", test.status, test.text, code, said, test.want, test.said)
		}
	}
	for state, want := range map[remediate.State]exit{remediate.Resolved: exitDone, remediate.Unresolved: exitNo,
		remediate.Rejected: exitNo, remediate.Failed: exitNo, remediate.StateRefused: exitRefused} {
		answer, err := json.Marshal(console.RunDetails{Run: remediate.Run{ID: 7, State: state, Why: "so"}})
		if err != nil {
			t.Fatal(err)
		}
		status.Store(200)
		both := strings.Replace(string(answer), "{", `{"id":7,"state":"received","why":"","plan":{},"begun":0,"done":0,`+
			`"request":{},"created":"2026-01-01T00:00:00Z","changed":"2026-01-01T00:00:00Z",`, 1)
		text.Store(&both) // of the run that is made, and of the run that is followed
		if code, _, said := runLine("run", "a/b", "--url", s.URL); code != int(want) {
			t.Errorf("%s: %d %s, want %d", state, code, said, want)
		}
	}
	s.Close()
	if code, _, said := runLine("status", "--url", s.URL); code != int(exitAway) || !strings.Contains(said,
		"no upkeep answers at "+s.URL) {
		t.Errorf("%d %s", code, said)
	}
}

// While the list is watched a run is written when it changes, an upkeep that is away is tried again, and Ctrl-C is
// the usual end.
func TestWatch(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if r.URL.Query().Get("state") != "active" || r.URL.Query().Get("all") != "0" {
			t.Errorf("it asks for %s", r.URL)
		}
		if n == 2 || n == 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"the store is unavailable"}`)
			return
		}
		at := time.Unix(1_700_000_000, 0)
		lines := []console.Line{{Run: remediate.Run{ID: 2, State: remediate.Waiting, Changed: at}},
			{Run: remediate.Run{ID: 1, State: remediate.Resolved, Changed: at}}}
		if n > 4 {
			lines[0].State, lines[0].Changed = remediate.Allowed, at.Add(time.Second)
		}
		if err := json.NewEncoder(w).Encode(lines); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	cmd := exec.CommandContext(t.Context(), "upkeep", "runs", "--watch", "--state", "active", "-o", "json", "--url", s.URL)
	cmd.Env = append(os.Environ(), "UPKEEP_TOKEN=x")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for lines := bufio.NewScanner(out); len(seen) < 3 && lines.Scan(); {
		var l console.Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		seen = append(seen, fmt.Sprint(l.ID, " ", l.State))
	}
	if got := strings.Join(seen, ", "); got != "1 resolved, 2 waiting, 2 allowed" {
		t.Errorf("%s", got)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	if said.String() != "upkeep: the store is unavailable; trying again\n" {
		t.Errorf("%q", said.String())
	}
}

// A completion waits no longer than a second, and says nothing, where no upkeep answers.
func TestCompletionIsQuick(t *testing.T) {
	hangs := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer s.Close()
	defer close(hangs)
	t.Setenv("UPKEEP_TOKEN", "x")
	for _, url := range []string{s.URL, "http://127.0.0.1:1", "nonsense"} {
		for _, line := range [][]string{{"approve"}, {"policy", "promote"}, {"pause"}, {"actions"}} {
			ended := make(chan string, 1)
			go func() {
				code, out, _ := runLine(append(append([]string{"__complete"}, line...), "--url", url, "")...)
				ended <- fmt.Sprint(code, " ", out)
			}()
			select {
			case got := <-ended:
				if !slices.Contains([]string{"0 :4\n", "0 :36\n", "0 all\n:4\n"}, got) { // no files; in this order
					t.Errorf("%s of %s: %q", line, url, got)
				}
			case <-time.After(5 * time.Minute):
				t.Fatalf("%s of %s hangs", line, url)
			}
		}
	}
}

// The statuses are in the help, each once.
func TestExitHelp(t *testing.T) {
	_, out, _ := runLine("help")
	for _, s := range exits() {
		if strings.Count(out, fmt.Sprintf("  %3d  %s\n", s.status, s.meaning)) != 1 {
			t.Errorf("%d is not in\n%s", s.status, out)
		}
	}
	if status, text := outcome(fail(exitNo, errors.New("x"))); status != exitNo || text != "x" {
		t.Error(status, text)
	}
	if status, text := outcome(fmt.Errorf("a: %w", quiet(exitRefused))); status != exitRefused || text != "" {
		t.Error(status, text)
	}
}

// Output that a full disk has not taken is a fault, whatever prints it.
func TestOutputIsLost(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"version"}, {"--help"}, {"actions", "--help"}, {"completion", "bash"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		var errs strings.Builder
		if code := execute(args, full, &errs); code != int(exitFault) || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%v: exit status %d, %q", args, code, errs.String())
		}
		_ = full.Close() // nothing was written
	}
}
