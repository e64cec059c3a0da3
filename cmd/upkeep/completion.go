package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

// tabTime is how long a completion waits for a running upkeep. Without an answer it offers nothing and says
// nothing: people type on meanwhile.
const tabTime = time.Second

// everyAction completes the names of actions, which are known without a running upkeep.
func everyAction(*cobra.Command, []string, string) (names []string, d cobra.ShellCompDirective) {
	for _, a := range catalog.EveryAction() {
		summary, _, _ := strings.Cut(strings.Join(strings.Fields(a.Doc), " "), ". ")
		names = append(names, a.Name+"\t"+summary)
	}
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}

// quick asks a running upkeep for what a completion offers.
func (c *client) quick(cmd *cobra.Command, path string, out any) {
	ctx, cancel := context.WithTimeout(cmd.Context(), tabTime)
	defer cancel()
	k := *c
	k.patience, k.json = tabTime, false
	_ = k.do(ctx, http.MethodGet, path, nil, out) // nothing is offered then
}

// runs completes the numbers of runs in a state; "": of all.
func (c *client) runs(state remediate.State) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (numbers []string, d cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var lines []console.Line
		c.quick(cmd, "/runs?"+url.Values{page.KeyState: {string(state)}, page.KeyAll: {"0"}}.Encode(), &lines)
		for _, l := range lines {
			numbers = append(numbers, fmt.Sprintf("%d\t%s of %s: %s", l.ID, l.Request.Action, page.Subject(l.Request),
				l.State))
		}
		return numbers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// names completes what a list of upkeep has under a key.
func (c *client) names(path, key string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (names []string, d cobra.ShellCompDirective) {
		if len(args) > 0 && cmd.Flags().Changed("why") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var all []map[string]any
		c.quick(cmd, path, &all)
		for _, one := range all {
			if name, ok := one[key].(string); ok {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// scopes completes what can be paused.
func (c *client) scopes(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all := []string{"all"}
	for kind, path := range map[string]string{"target": "/targets", "policy": "/policies", "action": "/actions"} {
		if !strings.HasPrefix(to, kind+"/") && !strings.HasPrefix(kind+"/", to) {
			continue
		}
		names, _ := c.names(path, "name")(cmd, nil, to)
		for _, name := range names {
			all = append(all, kind+"/"+name)
		}
	}
	slices.Sort(all)
	return all, cobra.ShellCompDirectiveNoFileComp
}

// request completes an action and its labels.
func (c *client) request(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return everyAction(cmd, args, to)
	}
	if strings.HasPrefix(to, "server=") {
		var all []console.ActionLine
		c.quick(cmd, "/actions", &all)
		for _, a := range all {
			if a.Name == args[0] {
				return prefixed("server=", a.Targets), cobra.ShellCompDirectiveNoFileComp
			}
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var labels []string
	for _, a := range catalog.EveryAction() {
		if a.Name != args[0] {
			continue
		}
		for _, label := range a.Subject {
			given := func(arg string) bool { return strings.HasPrefix(arg, label+"=") }
			if !slices.ContainsFunc(args[1:], given) {
				labels = append(labels, label+"=")
			}
		}
	}
	return labels, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace |
		cobra.ShellCompDirectiveKeepOrder
}

// prefixed puts a text before each of some names.
func prefixed(prefix string, names []string) (all []string) {
	for _, name := range names {
		all = append(all, prefix+name)
	}
	return all
}
