// Package answer writes values for programs, as JSON or YAML. A list that is empty is [] and never null, and so
// is a map, {}: a program need not tell one from the other.
package answer

import (
	"encoding"
	"encoding/json"
	"io"
	"reflect"
)

// JSON writes a value with one field a line.
func JSON(w io.Writer, v any) error { return write(w, v, "  ") }

// Line writes a value in one line.
func Line(w io.Writer, v any) error { return write(w, v, "") }

func write(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	return e.Encode(Lists(v))
}

// Lists returns a copy of a value in which every list and every map that is nil is empty. The value itself is only
// read: it may be part of what others read meanwhile.
func Lists(v any) any {
	if v == nil {
		return nil
	}
	return lists(reflect.ValueOf(v)).Interface()
}

func lists(v reflect.Value) reflect.Value {
	if !v.IsValid() || writesItself(v.Type()) {
		return v
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		made := reflect.New(v.Type().Elem())
		made.Elem().Set(lists(v.Elem()))
		return made
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		made := reflect.New(v.Type()).Elem()
		made.Set(lists(v.Elem()))
		return made
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 { // a text in base64
			return v
		}
		made := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			made.Index(i).Set(lists(v.Index(i)))
		}
		return made
	case reflect.Map:
		made := reflect.MakeMapWithSize(v.Type(), v.Len())
		for key, value := range v.Seq2() {
			made.SetMapIndex(key, lists(value))
		}
		return made
	case reflect.Struct:
		made := reflect.New(v.Type()).Elem()
		made.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				made.Field(i).Set(lists(v.Field(i)))
			}
		}
		return made
	default:
		return v
	}
}

// writesItself reports whether a type has its own form.
func writesItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}
