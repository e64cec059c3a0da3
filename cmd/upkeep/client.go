package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/answer"
	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

const defaultURL = "http://127.0.0.1:9847"

// A client talks to a running upkeep.
type client struct {
	url, tokenFile, dataDir string
	json                    bool // the answer is for a program
	as                      form

	patience time.Duration // how long an answer may take; a minute where 0
	next     string        // the query of the next part of the last list; "" at its end
}

// A form is what an answer is written as.
type form string

const (
	formText form = "text"
	formWide form = "wide"
	formJSON form = "json"
	formYAML form = "yaml"
)

// forms lists them.
func forms() []string {
	return []string{string(formText), string(formWide), string(formJSON), string(formYAML)}
}

// A formFlag sets the form of the answers of a client.
type formFlag struct{ c *client }

// Set implements pflag.Value.
func (f formFlag) Set(text string) error {
	if !slices.Contains(forms(), text) {
		return fmt.Errorf("%s", strings.Join(forms(), ", "))
	}
	f.c.as = form(text)
	f.c.json = f.c.as == formJSON || f.c.as == formYAML
	return nil
}

// String implements pflag.Value.
func (f formFlag) String() string {
	if f.c == nil {
		return ""
	}
	return string(f.c.as)
}

// Type implements pflag.Value.
func (formFlag) Type() string { return "form" }

// flags adds to a command what it needs to find a running upkeep, and how it writes the answer.
func (c *client) flags(cmd *cobra.Command) {
	c.reach(cmd)
	c.output(cmd)
}

// output adds the flags that say how the answer is written.
func (c *client) output(cmd *cobra.Command) {
	c.as = formText
	cmd.Flags().VarP(formFlag{c}, "output", "o", "form of the answer: text, wide (all columns, whole), json or yaml")
	cmd.Flags().BoolVar(&c.json, "json", false, "short for -o json")
	_ = cmd.RegisterFlagCompletionFunc("output", fixed(forms()...)) // it is there
}

// print writes an answer for programs.
func (c *client) print(cmd *cobra.Command, v any) error {
	if c.as == formYAML {
		return answer.YAML(cmd.OutOrStdout(), v)
	}
	return printJSON(cmd.OutOrStdout(), v)
}

// reach adds to a command what it needs to find a running upkeep.
func (c *client) reach(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.url, "url", "", "URL of the running upkeep (default $UPKEEP_URL, else "+defaultURL+")")
	cmd.Flags().StringVar(&c.tokenFile, "token-file", "",
		"file with a token of web.tokens (default $UPKEEP_TOKEN, else admin-token in data_dir)")
	cmd.Flags().StringVar(&c.dataDir, "data-dir", "",
		"data_dir of the upkeep on this machine (default $UPKEEP_DATA_DIR, else as ./upkeep.yaml or\n"+
			"/etc/upkeep/upkeep.yaml says, else "+config.DefaultDataDir()+")")
}

// do sends a request and reads the answer into out.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	base := strings.TrimSuffix(firstOf(c.url, os.Getenv("UPKEEP_URL"), defaultURL), "/")
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usage.Errorf("--url %q: want something like %s", base, defaultURL)
	}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, base+console.Prefix+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	l, err := c.login(base)
	if err != nil {
		return err
	}
	res, err := l.send(r, base, cmp.Or(c.patience, time.Minute))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read only
	if err = readAnswer(res, out, !c.json); err != nil && res.StatusCode == http.StatusUnauthorized {
		err = fail(exitDenied, fmt.Errorf("not logged in: %s", l.hint))
	}
	c.next = ""
	if link, _, ok := strings.Cut(res.Header.Get("Link"), `>; rel="next"`); ok {
		_, c.next, _ = strings.Cut(link, "?")
	}
	return err
}

// send sends a request with a token. The one of this machine is sent to an upkeep that knows it.
func (l login) send(r *http.Request, base string, patience time.Duration) (res *http.Response, err error) {
	for tries := 0; ; tries++ {
		h := &http.Client{Timeout: patience, CheckRedirect: noRedirect}
		if err = nil; l.file != "" {
			h = oneConnection(patience)
			err = prove(r.Context(), h, base, l)
		}
		if err == nil {
			if l.token != "" {
				r.Header.Set("Authorization", "Bearer "+l.token)
			}
			res, err = h.Do(r)
		}
		// The request was not sent: the connection that was proved is no longer there.
		if !errors.Is(err, errLost) || tries == lostTries || r.Context().Err() != nil {
			break
		}
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
	if away, ok := errors.AsType[*url.Error](err); ok {
		if ctx := r.Context(); ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if away.Timeout() {
			return nil, fail(exitAway, fmt.Errorf("no answer of %s within %s: it may be busy; try again", base,
				patience))
		}
		return nil, fail(exitAway, fmt.Errorf("no upkeep answers at %s: start one with \"upkeep serve\", or say where "+
			"it is with --url (%w)", base, away.Err))
	}
	return res, err
}

// maxAnswer is more than the longest list of upkeep has.
const maxAnswer = 64 << 20

// waiting shows on a terminal that something takes its time, until it is ended.
func waiting(errs io.Writer, what string) (end func()) {
	screen := terminal.Of(errs)
	if !screen.Live() {
		return func() {}
	}
	began, over, done := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		every := time.NewTicker(time.Second)
		defer every.Stop()
		for {
			select {
			case <-over:
				screen.Rewrite("")
				return
			case <-every.C:
				screen.Rewrite(fmt.Sprintf("%s, for %s", what, time.Since(began).Round(time.Second)))
			}
		}
	}()
	return func() { close(over); <-done }
}

