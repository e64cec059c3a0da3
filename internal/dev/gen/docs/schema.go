package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
)

// answers are what the commands write for programs, by command. Some write another answer for other arguments.
func answers() map[string][]reflect.Type {
	stopped := one(reflect.TypeFor[console.Stopped]())
	details := reflect.TypeFor[console.RunDetails]()
	run := []reflect.Type{details, reflect.TypeFor[remediate.Run]()} // that is followed; with --detach
	policy := one(reflect.TypeFor[struct {
		Policy string `json:"policy"`
	}]())
	check, review := one(reflect.TypeFor[console.Check]()), one(reflect.TypeFor[report.Report]())
	return map[string][]reflect.Type{
		"actions":        {reflect.TypeFor[[]console.ActionLine](), reflect.TypeFor[console.ActionLine]()},
		"alerts":         one(reflect.TypeFor[[]remediate.Incident]()),
		"approve":        stopped,
		"cancel":         stopped,
		"forecast":       one(reflect.TypeFor[[]forecast.Row]()),
		"inbox":          {reflect.TypeFor[console.InboxList](), reflect.TypeFor[remediate.DeadLetter]()},
		"journal list":   one(reflect.TypeFor[[]remediate.Entry]()),
		"journal replay": check,
		"journal verify": check,
		"login":          one(reflect.TypeFor[portal.LoginLink]()),
		"logs top":       one(reflect.TypeFor[map[string]logs.Report]()),
		"look":           one(reflect.TypeFor[look.Report]()),
		"pause":          one(reflect.TypeFor[remediate.Pause]()),
		"plan":           one(reflect.TypeFor[engine.Preview]()),
		"policy close":   policy,
		"policy list":    one(reflect.TypeFor[[]console.PolicyLine]()),
		"policy promote": policy,
		"policy demote":  policy,
		"reject":         stopped,
		"report month":   review,
		"report quarter": review,
		"resume": one(reflect.TypeFor[struct {
			Scope string `json:"scope"`
		}]()),
		"retry":    run,
		"rights":   one(reflect.TypeFor[[]rights.Need]()),
		"run":      run,
		"runs":     one(reflect.TypeFor[[]console.Line]()),
		"schedule": one(reflect.TypeFor[console.Calendar]()),
		"show":     one(details),
		"status":   one(reflect.TypeFor[console.Status]()),
		"targets":  one(reflect.TypeFor[[]console.TargetLine]()),
		"version":  one(reflect.TypeFor[console.Build]()),
	}
}

func one(t reflect.Type) []reflect.Type { return []reflect.Type{t} }

// schemas returns a JSON schema for each answer, by file.
func schemas() (map[string]string, error) {
	files := make(map[string]string)
	for command, of := range answers() {
		s, err := schema(of...)
		if err != nil {
			return nil, fmt.Errorf("schema of upkeep %s: %w", command, err)
		}
		s.Schema = "https://json-schema.org/draft/2020-12/schema"
		s.Title = "What upkeep " + command + " -o json writes"
		text, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return nil, err
		}
		files["docs/schema/"+strings.ReplaceAll(command, " ", "_")+".json"] = string(text) + "\n"
	}
	return files, nil
}

// schema describes an answer that is of one of some types.
func schema(types ...reflect.Type) (*jsonschema.Schema, error) {
	if len(types) == 1 {
		return typeSchema(types[0])
	}
	s := new(jsonschema.Schema)
	for _, of := range types {
		alternative, err := typeSchema(of)
		if err != nil {
			return nil, err
		}
		s.AnyOf = append(s.AnyOf, alternative)
	}
	return s, nil
}

// typeSchema describes a type as it is written: its lists are never null, and a later version may add properties.
func typeSchema(of reflect.Type) (*jsonschema.Schema, error) {
	s, err := jsonschema.ForType(of, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time"},
		reflect.TypeFor[time.Duration]():   {Type: "integer", Description: "nanoseconds"},
		reflect.TypeFor[json.RawMessage](): {Description: "any value"},
		reflect.TypeFor[[]byte]():          {Type: "string", ContentEncoding: "base64"},
		reflect.TypeFor[remediate.State](): names(remediate.States()),
		reflect.TypeFor[remediate.Mode]():  names([]remediate.Mode{remediate.Observe, remediate.Ask, remediate.Auto}),
	}})
	if err == nil {
		written(s)
	}
	return s, err
}

// names is the schema of a text that is one of some.
func names[T ~string](all []T) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, name := range all {
		s.Enum = append(s.Enum, string(name))
	}
	return s
}

// written makes a schema one of what is written.
func written(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Types) == 2 && s.Types[1] == "array" {
		s.Type, s.Types = "array", nil
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Not != nil {
		s.AdditionalProperties = nil
	}
	written(s.Items)
	written(s.AdditionalProperties)
	for _, property := range s.Properties {
		written(property)
	}
}
