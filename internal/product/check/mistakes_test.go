package check_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// An entry is one key of a configuration with its value, and where both are.
type entry struct {
	path       []string // the keys above it
	key, value *yaml.Node
}

// entries lists the keys of a configuration in the order of its lines.
func entries(n *yaml.Node, path []string) (all []entry) {
	if n.Kind != yaml.MappingNode {
		for _, c := range n.Content {
			all = append(all, entries(c, path)...)
		}
		return all
	}
	for i := 0; i < len(n.Content); i += 2 {
		e := entry{path, n.Content[i], n.Content[i+1]}
		all = append(all, e)
		all = append(all, entries(e.value, append(slices.Clip(path), e.key.Value))...)
	}
	return all
}

// edit replaces the text at a place.
func edit(text string, at *yaml.Node, old, fresh string) (string, bool) {
	lines := strings.Split(text, "\n")
	line, begin := lines[at.Line-1], at.Column-1
	if !strings.HasPrefix(line[begin:], old) {
		return text, false // quoted, folded, or an alias
	}
	lines[at.Line-1] = line[:begin] + fresh + line[begin+len(old):]
	return strings.Join(lines, "\n"), true
}

// A mistake is one that people make in a configuration.
type mistake struct {
	name string
	make func(r *rand.Rand, text string, e entry) (string, bool)
	says func(e entry, err error) bool // whether the error tells what it is
}

// at reports whether an error has a line of the file that begins with the place and a text.
func at(line int, err error, text string) bool {
	for one := range strings.Lines(err.Error()) {
		if strings.HasPrefix(one, fmt.Sprintf("f:%d: ", line)) && strings.Contains(one, text) {
			return true
		}
	}
	return false
}

func mistakes() []mistake {
	key := func(e entry, err error) bool { return at(e.key.Line, err, e.key.Value) }
	named := func(e entry, err error) bool { // what was expected follows what is there
		return at(e.key.Line, err, e.key.Value) && (at(e.key.Line, err, "unknown key") ||
			at(e.key.Line, err, "has no parameter") || at(e.key.Line, err, "has no label"))
	}
	return []mistake{
		{"another letter", func(r *rand.Rand, text string, e entry) (string, bool) {
			i := r.IntN(len(e.key.Value) + 1)
			return edit(text, e.key, e.key.Value, e.key.Value[:i]+"q"+e.key.Value[i:])
		}, named},
		{"capitals", func(_ *rand.Rand, text string, e entry) (string, bool) {
			return edit(text, e.key, e.key.Value, strings.ToUpper(e.key.Value))
		}, named},
		{"a list in the place of a value", func(_ *rand.Rand, text string, e entry) (string, bool) {
			if e.value.Kind != yaml.ScalarNode || e.value.Value == "" {
				return text, false
			}
			return edit(text, e.value, e.value.Value, "[["+e.value.Value+"]]")
		}, key},
		{"a map in the place of a value", func(_ *rand.Rand, text string, e entry) (string, bool) {
			if e.value.Kind != yaml.ScalarNode || e.value.Value == "" {
				return text, false
			}
			return edit(text, e.value, e.value.Value, "{qq: 1}")
		}, key},
		{"a word in the place of a number or a time", func(_ *rand.Rand, text string, e entry) (string, bool) {
			if !strings.ContainsAny(e.value.Value, "0123456789") || len(e.value.Value) > 6 {
				return text, false
			}
			return edit(text, e.value, e.value.Value, "soonish")
		}, nil}, // some are names, where it is right
		{"the key twice", func(_ *rand.Rand, text string, e entry) (string, bool) {
			if e.value.Kind != yaml.ScalarNode || e.value.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 ||
				e.value.Line != e.key.Line {
				return text, false
			}
			lines := strings.Split(text, "\n")
			line := lines[e.key.Line-1]
			if strings.Contains(line[:e.key.Column-1], "{") || strings.HasSuffix(strings.TrimSpace(line), "}") {
				return text, false
			}
			again := strings.Repeat(" ", e.key.Column-1) + line[e.key.Column-1:]
			return strings.Join(append(lines[:e.key.Line:e.key.Line], append([]string{again}, lines[e.key.Line:]...)...),
				"\n"), true
		}, func(e entry, err error) bool { return at(e.key.Line+1, err, "duplicate key") }},
	}
}

// Whatever single mistake is made in a whole configuration, it is refused, and the error
// says in which line and at which key.
func TestMistakes(t *testing.T) {
	text := config.Example()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	all, r := entries(&document, nil), rand.New(rand.NewPCG(13, 14))
	made := make(map[string]int)
	for _, e := range all {
		for _, m := range mistakes() {
			wrong, ok := m.make(r, text, e)
			if !ok || wrong == text {
				continue
			}
			made[m.name]++
			c, err := config.Parse("f", []byte(wrong), app.Known())
			switch {
			case m.says == nil && err == nil:
			case err == nil || c != nil:
				t.Errorf("%s: %s of %v is accepted: %q", m.name, e.key.Value, e.path, strings.Split(wrong,
					"\n")[e.key.Line-1])
			case m.says != nil && !m.says(e, err):
				t.Errorf("%s: %s of %v, line %d: the error does not say it: %v", m.name, e.key.Value, e.path, e.key.Line, err)
			}
		}
	}
	for _, m := range mistakes() {
		if made[m.name] < 10 {
			t.Errorf("%s: made %d times of %d", m.name, made[m.name], len(all))
		}
	}
}
