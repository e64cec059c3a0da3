package config

import (
	"go.yaml.in/yaml/v3"
)

// A Source knows where each part of a configuration is in its file.
type Source struct {
	name string
	root *yaml.Node
}

// File returns the name of the file, as it was given.
func (s *Source) File() string { return s.name }

// Line returns the line of what is at a path of keys and indexes, or of the nearest
// part above it.
func (s *Source) Line(path ...any) int {
	if len(path) > 2 && path[0] == "notify" && path[1] == "places" &&
		resolve(at(s.root, "notify")).Kind == yaml.SequenceNode {
		path = append([]any{"notify"}, path[2:]...) // the short form: the list alone
	}
	return max(at(s.root, path...).Line, 1)
}

// Value returns the text at a path, or "" where there is no text.
func (s *Source) Value(path ...any) string {
	n := s.root
	for _, step := range path {
		if n = under(resolve(n), step); n == nil {
			return ""
		}
	}
	if n = resolve(n); n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// LineIn returns the line of a byte of the text at a path: text in the style of | has
// lines of its own.
func (s *Source) LineIn(offset int, path ...any) int { return lineIn(at(s.root, path...), offset) }

func lineIn(n *yaml.Node, offset int) int {
	n = resolve(n)
	line := max(n.Line, 1)
	if n.Style != yaml.LiteralStyle {
		return line
	}
	line++ // the text begins below the |
	for i := 0; i < offset && i < len(n.Value); i++ {
		if n.Value[i] == '\n' {
			line++
		}
	}
	return line
}
