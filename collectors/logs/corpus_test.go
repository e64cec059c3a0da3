package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/ai-micro-service/upkeep/collectors/logs/trace"
	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// An example is a shape of lines of the corpus, with what is to be read in it.
//
// The files of the corpus are archives. The name of a member is that of a logger and what
// it wrote. A member begins with one word and a value a line, and behind an empty line are
// the lines of the service; ␛ is escape.
//
//	level     the highest of the lines: none, debug, info, warning or error
//	template  of an error; once for each error
//	endpoint  of a request
//	duration  of a request
//	fields    settings that differ from the defaults: path=req.url duration=took unit=s
type example struct {
	file, name string
	level      string
	templates  []string
	endpoint   string
	duration   string
	fields     Fields
	lines      []string
}

// examples reads the corpus.
func examples(t *testing.T, pattern string) (all []example) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "corpus", pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			e := example{file: filepath.Base(file), name: f.Name, fields: names()}
			head, lines, ok := strings.Cut(string(f.Data), "\n\n")
			if !ok {
				t.Fatalf("%s: %s has no lines", file, f.Name)
			}
			for line := range strings.SplitSeq(head, "\n") {
				e.set(t, line)
			}
			e.lines = strings.Split(strings.TrimSuffix(strings.ReplaceAll(lines, "␛", "\x1b"), "\n"), "\n")
			all = append(all, e)
		}
	}
	return all
}

func (e *example) set(t *testing.T, line string) {
	t.Helper()
	word, value, _ := strings.Cut(line, " ")
	switch word {
	case "level":
		e.level = value
	case "template":
		e.templates = append(e.templates, value)
	case "endpoint":
		e.endpoint = value
	case "duration":
		e.duration = value
	case "fields":
		for _, setting := range strings.Fields(value) {
			name, to, _ := strings.Cut(setting, "=")
			at := map[string]*string{"level": &e.fields.Level, "message": &e.fields.Message, "path": &e.fields.Path,
				"duration": &e.fields.Duration, "unit": &e.fields.Unit}[name]
			if at == nil {
				t.Fatalf("%s: %s: unknown setting %s", e.file, e.name, name)
			}
			*at = to
		}
	default:
		t.Fatalf("%s: %s: unknown word %q", e.file, e.name, word)
	}
	if e.level != "error" && len(e.templates) > 0 {
		t.Fatalf("%s: %s: a template and no error", e.file, e.name)
	}
}

// driver writes lines as Docker's json-file driver does.
func driver(lines []string) []byte {
	var b bytes.Buffer
	for _, line := range lines {
		e := json.NewEncoder(&b)
		b.WriteString(`{"log":`)
		_ = e.Encode(line + "\n") // a string
		b.Truncate(b.Len() - 1)
		b.WriteString(`,"stream":"stderr","time":"2026-11-30T10:00:00.123456789Z"}` + "\n")
	}
	return b.Bytes()
}

// read returns what is read of an example. Its lines are read twice, as the second time
// their shape is known.
func (e *example) read(t *testing.T) example {
	t.Helper()
	c := counter{reader: reader{fields: e.fields}}
	got := example{level: "none"}
	for round := range 2 {
		got = example{level: "none"}
		c.tally = newTally(1000)
		worst := words.Unleveled
		var rec record
		for line := range bytes.Lines(driver(e.lines)) {
			if !c.reader.line(bytes.TrimSuffix(line, []byte{'\n'}), &rec) {
				t.Fatalf("%s: %s: %q is no line", e.file, e.name, line)
			}
			worst = max(worst, rec.severity)
			c.tally.add(&rec)
			if rec.timed {
				got.duration = fmt.Sprint(time.Duration(math.Round(rec.duration*1e3)) * time.Microsecond)
			}
		}
		c.finish()
		for _, entry := range c.tally.templates.Sorted() {
			got.templates = append(got.templates, slices.Repeat([]string{entry.Name}, int(entry.Count))...) //nolint:gosec // few
		}
		for _, entry := range c.tally.endpoints.Sorted() {
			got.endpoint = entry.Name
		}
		if len(got.templates) > 0 {
			worst = words.LevelError
		}
		got.level = [...]string{"none", "debug", "info", "warning", "error"}[worst]
		if round == 0 {
			c.reader.traces = [2]trace.Trace{}
		}
	}
	return got
}

// differs says what was read otherwise than it should be, other than how many errors.
func (e *example) differs(got example) (all []string) {
	want := slices.Sorted(slices.Values(e.templates))
	if have := slices.Sorted(slices.Values(got.templates)); !slices.Equal(want, have) {
		all = append(all, fmt.Sprintf("templates %q, want %q", have, want))
	}
	for _, pair := range [][3]string{{"level", got.level, e.level}, {"endpoint", got.endpoint, e.endpoint},
		{"duration", got.duration, e.duration}} {
		if pair[0] == "duration" {
			if d, err := time.ParseDuration(pair[2]); err == nil {
				pair[2] = d.String()
			}
		}
		if pair[1] != pair[2] {
			all = append(all, fmt.Sprintf("%s %q, want %q", pair[0], pair[1], pair[2]))
		}
	}
	return all
}

// The corpus: lines as loggers and servers really write them. Of its first part everything
// is read right; of the second, which another hand wrote later, nearly everything.
func TestCorpus(t *testing.T) {
	for _, part := range []struct {
		pattern         string
		shapes, loggers int
		share           float64 // of errors that are found, and that are ones; and of shapes read right
	}{
		{"first-*.txtar", 160, 25, 0.99},
		{"second*.txtar", 0, 0, 0.95},
		{"third-*.txtar", 270, 80, 0.95},
	} {
		all := examples(t, part.pattern)
		loggers := make(map[string]bool)
		var right, found, missed, invented int
		for _, e := range all {
			logger, _, _ := strings.Cut(e.name, ",")
			loggers[logger] = true
			got := e.read(t)
			want, have := len(e.templates), len(got.templates)
			found, missed, invented = found+min(want, have), missed+max(0, want-have), invented+max(0, have-want)
			differs := e.differs(got)
			if len(differs) == 0 {
				right++
			}
			for _, d := range differs {
				t.Logf("%s: %s: %s", e.file, e.name, d)
			}
		}
		if len(all) < part.shapes || len(loggers) < part.loggers {
			t.Errorf("%s: %d shapes of %d loggers, want %d of %d", part.pattern, len(all), len(loggers), part.shapes,
				part.loggers)
		}
		if len(all) == 0 {
			continue
		}
		recall, precision := portion(found, found+missed), portion(found, found+invented)
		t.Logf("%s: %d shapes of %d loggers; errors: recall %.3f, precision %.3f; shapes read right: %.3f", part.pattern,
			len(all), len(loggers), recall, precision, portion(right, len(all)))
		if recall < part.share || precision < part.share || portion(right, len(all)) < part.share {
			t.Errorf("%s: want %.2f of each", part.pattern, part.share)
		}
	}
}

func portion(part, all int) float64 {
	if all == 0 {
		return 1
	}
	return float64(part) / float64(all)
}
