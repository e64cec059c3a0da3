package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// A decoder puts a document into a Config and notes everything that is wrong.
type decoder struct {
	name, dir string
	known     Known
	faults    []error
}

// fault notes what is wrong, in one line, whatever things are called; only the beginning of a configuration has
// several.
func (d *decoder) fault(n *yaml.Node, format string, args ...any) {
	text, example := fmt.Sprintf(format, args...), ""
	if rest, ends := strings.CutSuffix(text, ":\n"+beginning); ends {
		text, example = rest, ":\n"+beginning
	}
	d.faults = append(d.faults, fmt.Errorf("%s:%d: %s%s", d.name, max(n.Line, 1), visible.Text(text), example))
}

// yamlError puts the parser's line first, as our own errors have it.
func yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if line, what, ok := strings.Cut(rest, ": "); ok {
			return fmt.Errorf("%s: %s", line, what)
		}
	}
	return fmt.Errorf("1: %s", text)
}

// resolve follows an alias to its value.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// faultIn reports whether something on these lines is wrong already: one
// mistake is reported once.
func (d *decoder) faultIn(n *yaml.Node) bool {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, c.Line)
	}
	for line := n.Line; line <= last; line++ {
		prefix := fmt.Sprintf("%s:%d:", d.name, line)
		if slices.ContainsFunc(d.faults, func(err error) bool { return strings.HasPrefix(err.Error(), prefix) }) {
			return true
		}
	}
	return false
}

// kind says what a node is, for people. Text is shown: nothing in the file is a
// secret, and what would be is checked before it is shown.
func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case null(n):
		return "empty"
	default:
		return strconv.Quote(n.Value)
	}
}

// at returns the node at a path of keys and indexes, or the nearest above it.
func at(n *yaml.Node, path ...any) *yaml.Node {
	for _, step := range path {
		next := under(resolve(n), step)
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

func under(n *yaml.Node, step any) *yaml.Node {
	switch step := step.(type) {
	case int:
		if n.Kind == yaml.SequenceNode && step < len(n.Content) {
			return n.Content[step]
		}
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// twice says of each name that has been there before.
func (d *decoder) twice(n *yaml.Node, section, what string, names []string) {
	for i, name := range names {
		if name != "" && slices.Contains(names[:i], name) {
			d.fault(at(n, section, i, "name"), "a second %s is called %q; each needs a name of its own", what, name)
		}
	}
}

// has reports whether a mapping has a key.
func has(n *yaml.Node, key string) bool { return under(resolve(n), key) != nil }

// beginning is the least that a configuration says.
const beginning = `
  targets:
    postgres:
      - {name: main, url: "postgres://upkeep@127.0.0.1:5432/postgres", password_file: password}
`
