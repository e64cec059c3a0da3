package answer

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// YAML writes a value as YAML, with the keys that it has in JSON and in their order.
func YAML(w io.Writer, v any) error {
	var text bytes.Buffer
	if err := JSON(&text, v); err != nil {
		return err
	}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(escaped(text.String())), &n); err != nil { // JSON is YAML
		return err
	}
	block(&n)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&n); err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	_, err := io.WriteString(w, escaped(b.String()))
	return err
}

// block writes lists and objects on lines of their own. A text stays between quotes where a letter of it is
// escaped.
func block(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && visible.Text(n.Value) != n.Value {
		n.Style = yaml.DoubleQuotedStyle
	}
	if n.Kind != yaml.ScalarNode && len(n.Content) == 0 {
		n.Style = yaml.FlowStyle // [] and {}
	}
	for _, of := range n.Content {
		block(of)
	}
}

// escaped writes letters that are only shown, which are between quotes all, as YAML escapes them.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || visible.Printable(r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, `\U%08x`, r)
	}
	return b.String()
}
