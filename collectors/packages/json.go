package packages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// decode reads JSON that another program wrote. Its errors are in the words of the file: a line, and the keys as
// they are written there.
func decode(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	if err == nil {
		return nil
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("it is empty")
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		if int(e.Offset) >= len(text) {
			return errors.New("it ends in the middle of its JSON; it was not written to its end, or was cut")
		}
		return fmt.Errorf("it is no JSON: line %d: %w", lineOf(text, e.Offset), err)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := "the whole"
		if e.Field != "" {
			what = quoted(spelled(text, e.Field))
		}
		value, _, _ := strings.Cut(e.Value, " ") // number 1.5
		return fmt.Errorf("line %d: %s is %s, and %s was expected", lineOf(text, e.Offset), what, a(value),
			a(kindOf(e.Type)))
	}
	if e, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Errorf("%s is no time; one like 2026-01-31T12:00:00Z was expected", quoted(e.Value))
	}
	return errors.New("one of its times is no text; one like 2026-01-31T12:00:00Z was expected")
}

// quoted returns what a report says in its own words, so that it can be shown.
func quoted(text string) string {
	const most = 300
	return strings.TrimSpace(fmt.Sprintf("%.*s", most, visible.Text(text)))
}

// lineOf returns the line of an offset, from 1.
func lineOf(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(max(offset-1, 0), int64(len(text)))], []byte("\n"))
}

// spelled returns the keys of a path as the file writes them: reading ignores their case.
func spelled(text []byte, path string) string {
	keys := strings.Split(path, ".")
	for i, key := range keys {
		if at := regexp.MustCompile(`(?i)"(` + regexp.QuoteMeta(key) + `)"\s*:`).FindSubmatch(text); at != nil {
			keys[i] = string(at[1])
		}
	}
	return strings.Join(keys, ".")
}

// kindOf returns the name that JSON has for what a field takes.
func kindOf(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Map, reflect.Struct:
		return "object"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	default:
		return "number"
	}
}

// a writes a kind of JSON value in words.
func a(kind string) string {
	switch kind {
	case "array":
		return "a list"
	case "object":
		return "an object with keys"
	case "string":
		return "text"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}
