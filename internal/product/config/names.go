package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// fields are those of a struct and of what is embedded in it: all that have a key. The
// terms of a schedule are fewer, and have defaults of their own.
func fields(t reflect.Type) (all []reflect.StructField) {
	for _, f := range reflect.VisibleFields(t) {
		has := f.Tag.Get("yaml") != ""
		if has && len(f.Index) > 1 && t.Field(f.Index[0]).Tag.Get("terms") == "schedule" {
			f.Tag, has = remediate.OfSchedule(f.Tag)
		}
		if has {
			all = append(all, f)
		}
	}
	return all
}

func field(t reflect.Type, key string) (reflect.StructField, bool) {
	for _, f := range fields(t) {
		if f.Tag.Get("yaml") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func keys(t reflect.Type) (all []string) {
	for _, f := range fields(t) {
		all = append(all, f.Tag.Get("yaml"))
	}
	return all
}

// expected says what would have been right: the nearest name, or all of them.
func expected(got, kind string, names []string) string {
	if len(names) == 0 {
		return "no " + kind + " are defined"
	}
	if best := Nearest(got, names); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "expected one of " + strings.Join(names, ", ")
}

// Nearest returns the name that differs least, by two letters at most, or "".
func Nearest(got string, names []string) (best string) {
	least := 3
	for _, n := range names {
		if distance := edits(got, n); distance < least {
			best, least = n, distance
		}
	}
	return best
}

// edits counts the letters that must be put in, left out or changed.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := above
			if a[i] != b[j] {
				change++
			}
			above = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
