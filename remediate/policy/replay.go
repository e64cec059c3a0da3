package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// A Record is what a decision or a verdict was made of, and what it was. It is
// the Case of a journal's entry.
type Record struct {
	Kind     string    `json:"kind"`           // KindDecide or KindJudge
	Book     string    `json:"book,omitempty"` // the hash of the book that decided
	Case     *Case     `json:"case,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
	Evidence *Evidence `json:"evidence,omitempty"`
	Verdict  *Verdict  `json:"verdict,omitempty"`
}

// The kinds of records.
const (
	KindDecide = "decide"
	KindJudge  = "judge"
)

// bare is Evidence without its methods.
type bare Evidence

// MarshalJSON leaves out what is no number, which JSON cannot say: Judge holds it
// for not known in either form.
func (e Evidence) MarshalJSON() ([]byte, error) { return json.Marshal(bare(e.finite())) }

// UnmarshalJSON reads what MarshalJSON has written, by this version and by those before, in
// whose journals Evaluable has the key told.
func (e *Evidence) UnmarshalJSON(text []byte) error {
	var read struct {
		bare
		Old bool `json:"told"`
	}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*e = Evidence(read.bare)
	e.Evaluable = e.Evaluable || read.Old
	return nil
}

// Replay decides or judges again and returns an error where it comes to something
// else. Books are found by their hash.
func Replay(books map[string]Book, r Record) error {
	switch r.Kind {
	case KindDecide:
		if r.Case == nil || r.Decision == nil {
			return errors.New("the record of a decision holds no case or no decision")
		}
		b, ok := books[r.Book]
		if !ok {
			return fmt.Errorf("the policies %s, which decided, are not kept", r.Book)
		}
		if now := b.Hash(); now != r.Book {
			return fmt.Errorf("the policies that are kept as %s are %s", r.Book, now)
		}
		return compare("decision", *r.Decision, b.Decide(*r.Case))
	case KindJudge:
		if r.Evidence == nil || r.Verdict == nil {
			return errors.New("the record of a verdict holds no evidence or no verdict")
		}
		return compare("verdict", *r.Verdict, Judge(*r.Evidence))
	default:
		return fmt.Errorf("there is no kind of record %q", r.Kind)
	}
}

// compare says what differs, as it is written.
func compare(what string, recorded, now any) error {
	a, err := spread(recorded)
	if err != nil {
		return err
	}
	b, err := spread(now)
	if err != nil {
		return err
	}
	return differences(what, a, b)
}

// spread makes maps, lists and plain values of a value.
func spread(v any) (all any, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a float64 would round what is long
	err = d.Decode(&all)
	return all, err
}

func differences(path string, a, b any) error {
	left, isMap := a.(map[string]any)
	right, both := b.(map[string]any)
	if !isMap || !both {
		if reflect.DeepEqual(a, b) {
			return nil
		}
		return fmt.Errorf("%s was %s and is %s now", path, written(a), written(b))
	}
	names := maps.Clone(left)
	maps.Copy(names, right)
	var all []error
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, differences(path+"."+name, left[name], right[name]))
	}
	return errors.Join(all...)
}

func written(v any) string {
	if v == nil {
		return "not there"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
