package usage_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

// tree is a command line with every kind of argument.
func tree() *cobra.Command {
	root := &cobra.Command{Use: "upkeep", SilenceErrors: true, SilenceUsage: true}
	group := &cobra.Command{Use: "policy"}
	done := func(*cobra.Command, []string) error { return nil }
	list := &cobra.Command{Use: "list", RunE: done}
	list.Flags().Int("limit", 1, "")
	list.Flags().Float64("share", 1, "")
	list.Flags().Duration("for", time.Second, "")
	list.Flags().StringToString("with", nil, "")
	list.Flags().BoolP("watch", "w", false, "")
	list.Flags().StringP("output", "o", "", "")
	group.AddCommand(list, &cobra.Command{Use: "close POLICY --why REASON", RunE: done})
	root.AddCommand(group, &cobra.Command{Use: "run ACTION [key=value…]", RunE: done},
		&cobra.Command{Use: "test LABEL=VALUE…", RunE: done}, &cobra.Command{Use: "inbox [ID]", RunE: done})
	root.SetOut(io.Discard)
	root.InitDefaultHelpCmd()
	usage.Complete(root)
	return root
}

// What is wrong is said in the names of flags and arguments.
func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"policy", "list", "--limit", "abc"}, `--limit "abc": want a whole number`},
		{[]string{"policy", "list", "--share", "abc"}, `--share "abc": want a number`},
		{[]string{"policy", "list", "--for", "abc"}, `--for "abc": want a duration like 30s, 5m or 2h`},
		{[]string{"policy", "list", "--with", "abc"}, `--with "abc": want name=value, like parallel=2`},
		{[]string{"policy", "list", "--watch=abc"}, `--watch "abc": want true or false`},
		{[]string{"policy", "list", "--limit"}, `--limit needs a value: a whole number`},
		{[]string{"policy", "list", "-o"}, `--output needs a value: a text`},
		{[]string{"policy", "list", "--limt", "3"}, `unknown flag --limt; did you mean --limit?`},
		{[]string{"policy", "list", "--nonsense"}, `unknown flag --nonsense; see upkeep policy list --help`},
		{[]string{"policy", "list", "-x"}, `unknown flag -x; see upkeep policy list --help`},
		{[]string{"policy", "list", "more"}, `unexpected argument "more": upkeep policy list takes none`},
		{[]string{"policy", "close"}, "missing POLICY: upkeep policy close POLICY"},
		{[]string{"policy", "close", "a", "b"}, `unexpected argument "b": upkeep policy close POLICY`},
		{[]string{"run"}, "missing ACTION: upkeep run ACTION [key=value…]"},
		{[]string{"run", "a", "b", "c"}, ""},
		{[]string{"test"}, "missing LABEL=VALUE: upkeep test LABEL=VALUE…"},
		{[]string{"test", "a", "b"}, ""},
		{[]string{"inbox"}, ""},
		{[]string{"inbox", "1"}, ""},
		{[]string{"inbox", "1", "2"}, `unexpected argument "2": upkeep inbox [ID]`},
		{[]string{"policy", "lst"}, `unknown command "lst" of upkeep policy; did you mean list?`},
		{[]string{"policy", "nonsense"}, `unknown command "nonsense" of upkeep policy; see upkeep policy --help`},
		{[]string{"polcy", "list"}, `unknown command "polcy"; did you mean policy?`},
		{[]string{"policy"}, ""},
		{[]string{"policy", "--help"}, ""},
		{nil, ""},
		{[]string{"--help"}, ""},
		{[]string{"help", "policy"}, ""},
	} {
		root := tree()
		err := usage.Known(root, test.args)
		if err == nil {
			root.SetArgs(test.args)
			err = root.Execute()
		}
		if test.want == "" {
			if err != nil {
				t.Errorf("%q: %v", test.args, err)
			}
			continue
		}
		if _, ok := errors.AsType[*usage.Error](err); !ok || err.Error() != test.want {
			t.Errorf("%q: %v, want %s", test.args, err, test.want)
		}
	}
}
