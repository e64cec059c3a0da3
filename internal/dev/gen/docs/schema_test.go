package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/answer"
)

// always are the times that every answer has, by type and field.
func always() []string {
	return []string{"remediate.Run.Created", "remediate.Run.Changed", "remediate.Entry.At", "remediate.Incident.Opened",
		"remediate.Incident.Seen", "remediate.DeadLetter.Received", "engine.Stuck.Since", "journal.Checkpoint.Written",
		"schedule.Occurrence.At", "schedule.Coming.At", "report.Report.From", "report.Report.To", "report.Report.Until",
		"report.Report.Made"}
}

// times calls f with each time of a type and where it is.
func times(of reflect.Type, f func(name, tag string)) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		times(of.Elem(), f)
	case reflect.Struct:
		for i := range of.NumField() {
			field := of.Field(i)
			switch {
			case field.Type == reflect.TypeFor[time.Time]():
				f(of.String()+"."+field.Name, field.Tag.Get("json"))
			case field.IsExported():
				times(field.Type, f)
			}
		}
	default:
	}
}

// A time that may not be known is left out of an answer where it is not.
func TestNoZeroTimes(t *testing.T) {
	known := make(map[string]bool)
	for command, all := range answers() {
		for _, of := range all {
			times(of, func(name, tag string) {
				known[name] = true
				if tag != "-" && !strings.Contains(tag, "omitzero") && !slices.Contains(always(), name) {
					t.Errorf("upkeep %s: %s has no omitzero", command, name)
				}
			})
		}
	}
	for _, name := range always() {
		if !known[name] {
			t.Errorf("%s is in no answer", name)
		}
	}
}

// The smallest answer, in which every list is empty, is as its schema says: no list is null.
func TestSmallestAnswersAreValid(t *testing.T) {
	for command, all := range answers() {
		s, err := schema(all...)
		if err != nil {
			t.Fatal(command, err)
		}
		resolved, err := s.Resolve(nil)
		if err != nil {
			t.Fatal(command, err)
		}
		for _, of := range all {
			value := reflect.New(of).Elem()
			if of.Kind() == reflect.Slice {
				value.Set(reflect.MakeSlice(of, 1, 1))
			}
			fill(value)
			if err := resolved.Validate(read(t, answer.Lists(value.Interface()))); err != nil {
				t.Errorf("upkeep %s: %s: %v", command, of, err)
			}
		}
		if err := resolved.Validate("a text"); err == nil {
			t.Errorf("upkeep %s: its schema takes anything", command)
		}
	}
}

// fill gives every text that has a schema of its own a value of it.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.String:
		switch v.Type().Name() {
		case "State":
			v.SetString("resolved")
		case "Mode":
			v.SetString("ask")
		}
	default:
	}
}

// read returns a value as a program reads it.
func read(t *testing.T, v any) (is any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &is); err != nil {
		t.Fatal(err)
	}
	return is
}

func TestSchemaOfLists(t *testing.T) {
	s, err := schema(reflect.TypeFor[struct {
		Names []string  `json:"names"`
		Most  *float64  `json:"most"`
		At    time.Time `json:"at,omitzero"`
	}]())
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, valid := range map[string]bool{`{"names":[],"most":null}`: true, `{"names":null,"most":1}`: false,
		`{"names":["a"],"most":1.5,"at":"2026-11-30T03:00:00Z","new":{}}`: true, `{"most":1}`: false, `{"names":[1],"most":1}`: false} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(v); (err == nil) != valid {
			t.Errorf("%s: %v", text, err)
		}
	}
	if p := s.Properties["at"]; p.Format != "date-time" || slices.Contains(s.Required, "at") {
		t.Errorf("%+v", p)
	}
}
