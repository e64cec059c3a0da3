package visible

import (
	"bytes"
	"encoding/json"
)

// JSON writes every name and text in a JSON value by Text, so that a program that prints
// parts of it prints no line that is not its own.
func JSON(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a number stays as it is
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(shown(v))
}

func shown(v any) any {
	switch v := v.(type) {
	case string:
		return Text(v)
	case []any:
		for i := range v {
			v[i] = shown(v[i])
		}
	case map[string]any:
		for name, value := range v {
			if is := Text(name); is != name {
				delete(v, name)
				v[is] = shown(value)
				continue
			}
			v[name] = shown(value)
		}
	}
	return v
}
