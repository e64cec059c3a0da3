package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/answer"
	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
	"github.com/ai-micro-service/upkeep/remediate"
)

// runsFlags say which runs are listed.
type runsFlags struct {
	client
	state, action, policy, target, text string
	since, until                        string
	all, watch                          bool
	limit                               int
	before                              int64
}

func runsCommand() *cobra.Command {
	var f runsFlags
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List runs and their results, newest first",
		Long: `List runs and their results, newest first. Runs that did nothing are left out: nothing was to do, or the
incident or its subject was gone; --all and --state list them too. A run in state ` + string(remediate.AwaitingApproval) + `
needs a person (upkeep approve or upkeep reject); one in state ` + string(remediate.Waiting) + ` waits for a guard.
docs/states.md describes all states.

With --watch the list is shown again whenever it changes, until Ctrl-C, which ends it well (status 0).
Where the output is no terminal each run is written when it changes: a line of text, of JSON (-o json)
or a YAML document.`,
		Example: `  upkeep runs --state active                 what has not ended
  upkeep runs --target main --since 7d       of one target in a week
  upkeep runs --policy "index bloat" --all   of one policy, also those that did nothing
  upkeep runs --watch                        until Ctrl-C`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query, err := f.query(time.Now())
			if err != nil {
				return err
			}
			if f.watch {
				return f.follow(cmd, query)
			}
			lines, next, err := f.list(cmd.Context(), query)
			if err != nil {
				return err
			}
			if f.json {
				return f.print(cmd, lines)
			}
			if err := f.table(cmd.OutOrStdout(), lines); err != nil || next == "" {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nMore: %s --before %s\n", f.again(query), next)
			return err
		},
	}
	f.client.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "only in this state; active: those that have not ended")
	flags.StringVar(&f.action, "action", "", "only of this action")
	flags.StringVar(&f.policy, "policy", "", "only of this policy")
	flags.StringVar(&f.target, "target", "", "only on this target")
	flags.StringVar(&f.since, "since", "", "only those requested since then: how long ago (2h, 7d)\n"+
		"or a time (2026-11-30T03:00)")
	flags.StringVar(&f.until, "until", "", "only those requested before then")
	flags.StringVar(&f.text, "text", "", "only with this text in subject, reason, action or policy")
	flags.BoolVar(&f.all, "all", false, "also those that did nothing")
	flags.BoolVarP(&f.watch, "watch", "w", false, "show the list again whenever it changes")
	flags.IntVar(&f.limit, "limit", 20, "how many to list")
	flags.Int64Var(&f.before, "before", 0, "only those before the run of this number")
	for name, complete := range map[string]cobra.CompletionFunc{
		"state": fixed(states()...), "action": everyAction, "policy": f.names("/policies", "name"),
		"target": f.names("/targets", "name")} {
		_ = cmd.RegisterFlagCompletionFunc(name, complete) // it is there
	}
	return cmd
}

// states are what --state takes.
func states() []string {
	all := []string{page.StateActive}
	for _, s := range remediate.States() {
		all = append(all, string(s))
	}
	return all
}

// query is what the flags ask for.
func (f *runsFlags) query(now time.Time) (url.Values, error) {
	switch {
	case f.state != "" && !slices.Contains(states(), f.state):
		return nil, usage.Errorf("--state %q: want one of %s", f.state, strings.Join(states(), ", "))
	case f.limit < 1:
		return nil, usage.Errorf("--limit %d: want at least 1", f.limit)
	case f.before < 0:
		return nil, usage.Errorf("--before %d: want the number of a run", f.before)
	}
	query := make(url.Values)
	for key, value := range map[string]string{page.KeyState: f.state, page.KeyAction: f.action,
		page.KeyPolicy: f.policy, page.KeyTarget: f.target, page.KeyText: f.text} {
		if value != "" {
			query.Set(key, value)
		}
	}
	for _, bound := range []struct{ flag, value, key string }{{"since", f.since, page.KeySince},
		{"until", f.until, page.KeyUntil}} {
		if bound.value == "" {
			continue
		}
		at, err := moment(bound.value, now)
		if err != nil {
			return nil, usage.Errorf("--%s %q: %w", bound.flag, bound.value, err)
		}
		query.Set(bound.key, at.UTC().Format(time.RFC3339))
	}
	if !f.all {
		query.Set(page.KeyAll, "0")
	}
	if f.before > 0 {
		query.Set(page.KeyBefore, strconv.FormatInt(f.before, 10))
	}
	return query, nil
}

