package usage_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

// words are what command lines are made of: commands, flags, values, and anything else.
func words() []string {
	return []string{"policy", "list", "close", "run", "test", "inbox", "help", "--limit", "--limit=3", "--limit=",
		"--limit=x",
		"--share", "0.5", "--for", "5m", "--with", "a=b", "--with=a", "-w", "-wo", "-o", "json", "-wx", "--watch=maybe",
		"--watch",
		"-h", "--help", "--help=x", "--", "-", "---", "--=", "--=x", "-=", "-w=", "", " ", "a", "a=b", "7", "-7",
		"--no-such",
		"--limit x", "-é", "--größe", "\x1b[2J", "--\x1b[2J", "-\x1b", "\xff", "--\xff=\xff", "\n", "--why", "--limt",
		"plicy",
		"__complete", "completion", strings.Repeat("x", 3000), "--" + strings.Repeat("y", 3000)}
}

// try gives a command line to the tree.
func try(args []string) (err error) {
	root := tree()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if err := usage.Known(root, args); err != nil {
		return err
	}
	root.SetArgs(args)
	return root.Execute()
}

// names reports whether an error has a word of the command line in it, or an argument or a flag that the tree has.
func names(err error, args []string) bool {
	text := err.Error()
	for _, arg := range args {
		bare, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if arg != "" && (strings.Contains(text, arg) || strings.Contains(text, strings.Trim(fmt.Sprintf("%q", arg),
			`"`))) ||
			bare != "" && strings.Contains(text, bare) {
			return true
		}
	}
	return slices.ContainsFunc([]string{"POLICY", "ACTION", "LABEL=VALUE", "--", `""`}, func(name string) bool {
		return strings.Contains(text, name)
	})
}

// Whatever a command line is, it is carried out or refused with an error of usage that names what is wrong, and nothing
// panics.
func TestAnyCommandLine(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 15))
	all := words()
	refused := make(map[string]bool)
	for range 5000 {
		args := make([]string, r.IntN(6))
		for i := range args {
			args[i] = all[r.IntN(len(all))]
		}
		if len(args) > 0 && r.IntN(2) == 0 {
			args[0] = []string{"policy", "run", "test", "inbox"}[r.IntN(4)]
		}
		if len(args) > 1 && args[0] == "policy" && r.IntN(2) == 0 {
			args[1] = "list"
		}
		if len(args) > 0 && strings.HasPrefix(args[0], "__") {
			continue // of the shell's completion, which cobra answers by itself
		}
		err := try(args)
		if err == nil {
			continue
		}
		if _, ok := errors.AsType[*usage.Error](err); !ok || !names(err, args) || err.Error() == "" {
			t.Fatalf("%q: %v", args, err)
		}
		kind, _, _ := strings.Cut(err.Error(), " ")
		refused[kind] = true
	}
	for _, kind := range []string{"missing", "unexpected", "unknown", "--limit", "--watch", "--with"} {
		if !refused[kind] {
			t.Errorf("no command line was refused with %q: %v", kind, refused)
		}
	}
}

// A value of any type of flag that it cannot have is refused in the name of the flag, with what it takes.
func TestEveryTypeOfFlag(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"limit": "a whole number", "share": "a number",
		"for": "a duration like 30s, 5m or 2h", "with": "name=value, like parallel=2", "watch": "true or false"} {
		for _, value := range []string{"", "x", "1 2", "--", "\x1b", "1,2", "NaNs", "99999999999999999999x"} {
			err := try([]string{"policy", "list", "--" + flag + "=" + value})
			if flag == "with" && value == "" {
				continue // none
			}
			if wanted := fmt.Sprintf("--%s %q: want %s", flag, value, want); err == nil || err.Error() != wanted {
				t.Errorf("--%s=%q: %v, want %s", flag, value, err, wanted)
			}
		}
		if flag == "watch" {
			continue // it needs none
		}
		if err := try([]string{"policy", "list", "--" + flag}); err == nil ||
			err.Error() != "--"+flag+" needs a value: "+want {
			t.Errorf("--%s: %v", flag, err)
		}
	}
}

// A command that is misspelt by a letter is suggested, at each place of the tree, and nothing is suggested for what is
// like no command.
func TestMisspeltCommands(t *testing.T) {
	t.Parallel()
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			name := sub.Name()
			if name == "help" {
				continue // of cobra, which suggests it for nothing
			}
			for _, wrong := range []string{name[1:], name + "x", name[:1] + "x" + name[2:], strings.ToUpper(name)} {
				err := try(append(slices.Clone(path), wrong))
				if err == nil || !strings.Contains(err.Error(), "did you mean") || !strings.Contains(err.Error(),
					name) {
					t.Errorf("%q %q: %v", path, wrong, err)
				}
			}
			walk(sub, append(slices.Clone(path), name))
		}
		if c.HasSubCommands() {
			err := try(append(slices.Clone(path), "zzzzzzzz"))
			if err == nil || !strings.HasSuffix(err.Error(), "see "+strings.Join(append([]string{"upkeep"}, path...),
				" ")+
				" --help") {
				t.Errorf("%q: %v", path, err)
			}
		}
	}
	walk(tree(), nil)
}
