package policy_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

func TestCheckParam(t *testing.T) {
	for _, tc := range []struct {
		kind      remediate.ParamType
		good, bad []string
	}{
		{remediate.Text, []string{"", "a", "a b\nc", "$x", "'; drop table x; --", "ü"}, []string{"a\x00", "\xff"}},
		{remediate.Name, []string{"a", "A b", `"`, strings.Repeat("n", 63)},
			[]string{"", strings.Repeat("n", 64), "a\x00b", "\xc3"}},
		{remediate.Int, []string{"0", "7", "007", "9223372036854775807"},
			[]string{"", "-1", "+1", "1.0", "1e3", " 1", "1_000", "0x10", "9223372036854775808"}},
		{remediate.Ratio, []string{"0", "1", "0.25", ".5", "1e-3", "1.0"},
			[]string{"", "-0.1", "1.1", "NaN", "Inf", "50%", "0x1p-2", "0.1.2", "1_0e-2"}},
		{remediate.Duration, []string{"0", "30s", "5m", "1h30m", "15d", "100ms"},
			[]string{"", "5", "5 m", "-5m", "1.5h", "five"}},
		{remediate.Bool, []string{"true", "false"}, []string{"", "yes", "1", "True"}},
		{"shape", nil, []string{"", "round"}},
	} {
		p := remediate.Param{Name: "p", Type: tc.kind}
		for _, v := range tc.good {
			if err := policy.Check(p, v); err != nil {
				t.Errorf("%s %q: %v", tc.kind, v, err)
			}
		}
		for _, v := range tc.bad {
			if err := policy.Check(p, v); err == nil || !strings.HasPrefix(err.Error(), `parameter "p" is "`) ||
				!strings.HasSuffix(err.Error(), " was expected") {
				t.Errorf("%s %q: %v", tc.kind, v, err)
			}
		}
	}
	if err := policy.Check(remediate.Param{Name: "p", Type: remediate.Int},
		strings.Repeat("x", 1<<20)); len(err.Error()) > 200 {
		t.Errorf("a long value makes an error of %d bytes", len(err.Error()))
	}
}

func TestSubstitute(t *testing.T) {
	have := map[string]string{"a": "1", "b_2": "$a", "ü": "${a}", "empty": ""}
	for _, tc := range []struct{ value, want, err string }{
		{"", "", ""},
		{"plain", "plain", ""},
		{"$a", "1", ""},
		{"x${a}y", "x1y", ""},
		{"$a$a-$a.", "11-1.", ""},
		{"$b_2", "$a", ""}, // what a label says is not looked at again
		{"${ü}$$${a}", "${a}$1", ""},
		{"$$a", "$a", ""},
		{"$$$$", "$$", ""},
		{"$b_2x", "", `the alert has no label "b_2x"`},
		{"$empty", "", `the alert has no label "empty"`},
		{"5$", "", "a $ is followed by no label"},
		{"$ a", "", "a $ is followed by no label"},
		{"$1", "", "a $ is followed by no label"},
		{"${a", "", "${a names no label"},
		{"${}", "", "names no label"},
		{"{{ $labels.a }}", "", `the alert has no label "labels"`},
	} {
		got, err := policy.Substitute(tc.value, have)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("Substitute(%q) = %q, %v; want %q %s", tc.value, got, err, tc.want, tc.err)
		}
	}
}

