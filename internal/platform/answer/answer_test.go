package answer_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/answer"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
)

// Part is embedded.
type Part struct {
	Names []string   `json:"names"`
	Left  []string   `json:"left,omitempty"`
	Deep  *Part      `json:"deep,omitempty"`
	Rows  [][]string `json:"rows"`
}

type whole struct {
	Part
	At     time.Time       `json:"at,omitzero"`
	Raw    json.RawMessage `json:"raw,omitempty"`
	Body   []byte          `json:"body,omitempty"`
	By     map[string]Part `json:"by"`
	Any    any             `json:"any"`
	hidden []string
}

// An empty list is [], at any depth; what was given is not changed.
func TestLists(t *testing.T) {
	v := whole{Part: Part{Deep: &Part{}, Rows: [][]string{nil}}, By: map[string]Part{"a": {}}, Any: []Part(nil),
		Raw: json.RawMessage(`{"b":null}`), hidden: nil}
	for name, test := range map[string]struct {
		write func() (string, error)
		want  string
	}{
		"line": {func() (string, error) {
			var b bytes.Buffer
			err := answer.Line(&b, v)
			return b.String(), err
		}, `{"names":[],"deep":{"names":[],"rows":[]},"rows":[[]],"raw":{"b":null},"by":{"a":{"names":[],"rows":[]}},` +
			`"any":[]}` + "\n"},
		"yaml": {func() (string, error) {
			var b bytes.Buffer
			err := answer.YAML(&b, []any{v.Deep, 1.5, int64(1) << 60, "true", "", nil, "a: b", "two\nlines", map[string]int{}})
			return b.String(), err
		}, "- names: []\n  rows: []\n- 1.5\n- 1152921504606846976\n- \"true\"\n- \"\"\n- null\n- 'a: b'\n" +
			"- \"two\\nlines\"\n- {}\n"},
		"nothing": {func() (string, error) {
			var b bytes.Buffer
			err := answer.JSON(&b, nil)
			return b.String(), err
		}, "null\n"},
		"json": {func() (string, error) {
			var b bytes.Buffer
			err := answer.JSON(&b, map[string]any{"a": []int(nil), "b": "<&>"})
			return b.String(), err
		}, "{\n  \"a\": [],\n  \"b\": \"<&>\"\n}\n"},
	} {
		got, err := test.write()
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	if v.Names != nil || v.Deep.Names != nil || v.Rows[0] != nil || v.By["a"].Names != nil || v.Any.([]Part) != nil {
		t.Errorf("the value was changed: %+v", v)
	}
}

// A name has the same meaning in YAML that a terminal shows, and changes nothing of the terminal.
func TestNamesInYAML(t *testing.T) {
	visibletest.Names(t, func(name string) {
		var b, shown bytes.Buffer
		if err := answer.YAML(&b, map[string]string{"name": name}); err != nil {
			t.Fatal(err)
		}
		w := visible.NewWriter(&shown)
		if _, err := w.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		visibletest.Terminal(t, shown.String())
		var want, got map[string]string
		text, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(shown.Bytes(), &got); err != nil || got["name"] != want["name"] {
			t.Errorf("%q: %v, %q in %s", name, err, got["name"], shown.String())
		}
	})
}
