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
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
)

const defaultURL = "http://127.0.0.1:9847"

// A client talks to a running upkeep.
type client struct {
	url, tokenFile, dataDir string
	json                    bool

	patience time.Duration // how long an answer may take; a minute where 0
}

// flags adds to a command what it needs to find a running upkeep.
func (c *client) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.url, "url", "", "URL of the running upkeep (default $UPKEEP_URL, else "+defaultURL+")")
	cmd.Flags().StringVar(&c.tokenFile, "token-file", "",
		"file with a token of web.tokens (default $UPKEEP_TOKEN, else admin-token in data_dir)")
	cmd.Flags().StringVar(&c.dataDir, "data-dir", "",
		"data_dir of the upkeep on this machine (default $UPKEEP_DATA_DIR, else as ./upkeep.yaml or\n"+
			"/etc/upkeep/upkeep.yaml says, else "+config.DefaultDataDir()+")")
	cmd.Flags().BoolVar(&c.json, "json", false, "print the answer as JSON")
}

// do sends a request and reads the answer into out.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	base := strings.TrimSuffix(firstOf(c.url, os.Getenv("UPKEEP_URL"), defaultURL), "/")
	if u, err := url.Parse(base); err != nil || u.Host == "" {
		return fmt.Errorf("--url %q: want something like %s", base, defaultURL)
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
	if err = answer(res, out, !c.json); err != nil && res.StatusCode == http.StatusUnauthorized {
		err = fmt.Errorf("not logged in: %s", l.hint)
	}
	return err
}

// send sends a request with a token. The one of this machine is sent to an upkeep that knows it.
func (l login) send(r *http.Request, base string, patience time.Duration) (res *http.Response, err error) {
	h := &http.Client{Timeout: patience, CheckRedirect: noRedirect}
	if l.file != "" {
		h = oneConnection(patience)
		err = prove(r.Context(), h, base, l)
	}
	if err == nil {
		if l.token != "" {
			r.Header.Set("Authorization", "Bearer "+l.token)
		}
		res, err = h.Do(r)
	}
	if away, ok := errors.AsType[*url.Error](err); ok {
		if ctx := r.Context(); ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if away.Timeout() {
			return nil, fmt.Errorf("no answer of %s within %s: it may be busy; try again", base, patience)
		}
		return nil, fmt.Errorf("no upkeep answers at %s: start one with \"upkeep serve\", or say where it is with "+
			"--url (%w)", base, away.Err)
	}
	return res, err
}

// maxAnswer is more than the longest list of upkeep has.
const maxAnswer = 64 << 20

// answer reads an answer. For people every name and text in it is made visible: one with a
// newline in it would print a line of its own. An answer of something that is no upkeep says nothing, least of
// all that all is well.
func answer(res *http.Response, out any, people bool) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	from := res.Request.URL.Host
	if len(text) > maxAnswer {
		return fmt.Errorf("the answer of %s is longer than %d MiB; is that an upkeep?", from, maxAnswer>>20)
	}
	if shown, err := visible.JSON(text); err == nil && (people || res.StatusCode >= 300) {
		text = shown
	}
	if res.StatusCode >= 300 {
		var said struct{ Error, Reason string }
		if json.Unmarshal(text, &said) != nil || said.Error == "" {
			return fmt.Errorf("the answer of %s is %s; is that an upkeep?", from, res.Status)
		}
		if said.Reason != "" {
			return fmt.Errorf("refused (%s): %s", said.Reason, said.Error)
		}
		return errors.New(said.Error)
	}
	if key := missing(text, out); key != "" {
		return fmt.Errorf("%s answered %s without %q: %.200q; is that an upkeep of this version?", from, res.Status,
			key, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("answer of %s: %w", from, err)
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
			return login{}, fmt.Errorf("--token-file: %w", err)
		}
		return login{token: strings.TrimSpace(string(text)),
			hint: "the token in " + c.tokenFile + " is not one of web.tokens"}, nil
	}
	if token := os.Getenv("UPKEEP_TOKEN"); token != "" {
		return login{token: token, hint: "the token in $UPKEEP_TOKEN is not one of web.tokens"}, nil
	}
	return ownLogin(c.dataDir, base), nil
}

// printJSON prints a value for programs.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// ask reads ACTION key=value… into what a person asks for.
func ask(cmd *cobra.Command, args []string) (a console.Ask, err error) {
	a = console.Ask{Action: args[0], Subject: make(map[string]string), By: whoami()}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return a, fmt.Errorf("%q: want key=value, like table=logs", arg)
		}
		if _, twice := a.Subject[name]; twice {
			return a, fmt.Errorf("%s is given twice", name)
		}
		a.Subject[name] = value
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