func TestBookCheck(t *testing.T) {
	if got := book(t).Check(); len(got) != 2 {
		t.Errorf("the book of the tests has a policy without a matcher and one with an unknown action: %v", got)
	}
	b := policy.Book{Actions: actions(), Policies: []policy.Policy{
		{Name: "p", Match: matchers(t, `a="b"`), Steps: []policy.Step{
			{},
			{Action: "postgres/vacum"},
			{Action: "redis/bgsave", With: map[string]string{"x": "1"}},
			{Action: "test/all", With: map[string]string{"cuont": "1", "count": "-1", "age": "$age", "note": "5 $"}},
			{Action: "postgres/vacuum", Subject: map[string]string{"index": "i", "table": "", "server": "${"}},
			{Action: "postgres/vacuum", Subject: map[string]string{"table": "$relation"}},
		}},
		{Name: "q", Match: matchers(t, `a="b"`)},
	}}
	want := []string{
		`policy "p", step 1: a step has no action`,
		`policy "p", step 2: unknown action "postgres/vacum"`,
		`policy "p", step 3: redis/bgsave has no parameter "x"; it has no parameters`,
		`policy "p", step 4: parameter "count" is "-1"; a whole number of at least 0 was expected`,
		`policy "p", step 4: test/all has no parameter "cuont"; expected one of note, name, count, share, age, force`,
		`policy "p", step 4: parameter "note": a $ is followed by no label; $label or ${label} was expected, or $$ for a dollar`,
		`policy "p", step 5: postgres/vacuum has no label "index" in its subject; expected one of server, table`,
		`policy "p", step 5: label "server": ${ names no label; ${label} was expected`,
		`policy "p", step 5: label "table" is ""; text that is not empty was expected: an empty subject never means all`,
		`policy "q" has no step`,
	}
	var got []string
	for _, err := range b.Check() {
		got = append(got, err.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// In a step that answers no alert a dollar is a dollar.
func TestCheckLiteral(t *testing.T) {
	s := policy.Step{Action: "test/all", Subject: map[string]string{"server": "$server"},
		With: map[string]string{"count": "$n", "age": "5m", "note": "5 $"}}
	got := s.Check(actions(), true)
	want := []policy.Mistake{{Key: "with", Name: "count",
		Text: `parameter "count" is "$n"; a whole number of at least 0 was expected`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.Subject["server"] = ""
	if got := s.Check(actions(), true); len(got) != 2 || got[0].Key != "subject" {
		t.Errorf("Check: %v", got)
	}
}

// Whatever a matcher and a label say, a policy matches as Alertmanager's own does,
// before and after it was written down.
func FuzzMatchers(f *testing.F) {
	f.Add(`a="b"`, "a", "b")
	f.Add(`a=~"b|c",d!=""`, "d", "")
	f.Add("a!~`x", "a", "\x00\xff")
	f.Add(`a="\"\\\n"`, "a", "\"\\\n")
	f.Add(`a=`, "b", "x")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		all, err := labels.ParseMatchers(text)
		if err != nil || len(all) == 0 {
			return
		}
		p := policy.Policy{Name: "p", Match: all}
		have := map[string]string{name: value}
		want := labels.Matchers(all).Matches(model.LabelSet{model.LabelName(name): model.LabelValue(value)})
		got, failing := p.Matches(have)
		if got != want || got != (failing == nil) {
			t.Fatalf("%s of %q=%q: %v, Alertmanager says %v; %v fails", text, name, value, got, want, failing)
		}
		written, err := p.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var again policy.Policy
		if err := again.UnmarshalJSON(written); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if after, _ := again.Matches(have); after != want {
			t.Errorf("%s matched %q=%q: %v; written down as %s it is %v", text, name, value, want, written, after)
		}
	})
}

// What a label says is data: it is put in as it is, and can neither name another
// label nor another parameter.
func FuzzParams(f *testing.F) {
	f.Add("x $a y ${b} $$", "1", "2")
	f.Add("$a", "$b", "secret")
	f.Add("${a}", "}", "${a}")
	f.Add("$a$b", "'; drop table x; --", "\x00")
	f.Add("{{ .Labels }} $a", "{{ printf `%s` . }}", "$(id)")
	f.Fuzz(func(t *testing.T, value, a, b string) {
		have := map[string]string{"server": "s", "a": a, "b": b}
		got, err := policy.Substitute(value, have)
		if want, ok := plainly(value, have); (err == nil) != ok || ok && got != want {
			t.Fatalf("Substitute(%q) with a=%q b=%q = %q, %v; want %q, %v", value, a, b, got, err, want, ok)
		}
		book := policy.Book{Actions: actions()}
		step := policy.Step{Action: "test/all", With: map[string]string{"note": value, "name": "$a", "count": "$b"}}
		subject, params, wrong := book.Fill(step, have)
		if len(subject) > 1 || len(subject) == 1 && subject["server"] != "s" {
			t.Errorf("subject %v", subject)
		}
		for name, v := range params {
			if _, given := step.With[name]; !given {
				t.Errorf("the parameter %q is missing", name)
			}
			if strings.ContainsRune(v, 0) || !utf8.ValidString(v) {
				t.Errorf("parameter %q is %q", name, v)
			}
		}
		if wrong == "" && (len(params) != 3 || params["note"] != got || params["name"] != a || params["count"] != b) {
			t.Errorf("params %v of note=%q a=%q b=%q", params, got, a, b)
		}
	})
}

// plainly is Substitute in the simplest words: cut at the labels, put together.
func plainly(value string, have map[string]string) (string, bool) {
	var b strings.Builder
	name := func(c byte) bool { return c == '_' || '0' <= c && c <= '9' || 'a' <= c|32 && c|32 <= 'z' }
	for i := 0; i < len(value); i++ {
		if value[i] != '$' {
			b.WriteByte(value[i])
			continue
		}
		i++
		end := i
		switch {
		case i == len(value):
			return "", false
		case value[i] == '$':
			b.WriteByte('$')
			continue
		case value[i] == '{':
			i++
			n := strings.IndexByte(value[i:], '}')
			if n < 0 || have[value[i:i+n]] == "" {
				return "", false
			}
			b.WriteString(have[value[i:i+n]])
			i += n
			continue
		case '0' <= value[i] && value[i] <= '9':
			return "", false
		}
		for end < len(value) && name(value[end]) {
			end++
		}
		if have[value[i:end]] == "" {
			return "", false
		}
		b.WriteString(have[value[i:end]])
		i = end - 1
	}
	return b.String(), true
}

// Over a random life of an incident one step is asked for at a time, none twice, and
// the same case gives the same decision.
func TestDecideProperties(t *testing.T) {
	b := book(t)
	r := rand.New(rand.NewPCG(1, 2))
	reasons := append(remediate.Reasons(), "backup", "")
	ends := []remediate.State{remediate.Resolved, remediate.Unresolved, remediate.Inconclusive, remediate.StateRefused,
		remediate.Rejected, remediate.Expired, remediate.Observed, remediate.Cancelled, remediate.Failed}
	for range 20_000 {
		c := dead()
		keys := make(map[string]bool)
		for i := range r.IntN(4) { // what a life before this configuration may have left
			p := past(r.IntN(5), ends[r.IntN(len(ends))], reasons[r.IntN(len(reasons))])
			p.Run, p.Policy = int64(i), []string{"dead rows", "watched"}[r.IntN(2)]
			c.History = append(c.History, p)
			if p.Policy == "dead rows" {
				keys["incident/7/dead rows/"+string(rune('0'+p.Step))] = true
			}
		}
		for range 10 {
			d := b.Decide(c)
			if diff := cmp.Diff(d, b.Decide(c)); diff != "" {
				t.Fatalf("decided twice:\n%s", diff)
			}
			if d.Request != nil && (d.Page || !d.Wait.IsZero()) || d.Page && !d.Wait.IsZero() || d.Why == "" {
				t.Fatalf("one thing at a time: %+v", d)
			}
			if d.Request == nil {
				break
			}
			if keys[d.Request.Key] {
				t.Fatalf("%s is asked for a second time; history %+v", d.Request.Key, c.History)
			}
			keys[d.Request.Key] = true
			c.History = append(c.History, policy.Past{
				Run: int64(len(c.History)), Policy: d.Request.Policy, Step: d.Request.Step, Action: d.Request.Action,
				State: ends[r.IntN(len(ends))], Reason: reasons[r.IntN(len(reasons))],
			})
		}
		if b.Decide(c).Request != nil {
			t.Fatalf("a chain of three asks on and on; history %+v", c.History)
		}
	}
}
