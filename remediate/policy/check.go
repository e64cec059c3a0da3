package policy

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/remediate"
)

// longestName is how many bytes a name may have: PostgreSQL cuts what is longer,
// and would then work on something else.
const longestName = 63

// Check returns what is wrong with a value for a parameter, or nil.
func Check(p remediate.Param, value string) error {
	if want := wrong(p.Type, value); want != "" {
		return fmt.Errorf("parameter %q is %s; %s was expected", p.Name, shown(value), want)
	}
	return nil
}

// wrong returns a description of the expected format, or "" if the value is valid.
func wrong(t remediate.ParamType, value string) string {
	text := utf8.ValidString(value) && !strings.ContainsRune(value, 0)
	var ok bool
	var want string
	switch t {
	case remediate.Text:
		ok, want = text, "text without a zero byte"
	case remediate.Name:
		ok, want = text && value != "" && len(value) <= longestName, fmt.Sprintf("a name of 1 to %d bytes", longestName)
	case remediate.Int:
		// ParseUint takes digits only: no sign, no space, no underscore.
		_, err := strconv.ParseUint(value, 10, 63)
		ok, want = err == nil, "a whole number of at least 0"
	case remediate.Ratio:
		v, err := strconv.ParseFloat(value, 64)
		ok, want = err == nil && v >= 0 && v <= 1 && strings.Trim(value, "0123456789.eE+-") == "",
			"a number from 0 to 1"
	case remediate.Duration:
		_, err := model.ParseDuration(value)
		ok, want = err == nil, "a duration like 30s, 5m or 1h30m"
	case remediate.Bool:
		ok, want = value == "true" || value == "false", "true or false"
	default:
		want = fmt.Sprintf("a known type, not %q,", t)
	}
	if ok {
		return ""
	}
	return want
}

// shown quotes a value for people and shortens it.
func shown(value string) string {
	const most = 80
	if len(value) > most {
		return strconv.Quote(value[:most]) + "…"
	}
	return strconv.Quote(value)
}

// A part of a value is literal text, or the label that it is taken from.
type part struct {
	text  string
	label bool
}

// parts takes a value apart: $label and ${label} are labels of the alert, $$ is a
// dollar, and everything else is literal. It is not a language: what a label
// says is put in as it is and never looked at for more.
func parts(value string) (all []part, err error) {
	for value != "" {
		before, after, dollar := strings.Cut(value, "$")
		if before != "" {
			all = append(all, part{text: before})
		}
		if !dollar {
			break
		}
		var p part
		if p, value, err = reference(after); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// reference reads what follows a dollar.
func reference(after string) (p part, rest string, err error) {
	if rest, ok := strings.CutPrefix(after, "$"); ok {
		return part{text: "$"}, rest, nil
	}
	if inner, ok := strings.CutPrefix(after, "{"); ok {
		name, rest, ok := strings.Cut(inner, "}")
		if !ok || name == "" {
			return p, "", fmt.Errorf("${%s names no label; ${label} was expected", inner)
		}
		return part{text: name, label: true}, rest, nil
	}
	end := 0
	for end < len(after) && inName(after[end], end == 0) {
		end++
	}
	if end == 0 {
		return p, "", fmt.Errorf("a $ is followed by no label; $label or ${label} was expected, or $$ for a dollar")
	}
	return part{text: after[:end], label: true}, after[end:], nil
}

// inName reports whether a byte is valid in the name of a label.
func inName(c byte, first bool) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || !first && '0' <= c && c <= '9'
}

// fixed returns a value that names no label of an alert.
func fixed(value string, literal bool) (string, bool, error) {
	if literal {
		return value, true, nil
	}
	all, err := parts(value)
	if err != nil || slices.ContainsFunc(all, func(p part) bool { return p.label }) {
		return "", false, err
	}
	return join(all, nil), true, nil
}

func join(all []part, have map[string]string) string {
	var b strings.Builder
	for _, p := range all {
		if p.label {
			b.WriteString(have[p.text])
			continue
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// Substitute puts an alert's labels into a value. A label that is not there or is
// empty is an error: what was to be named by it would not be.
func Substitute(value string, have map[string]string) (string, error) {
	all, err := parts(value)
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if p.label && have[p.text] == "" {
			return "", fmt.Errorf("the alert has no label %q", p.text)
		}
	}
	return join(all, have), nil
}

// A Mistake is what is wrong with a step, and where: Key is "action", "subject" or
// "with", and Name the label or parameter in it.
type Mistake struct {
	Key, Name string
	Text      string
}

// Check returns everything that is wrong with a step whatever the alert. The step of
// a schedule has no alert: everything is literal, and a dollar is a dollar.
func (s Step) Check(actions map[string]Action, literal bool) (all []Mistake) {
	if s.Action == "" {
		return []Mistake{{"action", "", "a step has no action"}}
	}
	a, ok := actions[s.Action]
	if !ok {
		return []Mistake{{"action", "", fmt.Sprintf("unknown action %q", s.Action)}}
	}
	note := func(key, name, text string) {
		if text != "" {
			all = append(all, Mistake{key, name, text})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Subject)) {
		note("subject", name, a.subjectMistake(name, s.Subject[name], literal))
	}
	for _, name := range slices.Sorted(maps.Keys(s.With)) {
		note("with", name, a.paramMistake(name, s.With[name], literal))
	}
	return all
}

func (a Action) subjectMistake(name, value string, literal bool) string {
	if !slices.Contains(a.Subject, name) {
		return fmt.Sprintf("%s has no label %q in its subject; expected one of %s", a.Name, name,
			strings.Join(a.Subject, ", "))
	}
	got, ok, err := fixed(value, literal)
	switch {
	case err != nil:
		return fmt.Sprintf("label %q: %v", name, err)
	case ok && (got == "" || wrong(remediate.Text, got) != ""):
		return fmt.Sprintf("label %q is %s; text that is not empty was expected: an empty subject never means all",
			name, shown(got))
	}
	return ""
}

func (a Action) paramMistake(name, value string, literal bool) string {
	i := slices.IndexFunc(a.Params, func(p remediate.Param) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range a.Params {
			names = append(names, p.Name)
		}
		if len(names) == 0 {
			return fmt.Sprintf("%s has no parameter %q; it has no parameters", a.Name, name)
		}
		return fmt.Sprintf("%s has no parameter %q; expected one of %s", a.Name, name, strings.Join(names, ", "))
	}
	got, ok, err := fixed(value, literal)
	switch {
	case err != nil:
		return fmt.Sprintf("parameter %q: %v", name, err)
	case !ok:
		return ""
	}
	if err := Check(a.Params[i], got); err != nil {
		return err.Error()
	}
	return ""
}

// Check returns everything that is wrong with the book whatever the alert.
func (b Book) Check() (all []error) {
	for _, p := range b.Policies {
		if len(p.Match) == 0 {
			all = append(all, fmt.Errorf("policy %q has no matcher", p.Name))
		}
		if len(p.Steps) == 0 {
			all = append(all, fmt.Errorf("policy %q has no step", p.Name))
		}
		for i, s := range p.Steps {
			for _, m := range s.Check(b.Actions, false) {
				all = append(all, fmt.Errorf("policy %q, step %d: %s", p.Name, i+1, m.Text))
			}
		}
	}
	return all
}

// finite returns nil for what is no number that something could be compared with.
func finite(v *float64) *float64 {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return nil
	}
	return v
}