// readAnswer reads an answer. For people every name and text in it is made visible: one with a
// newline in it would print a line of its own. An answer of something that is no upkeep says nothing, least of
// all that all is well.
func readAnswer(res *http.Response, out any, people bool) error {
	from := res.Request.URL.Host
	strange := func(format string, args ...any) error { return fail(exitAway, fmt.Errorf(format, args...)) }
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return strange("answer of %s: %w", from, err)
	}
	if len(body) > maxAnswer {
		return strange("the answer of %s is longer than %d MiB; is that an upkeep?", from, maxAnswer>>20)
	}
	if shown, err := visible.JSON(body); err == nil && (people || res.StatusCode >= 300) {
		body = shown
	}
	if res.StatusCode >= 300 {
		var said struct{ Error, Reason string }
		if json.Unmarshal(body, &said) != nil || said.Error == "" {
			return strange("the answer of %s is %s; is that an upkeep?", from, res.Status)
		}
		what := cmp.Or(text.OneLine(said.Error), said.Error)
		if said.Reason != "" {
			return fail(exitRefused, fmt.Errorf("refused (%s): %s", said.Reason, what))
		}
		return fail(exitOf(res.StatusCode), errors.New(what))
	}
	if key := missing(body, out); key != "" {
		return strange("%s answered %s without %q: %.200q; is that an upkeep of this version?", from, res.Status,
			key, body)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return strange("answer of %s: %w; is that an upkeep of this version?", from, err)
	}
	return nil
}

// missing names a key that an answer must have and has not, or "".
func missing(text []byte, out any) string {
	t := reflect.TypeOf(out).Elem()
	if t.Kind() != reflect.Struct {
		return ""
	}
	var has map[string]json.RawMessage
	if err := json.Unmarshal(text, &has); err != nil {
		return "" // it is no object: decoding it says what it is
	}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if len(f.Index) > 1 || name == "" || name == "-" || strings.Contains(options, "omit") {
			continue
		}
		if _, there := has[name]; !there {
			return name
		}
	}
	return ""
}

// login returns what the client shows.
func (c *client) login(base string) (login, error) {
	if c.tokenFile != "" {
		text, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return login{}, usage.Errorf("--token-file: %w", err)
		}
		return login{token: strings.TrimSpace(string(text)),
			hint: "the token in " + c.tokenFile + " is not one of web.tokens"}, nil
	}
	if token := os.Getenv("UPKEEP_TOKEN"); token != "" {
		return login{token: token, hint: "the token in $UPKEEP_TOKEN is not one of web.tokens"}, nil
	}
	return ownLogin(c.dataDir, base), nil
}

// runPath is where a run is that an argument names.
func runPath(number string) (string, error) {
	if id, err := strconv.ParseInt(number, 10, 64); err != nil || id < 1 {
		return "", usage.Errorf("run %q: want a number, as upkeep runs lists them", number)
	}
	return "/runs/" + number, nil
}

// printJSON prints a value for programs.
func printJSON(w io.Writer, v any) error { return answer.JSON(w, v) }

// ask reads ACTION key=value… into what a person asks for.
func ask(cmd *cobra.Command, args []string) (a console.Ask, err error) {
	a = console.Ask{Action: args[0], By: whoami()}
	if a.Subject, err = pairs(args[1:]); err != nil {
		return a, err
	}
	if a.Params, err = cmd.Flags().GetStringToString("with"); err != nil {
		return a, err
	}
	if a.Windows, err = cmd.Flags().GetStringSlice("window"); err != nil {
		return a, err
	}
	if !cmd.Flags().Changed("limit") {
		return a, nil
	}
	limit, err := cmd.Flags().GetFloat64("limit")
	a.Limit = &limit
	return a, err
}

// limitFlag adds the flag that ask reads.
func limitFlag(cmd *cobra.Command) {
	cmd.Flags().Float64("limit", 0, "what the metric should fall to (default: the limit of the rule)")
	cmd.Flags().StringToString("with", nil, "parameters of the action, like parallel=2")
	cmd.Flags().StringSlice("window", nil, "windows of the configuration, of which one is waited for")
}

func whoami() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	return firstOf(name, "unknown")
}
