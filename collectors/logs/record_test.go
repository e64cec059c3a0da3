package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/collectors/logs/share"
	"github.com/ai-micro-service/upkeep/collectors/logs/top"
	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

func names() Fields {
	return Fields{Level: "level", Message: "message", Path: "path", Duration: "duration_ms"}
}

// exact reads a log by encoding/json alone: what the answers are held against.
type exact struct {
	partial map[string]string
	tally   *tally
	index   index
}

func (x *exact) line(b []byte) {
	var outer struct{ Log, Stream *string }
	if json.Unmarshal(bytes.TrimLeft(b, "\x00"), &outer) != nil || outer.Log == nil {
		x.whole(string(bytes.TrimLeft(b, "\x00")))
		return
	}
	stream := "stdout"
	if outer.Stream != nil && *outer.Stream == "stderr" {
		stream = "stderr"
	}
	x.partial[stream] += *outer.Log
	if strings.HasSuffix(*outer.Log, "\n") || len(*outer.Log) < piece {
		text := x.partial[stream]
		x.partial[stream] = ""
		x.whole(text)
	}
}

// A pair is a member with the names of those that it is within.
type pair struct {
	name  string
	value any
}

// pairs reads the members of an object and of those within it.
func pairs(d *json.Decoder, prefix string) (all []pair) {
	for d.More() {
		key, _ := d.Token() // the text is valid
		name := prefix + key.(string)
		var raw json.RawMessage
		_ = d.Decode(&raw)
		var value any
		inner := json.NewDecoder(bytes.NewReader(raw))
		inner.UseNumber()
		_ = inner.Decode(&value)
		if _, is := value.(map[string]any); is {
			inner = json.NewDecoder(bytes.NewReader(raw))
			_, _ = inner.Token()
			all = append(all, pairs(inner, name+".")...)
		}
		if _, is := value.(string); !is {
			value = raw
		}
		all = append(all, pair{name, value})
	}
	return all
}

// find returns the member that counts for a field: the first of the names that is there,
// and of two with one name the last. A level that is a number counts behind all words
// where these come first.
func find(all []pair, names []string, first bool) (value any) {
	for _, numbers := range []bool{false, true} {
		for _, name := range names {
			for _, p := range all {
				raw, is := p.value.(json.RawMessage)
				if p.name == name && numbers == (first && is && words.IsDigit(raw[0])) {
					value = p.value
				}
			}
			if value != nil {
				return value
			}
		}
	}
	return nil
}

func (x *exact) whole(text string) {
	text = strings.TrimRight(text, "\r\n")
	trimmed := strings.TrimLeft(text, " \t")
	if !strings.HasPrefix(trimmed, "{") || !json.Valid([]byte(trimmed)) {
		var r record
		readPlain([]byte(text), x.index, &r)
		x.tally.add(&r)
		return
	}
	d := json.NewDecoder(strings.NewReader(trimmed))
	_, _ = d.Token()
	all := pairs(d, "")
	asText := func(v any) []byte {
		if s, ok := v.(string); ok {
			return []byte(s)
		}
		raw, _ := v.(json.RawMessage)
		return raw
	}
	r := record{json: true, message: asText(find(all, append([]string{"message"}, messageNames()...), false))}
	r.severity = words.LevelOf(asText(find(all, append([]string{"level"}, levelNames()...), true)), words.ScaleAny)
	if s, ok := find(all, []string{"path"}, false).(string); ok {
		r.path = []byte(s)
	}
	if v := find(all, []string{"duration_ms"}, false); v != nil {
		if _, err := fmt.Sscan(string(asText(v)), &r.duration); err == nil && words.Number(asText(v)) && r.duration >= 0 {
			r.timed = true
		}
	}
	x.tally.add(&r)
}

