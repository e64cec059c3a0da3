// Package usage says what is wrong with a command line, in the words of its own flags and arguments.
package usage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// An Error says what is wrong with a command line or a configuration, and what to do.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error.
func Errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

// Complete makes a command line say what is wrong with it. The arguments of a command are those of its usage
// line: NAME is needed, [NAME] may be left out, and one with … at its end may be given more than once.
func Complete(root *cobra.Command) {
	root.SetFlagErrorFunc(flagError)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() {
			c.Args = arguments
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// An argument is one of a usage line.
type argument struct {
	name            string
	optional, again bool
}

// line is the usage line of a command without its flags.
func line(c *cobra.Command) string {
	text, _, _ := strings.Cut(c.Use, " --")
	if c.Parent() != nil {
		text = c.Parent().CommandPath() + " " + text
	}
	return text
}

// of returns the arguments of a command.
func of(c *cobra.Command) (all []argument) {
	text, _, _ := strings.Cut(c.Use, " --")
	for _, word := range strings.Fields(text)[1:] {
		a := argument{name: word}
		if inner, ok := strings.CutPrefix(word, "["); ok {
			a.name, a.optional = strings.TrimSuffix(inner, "]"), true
		}
		if name, ok := strings.CutSuffix(a.name, "…"); ok {
			a.name, a.again = name, true
		}
		all = append(all, a)
	}
	return all
}

func arguments(c *cobra.Command, args []string) error {
	all := of(c)
	for i, a := range all {
		if i >= len(args) && !a.optional {
			return Errorf("missing %s: %s", a.name, line(c))
		}
		if a.again {
			return nil
		}
	}
	if len(args) > len(all) {
		if len(all) == 0 {
			return Errorf("unexpected argument %q: %s takes none", args[0], c.CommandPath())
		}
		return Errorf("unexpected argument %q: %s", args[len(all)], line(c))
	}
	return nil
}

// Known returns an error for a command line that names an unknown command.
func Known(root *cobra.Command, args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], "__") { // of the completion
		return nil
	}
	c, rest, err := root.Find(args)
	if err == nil && c.Runnable() {
		return nil
	}
	for i, arg := range rest {
		helps := err == nil && (arg == "-h" || arg == "--help")
		if arg == "--" || helps || i > 0 && rest[0] == "help" {
			break
		}
		if !strings.HasPrefix(arg, "-") {
			return unknown(c, arg)
		}
	}
	if err != nil { // of cobra, which does not go on either
		return &Error{err}
	}
	return nil
}

// unknown says that a command has no subcommand of a name, and which one may be meant.
func unknown(c *cobra.Command, name string) error {
	if c.SuggestionsMinimumDistance <= 0 {
		c.SuggestionsMinimumDistance = 2
	}
	help := "see " + c.CommandPath() + " --help"
	if meant := c.SuggestionsFor(name); len(meant) > 0 {
		help = "did you mean " + strings.Join(meant, " or ") + "?"
	}
	path := ""
	if c.Parent() != nil {
		path = " of " + c.CommandPath()
	}
	return Errorf("unknown command %q%s; %s", name, path, help)
}

// flagError says what is wrong with a flag.
func flagError(c *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := wrong.GetFlag()
		return Errorf("--%s %q: want %s", f.Name, wrong.GetValue(), takes(f, wrong))
	}
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		f := missing.GetFlag()
		return Errorf("--%s needs a value: %s", f.Name, takes(f, nil))
	}
	if strange, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := "--" + strange.GetSpecifiedName()
		if strange.GetSpecifiedShortnames() != "" {
			name = "-" + strange.GetSpecifiedName()
		}
		return Errorf("unknown flag %s; %s", name, meant(c, strange.GetSpecifiedName()))
	}
	return &Error{err}
}

// takes says what a flag takes.
func takes(f *pflag.Flag, wrong error) string {
	switch f.Value.Type() {
	case "int", "int64":
		return "a whole number"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration like 30s, 5m or 2h"
	case "stringToString":
		return "name=value, like parallel=2"
	case "string", "stringSlice", "stringArray":
		return "a text"
	}
	if cause := errors.Unwrap(wrong); cause != nil {
		return cause.Error()
	}
	return f.Value.Type()
}

// meant suggests the flag that a name is close to.
func meant(c *cobra.Command, name string) string {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if best := config.Nearest(name, names); best != "" {
		return "did you mean --" + best + "?"
	}
	return "see " + c.CommandPath() + " --help"
}
