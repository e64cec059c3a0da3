package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	sight "github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
)

// fill gives every text of a value a name, and every list one element.
func fill(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(name)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 { // raw JSON, or a body
			text, _ := json.Marshal(name)
			v.SetBytes(text)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), name)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, name)
		fill(value, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
		if key.Kind() == reflect.String { // a text that is printed
			summary := reflect.New(v.Type().Key()).Elem()
			summary.SetString("summary")
			v.SetMapIndex(summary, value)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)))
			return
		}
		for _, field := range v.Fields() {
			if field.CanSet() {
				fill(field, name)
			}
		}
	default:
	}
}

// hostileServer answers every request with values in which every text is a name.
func hostileServer(t *testing.T, name *string, fails *bool) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, console.Prefix)
		answers := map[string]any{
			"/status": new(console.Status), "/runs": new([]console.Line), "/runs/7": new(console.RunDetails),
			"/policies": new([]console.PolicyLine), "/schedules": new(console.Calendar),
			"/dead_letters": new([]remediate.DeadLetter), "/dead_letters/7": new(remediate.DeadLetter),
			"/plans": new(engine.Preview), "/journal/verify": new(console.Check), "/pauses": new(console.PauseLine),
			"/runs/7/approve": new(console.Stopped), "/targets": new([]console.TargetLine),
			"/actions": new([]console.ActionLine),
			"/look":    new(sight.Report),
		}
		v := answers[path]
		if *fails || v == nil {
			v = &struct{ Error, Reason string }{}
			w.WriteHeader(http.StatusConflict)
		}
		fill(reflect.ValueOf(v).Elem(), *name)
		_ = json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(s.Close)
	return s
}

// A name, a label, a reason or an error of the server changes nothing of a terminal but the
// letters that show it, and no line is its own.
func TestTerminalObeysNoName(t *testing.T) {
	var name string
	var fails bool
	s := hostileServer(t, &name, &fails)
	t.Setenv("UPKEEP_TOKEN", "")
	say := func(args []string) string {
		var out, said bytes.Buffer
		execute(append(args, "--url", s.URL), &out, &said)
		return out.String() + said.String()
	}
	commands := [][]string{{"status"}, {"look"}, {"alerts"}, {"inbox"}, {"inbox", "7"}, {"runs"}, {"show", "7"},
		{"show", "7", "--markdown"}, {"policy", "list"}, {"schedule"}, {"plan", "a/b", "server=x"}, {"journal", "verify"},
		{"approve", "7"}, {"pause", "all", "--why", "x"}, {"targets"}, {"actions"}, {"runs", "-o", "wide"}, {"status", "-v"}}
	for _, command := range commands {
		for _, fails = range []bool{false, true} {
			name = "name"
			lines := strings.Count(say(command), "\n")
			if lines == 0 {
				t.Errorf("%v says nothing", command)
			}
			n := 0
			visibletest.Names(t, func(hostile string) {
				if n++; n%5 != 0 && len(hostile) > 3 { // each takes a request: a fifth of the long ones
					return
				}
				name = hostile
				said := say(command)
				visibletest.Terminal(t, said)
				if is := strings.Count(said, "\n"); is != lines && command[0] != "inbox" {
					t.Errorf("%v: %q makes %d lines of %d:\n%.1000s", command, hostile, is, lines, said)
				}
			})
			for _, form := range []string{"json", "yaml"} {
				visibletest.Terminal(t, say(append(slices.Clone(command), "-o", form)))
			}
		}
	}
}