// corpus writes lines of every kind: most as a service writes them, and many odd
// ones.
func corpus(random *rand.Rand, n int) []byte {
	var b bytes.Buffer
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	for i := range n {
		inner := ""
		switch random.IntN(12) {
		default:
			inner = fmt.Sprintf(`{"level":%q,"time":"2026-01-02T03:04:05Z","message":"%s %d","path":"/api/%s/%d","duration_ms":%.1f,"status":%d}`,
				pick("info", "info", "info", "error", "warn", "ERROR", "fatal"),
				pick("request done for user", "cannot reach 10.0.0.1:5432, attempt", "timeout after"), i,
				pick("users", "orders", "v2/items"), random.IntN(50), random.Float64()*3000, 200+random.IntN(4)*100)
		case 0:
			inner = fmt.Sprintf(`{ "level" : "error", "context" : {"level":"info","path":"/not/this","list":[1,2,{"message":"nor this"}]}, "message": "it said \"no\" <%d> & é 你好 \\ \/ \u00e9 \n tab\t" , "path":"/a b/%d?x=1" }`, i, i)
		case 1:
			inner = pick("plain text", "ERROR something broke at 12:30:45", "[error] 3 nginx", `level=error msg="x"`,
				"", "   ", `{"level":"error"`, `{"level":"error",}`,
				`["level","error"]`, `"level"`, "terror in lower case", "{}", "{} ", `{"a":01}`, `{"a":1e}`,
				`{"a":tru}`, `{"level":"error"}}`)
		case 2:
			inner = fmt.Sprintf(`{"level":%s,"message":%s,"path":%s,"duration_ms":%s}`,
				pick("50", "30", `"err"`, "null", "true", `{"a":1}`), pick(`"m"`, "12", `{"m":"x"}`, "null", `["a"]`),
				pick(`"/p"`, "1", "null", `""`, `["/p"]`),
				pick("1", "-1", "1e3", "0.5", `"12.5"`, `"x"`, "null", "007", "1.", "{}", "99999999999999999999"))
		case 5:
			inner = fmt.Sprintf(`{"http":{"level":"debug","request":{"id":"%d"}},"lvl":%s,"log":{"level":%s},"msg":"nested %d"}`, i,
				pick(`"info"`, `"error"`, "30", "50", "{}"), pick(`"warn"`, `"error"`, "null"), i)
		case 6:
			inner = fmt.Sprintf(`{"severity":%s,"level":%s,"tags":[{"level":"fatal"}],"path":{"path":"/no"},"msg":"a","message":%s}`,
				pick(`"ERROR"`, `"INFO"`), pick("10", "60", "3", `"50"`, "null"), pick(`"b"`, "[1]", "{}"))
		case 7:
			inner = pick("E1128 10:00:00.000000       1 a.go:1] no", "<3>kernel", `ts=1 lvl=eror msg="a b" path=/x duration_ms=3`,
				`10.0.0.1 - - [28/Nov/2026:10:00:00 +0000] "GET /a/7 HTTP/1.1" 200 6 "-" "c" 0.250`, "INFO after an ERROR")
		case 3:
			inner = fmt.Sprintf(`{"level":"info","level":"error","message":"first","message":"second %d","path":1,"path":"/twice"}`, i)
		case 4:
			inner = `{"level":"error","message":"` + strings.Repeat("long ", 5000+random.IntN(5000)) + `end"}`
		}
		text := inner + pick("\n", "\n", "\n", "\n", "\r\n")
		stream := pick("stdout", "stdout", "stderr")
		for len(text) > 0 { // as the driver splits
			piece := text[:min(len(text), 16<<10)]
			text = text[len(piece):]
			writeLine(&b, piece, stream, random)
		}
		switch random.IntN(200) {
		case 0:
			b.WriteString("not of the driver\n")
		case 1:
			b.WriteString(`{"log":"broken` + "\n")
		case 2:
			b.Write(bytes.Repeat([]byte{0}, 100))
		case 3:
			b.WriteString("{\"log\":\"{\\\"message\\\":\\\"a\xffb\\\",\\\"level\\\":\\\"error\\\"}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05Z\"}\n")
		case 4:
			b.WriteString("{\"log\":\"{\\\"message\\\":\\\"a\x01b\\\",\\\"level\\\":\\\"error\\\"}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05Z\"}\n")
		}
	}
	return b.Bytes()
}

// writeLine writes a line as the driver does, which escapes < > & in some versions.
func writeLine(b *bytes.Buffer, text, stream string, random *rand.Rand) {
	var quoted bytes.Buffer
	e := json.NewEncoder(&quoted)
	e.SetEscapeHTML(random.IntN(2) == 0)
	if err := e.Encode(text); err != nil {
		panic(err)
	}
	extra := ""
	if random.IntN(50) == 0 {
		extra = `,"attrs":{"tag":"x"}`
	}
	fmt.Fprintf(b, `{"log":%s,"stream":"%s"%s,"time":"2026-01-%02dT03:04:05.123456789Z"}`+"\n",
		strings.TrimSpace(quoted.String()), stream, extra, 1+random.IntN(28))
}

// view is what of a tally is compared.
func view(t *tally) any {
	list := func(p *top.List) map[string][2]uint64 {
		all := make(map[string][2]uint64)
		for _, e := range p.Sorted() {
			all[e.Name] = [2]uint64{e.Count, e.Slow}
		}
		return all
	}
	return []any{t.lines, t.errors, t.slow, t.requests, t.broken, t.durations.Counts, list(t.templates), list(t.endpoints),
		int64(t.durations.Sum * 1000)}
}