// moment reads a moment: how long ago it was, or a time of this machine's zone.
func moment(value string, now time.Time) (time.Time, error) {
	if ago, err := model.ParseDuration(value); err == nil {
		return now.Add(-time.Duration(ago)), nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04",
		time.DateTime, time.DateOnly} {
		if at, err := time.ParseInLocation(form, value, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("want how long ago, like 2h or 7d, or a time, like 2026-11-30T03:00")
}

// atOnce is how many runs an answer has at most.
const atOnce = 1000

// list reads runs until there are as many as are listed, and returns where the next part begins; "" at the end.
func (f *runsFlags) list(ctx context.Context, query url.Values) (lines []console.Line, next string, err error) {
	for len(lines) < f.limit {
		query.Set("limit", strconv.Itoa(min(f.limit-len(lines), atOnce)))
		var part []console.Line
		if err := f.do(ctx, http.MethodGet, "/runs?"+query.Encode(), nil, &part); err != nil {
			return nil, "", err
		}
		lines = append(lines, part...)
		following, err := url.ParseQuery(f.next)
		if next = following.Get(page.KeyBefore); err != nil || next == "" {
			return lines, "", nil
		}
		query.Set(page.KeyBefore, next)
	}
	return lines, next, nil
}

// again is the command that lists the same.
func (f *runsFlags) again(query url.Values) string {
	if len(query) > 3 || f.all { // more than limit, all and before
		return "the same with"
	}
	return "upkeep runs"
}

// more says how to list the next part.
func more(w io.Writer, command string, number int64) error {
	_, err := fmt.Fprintf(w, "\nMore: "+command+"\n", number)
	return err
}

// table prints runs.
func (f *runsFlags) table(w io.Writer, lines []console.Line) error {
	if len(lines) == 0 && f.filtered() {
		_, err := fmt.Fprintln(w, "No run matches.")
		return err
	}
	return text.Runs(w, lines, time.Now(), f.as == formWide)
}

// filtered reports whether the flags leave any run out.
func (f *runsFlags) filtered() bool {
	return cmp.Or(f.state, f.action, f.policy, f.target, f.text, f.since, f.until) != "" || f.before > 0
}

// watchEvery is how often a list that is watched is read.
const watchEvery = time.Second

// follow shows the runs until Ctrl-C. While upkeep is away it says so once and tries again.
func (f *runsFlags) follow(cmd *cobra.Command, query url.Values) error {
	ctx, reached, away := cmd.Context(), false, false
	seen := make(map[int64]time.Time)
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		lines, _, err := f.list(ctx, maps.Clone(query))
		status, said := outcome(err)
		switch {
		case ctx.Err() != nil:
			return nil
		case status == exitAway && reached:
			if !away {
				fmt.Fprintf(cmd.ErrOrStderr(), "upkeep: %s; trying again\n", said)
			}
			away = true
		case err != nil:
			return err
		default:
			reached, away = true, false
			if err := f.changed(cmd.OutOrStdout(), lines, seen); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// changed shows a list: whole on a terminal, else the runs that have changed since they were seen.
func (f *runsFlags) changed(w io.Writer, lines []console.Line, seen map[int64]time.Time) error {
	screen := terminal.Of(w)
	if screen.Live() && !f.json {
		screen.Clear()
		return f.table(w, lines)
	}
	for _, l := range slices.Backward(lines) {
		if at, ok := seen[l.ID]; ok && at.Equal(l.Changed) {
			continue
		}
		seen[l.ID] = l.Changed
		if err := f.one(w, l); err != nil {
			return err
		}
	}
	return nil
}

// one writes a run that has changed.
func (f *runsFlags) one(w io.Writer, l console.Line) error {
	switch {
	case f.as == formYAML:
		if _, err := fmt.Fprintln(w, "---"); err != nil {
			return err
		}
		return answer.YAML(w, l)
	case f.json:
		return answer.Line(w, l)
	}
	return text.Run(w, l)
}
