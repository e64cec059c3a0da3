package main

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
	"github.com/ai-micro-service/upkeep/remediate"
)

func rightsCommand() *cobra.Command {
	var file, role, kind string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rights [ACTION…]",
		Short: "Write the GRANT statements and the Redis ACL that the policies and schedules need, and no more",
		Long: `Write the grants that monitoring and the actions of the configured policies and schedules
need, and no more; or those that the named actions need. The command connects to nothing and
grants nothing: its output is a script for psql, with the line for Redis' aclfile as a
comment, or with --kind redis that line alone. The Redis user has no password yet: set one
with ACL SETUSER upkeep >….`,
		Example: `  upkeep rights --config upkeep.yaml | psql -v schema=public -v table=logs admindb
  upkeep rights postgres/vacuum --role ops
  upkeep rights --kind redis >> /etc/redis/users.acl`,
		RunE: func(cmd *cobra.Command, names []string) error {
			actions, err := wanted(cmd.ErrOrStderr(), file, names)
			if err != nil {
				return err
			}
			var kinds []rights.Kind
			if kind != "" {
				kinds = []rights.Kind{rights.Kind(kind)}
				if !slices.Contains(rights.Kinds(), kinds[0]) {
					return usage.Errorf("--kind %q: want postgres or redis", kind)
				}
			}
			return writeRights(cmd.OutOrStdout(), kinds, role, actions, asJSON)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&role, "role", "",
		"role or user that upkeep logs in as (default: psql's variable role, or upkeep)")
	cmd.Flags().StringVar(&kind, "kind", "", "write only for this kind of target: postgres or redis")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.ValidArgsFunction = everyAction
	return cmd
}

// wanted returns the actions that are named, or else those that the policies and
// schedules of a configuration ask for.
func wanted(stderr io.Writer, file string, names []string) (actions []remediate.Action, err error) {
	if len(names) == 0 {
		c, err := configOf(stderr, file)
		if err != nil {
			return nil, err
		}
		names = asked(c)
	}
	all := catalog.EveryAction()
	for _, name := range names {
		i := slices.IndexFunc(all, func(a remediate.Action) bool { return a.Name == name })
		if i < 0 {
			return nil, unknownAction(name)
		}
		actions = append(actions, all[i])
	}
	return actions, nil
}

// unknownAction says which actions there are: the nearest by name, those of the same kind, or all.
func unknownAction(name string) error {
	var all, same []string
	kind, _, _ := strings.Cut(name, "/")
	for _, a := range catalog.EveryAction() {
		all = append(all, a.Name)
		if strings.HasPrefix(a.Name, kind+"/") {
			same = append(same, a.Name)
		}
	}
	if best := config.Nearest(name, all); best != "" {
		return usage.Errorf("unknown action %q; did you mean %q?", name, best)
	}
	if len(same) == 0 {
		same = all
	}
	return usage.Errorf("unknown action %q; there are %s", name, strings.Join(slices.Sorted(slices.Values(same)), ", "))
}

// asked names the actions of the policies and schedules, each once.
func asked(c *config.Config) (names []string) {
	for _, p := range c.Policies {
		for _, s := range p.Steps {
			names = append(names, s.Action)
		}
	}
	for _, s := range c.Schedules {
		names = append(names, s.Action)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// writeRights writes what the actions need. Without kinds it is for those that the
// actions are of, or for all where they are of none.
func writeRights(w io.Writer, kinds []rights.Kind, role string, actions []remediate.Action, asJSON bool) error {
	if len(kinds) == 0 {
		for _, k := range rights.Kinds() {
			if len(rights.Of(k, actions)) > 1 {
				kinds = append(kinds, k)
			}
		}
	}
	if len(kinds) == 0 {
		kinds = rights.Kinds()
	}
	var needs []rights.Need
	for _, k := range kinds {
		if err := rights.Check(k, cmp.Or(role, rights.Role)); err != nil {
			return usage.Errorf("--role: %w", err)
		}
		needs = append(needs, rights.Of(k, actions)...)
	}
	if asJSON {
		return printJSON(w, needs)
	}
	of := func(k rights.Kind) (all []rights.Need) {
		return slices.DeleteFunc(slices.Clone(needs), func(n rights.Need) bool { return n.Kind != k })
	}
	var text string
	switch {
	case !slices.Contains(kinds, rights.Redis):
		text = rights.PostgresScript(role, of(rights.Postgres))
	case !slices.Contains(kinds, rights.Postgres):
		text = rights.RedisLine(role, of(rights.Redis))
	default:
		line := strings.TrimSpace(rights.RedisLine(role, of(rights.Redis)))
		text = rights.PostgresScript(role, of(rights.Postgres)) +
			"\n-- Redis, for its aclfile (--kind redis writes it alone):\n-- " + line + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