func reference(text []byte) *tally {
	fields := names()
	x := exact{partial: make(map[string]string), tally: newTally(1000), index: fields.index()}
	lines := bytes.Split(text, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	for _, line := range lines {
		x.line(line)
	}
	return x.tally
}

// The answers are those of an exact decoder, on lines of every kind, in one piece
// and in many.
func TestEqualToAnExactDecoder(t *testing.T) {
	for seed := range uint64(8) {
		text := corpus(rand.New(rand.NewPCG(seed, 1)), 3000)
		c := counter{reader: reader{fields: names()}, tally: newTally(1000)}
		if _, err := c.Take(t.Context(), bytes.NewReader(text), true); err != nil {
			t.Fatal(err)
		}
		c.finish()
		if diff := cmp.Diff(view(reference(text)), view(c.tally)); diff != "" {
			t.Fatalf("seed %d (-exact +ours):\n%s", seed, diff)
		}
	}
}

func FuzzLine(f *testing.F) {
	for line := range bytes.SplitSeq(corpus(rand.New(rand.NewPCG(1, 2)), 300), []byte("\n")) {
		if len(line) < 2000 {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := counter{reader: reader{fields: names()}, tally: newTally(1000)}
		if _, err := c.Take(t.Context(), bytes.NewReader(text), true); err != nil {
			t.Fatal(err)
		}
		c.finish()
		if diff := cmp.Diff(view(reference(text)), view(c.tally)); diff != "" {
			t.Fatalf("%q (-exact +ours):\n%s", text, diff)
		}
	})
}

func TestFold(t *testing.T) {
	for _, tc := range []struct{ message, want string }{
		{"user 42 not found", "user <n> not found"},
		{"cannot reach 10.0.0.1:5432", "cannot reach <address>"},
		{"cannot reach fe80::1", "cannot reach <address>"},
		{"job 550e8400-e29b-41d4-a716-446655440000 failed", "job <uuid> failed"},
		{"commit deadbeef12 is bad", "commit <hex> is bad"},
		{"mail to ann@example.org bounced", "mail to <address> bounced"},
		{"took 12.5ms at 2026-01-02T03:04:05.678Z", "took <n> at <time>"},
		{"2026-01-02 03:04:05,123 broken", "<time> <time>,<n> broken"},
		{"worker-17 stopped", "worker-<n> stopped"},
		{"token abc123def456ghi789 expired", "token <id> expired"},
		{"a  b\tc\n", "a b c"},
		{"key ü not found", "key ü not found"},
		{"", ""},
		{"plain", "plain"},
		{"x: retrying (3/5)", "x: retrying (<n>/<n>)"},
	} {
		if got := string(words.Fold(nil, []byte(tc.message))); got != tc.want {
			t.Errorf("%q became %q, want %q", tc.message, got, tc.want)
		}
	}
	if got := words.Fold(nil, []byte(strings.Repeat("ü", 500))); len(got) > words.TemplateLength {
		t.Errorf("%d bytes", len(got))
	}
}

func TestFoldPath(t *testing.T) {
	for _, tc := range []struct{ path, want string }{
		{"/api/users/42", "/api/users/:id"},
		{"/api/v2/users/42/orders?page=3", "/api/v2/users/:id/orders"},
		{"/files/550e8400-e29b-41d4-a716-446655440000/raw", "/files/:id/raw"},
		{"/", "/"},
		{"", ""},
		{"/health", "/health"},
		{"/a#b", "/a"},
		{"/" + strings.Repeat("x", 50), "/:id"},
	} {
		if got := string(words.FoldPath(nil, []byte(tc.path))); got != tc.want {
			t.Errorf("%q became %q, want %q", tc.path, got, tc.want)
		}
	}
}

// A file that is cut into parts gives the answers of the whole, and lines before
// a moment are passed over.
func TestAnalyze(t *testing.T) {
	dir := t.TempDir()
	text := corpus(rand.New(rand.NewPCG(7, 8)), 20_000)
	file := filepath.Join(dir, "c-json.log")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Analyze(t.Context(), []string{file}, Options{Fields: names(), Slow: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(reference(text).report(), r); diff != "" {
		t.Errorf("(-exact +ours):\n%s", diff)
	}
	late, err := Analyze(t.Context(), []string{file}, Options{Fields: names(), Slow: time.Second,
		Since: time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)})
	if err != nil || late.Lines > r.Lines*3/5 || late.Lines < r.Lines*2/5 {
		t.Errorf("half of the days have %d of %d lines, %v", late.Lines, r.Lines, err)
	}
	if _, err := Analyze(t.Context(), []string{filepath.Join(dir, "gone")}, Options{}); err == nil {
		t.Error("a file that is not there is no error")
	}
}

func TestBoundaryIsAnEnd(t *testing.T) {
	text := corpus(rand.New(rand.NewPCG(9, 9)), 5000)
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	for at := int64(1); at < int64(len(text)); at += int64(len(text)) / 97 {
		to, err := share.Boundary(f, at, int64(len(text)), false)
		if err != nil || to < at {
			t.Fatalf("boundary(%d): %d %v", at, to, err)
		}
		if to < int64(len(text)) && text[to-1] != '\n' {
			t.Errorf("%d is within a line", to)
		}
	}
}
