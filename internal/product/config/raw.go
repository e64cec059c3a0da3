package config

import (
	"bytes"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// deepest is how deep a part may be: an alias can contain itself.
const deepest = 64

// raw takes a list as it is written, and lets the program whose syntax it has check it.
func (d *decoder) raw(n *yaml.Node, v reflect.Value, f reflect.StructField, key string) {
	if null(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fault(n, "%s is %s; a list was expected, as Prometheus has it", key, kind(n))
		return
	}
	bare, ok := expanded(n, 0)
	if !ok {
		d.fault(n, "%s is too deep, or an alias in it contains itself", key)
		return
	}
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	var again yaml.Node
	if err := e.Encode(bare); err != nil {
		d.fault(n, "%s cannot be read: %v", key, err)
		return
	}
	if err := yaml.Unmarshal(text.Bytes(), &again); err != nil || len(again.Content) == 0 {
		d.fault(n, "%s cannot be read: %v", key, err)
		return
	}
	v.SetString(text.String())
	if d.known.Foreign == nil {
		return
	}
	lines := make(map[int]int)
	places(again.Content[0], bare, lines)
	for _, fault := range d.known.Foreign(f.Tag.Get("yaml"), text.String(), d.dir) {
		at := *n
		if line, ok := lines[fault.Line]; ok {
			at.Line = line
		}
		d.fault(&at, "%s: %s", key, fault.Text)
	}
}

// expanded copies a node without anchors, aliases, comments and the flow style, so that
// each key has a line of its own. Lines are those of the file.
func expanded(n *yaml.Node, depth int) (*yaml.Node, bool) {
	n = resolve(n)
	if depth > deepest {
		return nil, false
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style &^ yaml.FlowStyle, Line: n.Line}
	for _, c := range n.Content {
		one, ok := expanded(c, depth+1)
		if !ok {
			return nil, false
		}
		out.Content = append(out.Content, one)
	}
	return out, true
}

// places notes which line of the file each line of the copy is.
func places(written, of *yaml.Node, lines map[int]int) {
	if _, known := lines[written.Line]; !known {
		lines[written.Line] = of.Line
	}
	for i := range min(len(written.Content), len(of.Content)) {
		places(written.Content[i], of.Content[i], lines)
	}
}
