package collectortest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// An Oddity is something that people have in a target, or a way in which they run it: a series
// that must tell it, and who knows the truth beside upkeep. Each domain has a table of them.
type Oddity struct {
	Name   string
	Series string  // name and labels, without the prefix of the domain and the label server
	Source string  // who is asked for the truth
	Truth  string  // the question; of Hand the figure itself, or Absent
	Within float64 // how far the series may be from the truth: a share of it, or of 1 where it is less
}

// Row returns a row of such a table.
func Row(name, series, source, truth string, within float64) Oddity {
	return Oddity{Name: name, Series: series, Source: source, Truth: truth, Within: within}
}

const (
	// Hand is the source of what the test itself has made so.
	Hand = "hand"

	// Absent is the truth of a series that must not be exported.
	Absent = "absent"
)

// A Source answers questions, each with a number.
type Source func(questions []string) (answers []string, err error)

// Odd returns what is not as the table says, in the text that collectors have written.
func Odd(prefix, text string, sources map[string]Source, table []Oddity) error {
	truths, err := ask(sources, table)
	if err != nil {
		return err
	}
	all := series(prefix, text)
	var wrong []error
	for i, o := range table {
		v, there := all[o.Series]
		if truths[i] == Absent {
			if there {
				wrong = append(wrong, fmt.Errorf("%s: %s is %v, want none", o.Name, o.Series, v))
			}
			continue
		}
		truth, err := strconv.ParseFloat(truths[i], 64)
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %s says %q to %s", o.Name, o.Source, truths[i], o.Truth))
		case !there:
			name, _, _ := strings.Cut(o.Series, "{")
			wrong = append(wrong, fmt.Errorf("%s: no %s, which %s says is %v; there are %q", o.Name, o.Series,
				o.Source, truth, slices.DeleteFunc(slices.Sorted(maps.Keys(all)),
					func(s string) bool { return !strings.HasPrefix(s, name+"{") })))
		case math.Abs(v-truth) > o.Within*max(1, math.Abs(truth)):
			wrong = append(wrong, fmt.Errorf("%s: %s is %v, %s says %v", o.Name, o.Series, v, o.Source, truth))
		}
	}
	return errors.Join(wrong...)
}

// ask puts all questions of a source at once.
func ask(sources map[string]Source, table []Oddity) ([]string, error) {
	truths := make([]string, len(table))
	questions := make(map[string][]string)
	for i, o := range table {
		if truths[i] = o.Truth; o.Source != Hand {
			questions[o.Source] = append(questions[o.Source], o.Truth)
		}
	}
	for name, asked := range questions {
		source := sources[name]
		if source == nil {
			return nil, fmt.Errorf("there is no source %q", name)
		}
		answers, err := source(asked)
		if err == nil && len(answers) != len(asked) {
			err = fmt.Errorf("%d answers to %d questions: %q", len(answers), len(asked), answers)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for i, o := range table {
			if o.Source == name {
				truths[i], answers = answers[0], answers[1:]
			}
		}
	}
	return truths, nil
}

// series returns the samples of an exposition by their names and labels.
func series(prefix, text string) map[string]float64 {
	all := make(map[string]float64)
	for line := range strings.Lines(text) {
		i := strings.LastIndexByte(line, ' ')
		if v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64); err == nil {
			name := strings.TrimPrefix(line[:i], prefix)
			all[strings.Replace(strings.Replace(name, `{server="s",`, "{", 1), `{server="s"}`, "", 1)] = v
		}
	}
	return all
}

// PSQL asks a database by PostgreSQL's own client: a question is an expression of SQL.
func PSQL(t testing.TB, address string) Source {
	t.Helper()
	return func(questions []string) ([]string, error) {
		var script strings.Builder
		for _, q := range questions {
			fmt.Fprintf(&script, "select (%s)::float8;\n", q)
		}
		c := exec.CommandContext(t.Context(), servertest.Client("psql"), "--no-psqlrc", "--quiet", "--no-align",
			"--tuples-only", "--set=ON_ERROR_STOP=1", address)
		c.Stdin = strings.NewReader(script.String())
		out, err := c.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), nil
	}
}

// RedisCLI asks a server by redis-cli: a question is a field of INFO, as used_memory or db0.keys.
// A field that the server does not have is absent.
func RedisCLI(t testing.TB, args ...string) Source {
	t.Helper()
	return func(questions []string) ([]string, error) {
		ask := exec.CommandContext(t.Context(), "redis-cli", append(args, "info", "everything")...)
		out, err := ask.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		fields := make(map[string]string)
		for line := range strings.Lines(string(out)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			fields[name] = value
			for part := range strings.SplitSeq(value, ",") {
				if key, v, ok := strings.Cut(part, "="); ok {
					fields[name+"."+key] = v
				}
			}
		}
		answers := make([]string, len(questions))
		for i, q := range questions {
			var there bool
			if answers[i], there = fields[q]; !there {
				answers[i] = Absent
			}
		}
		return answers, nil
	}
}
