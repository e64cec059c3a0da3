package logs

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/logs/top"
)

// exported reads what export has written.
func exported(t *testing.T, c *collectors.Metric, limit int, top *top.List) map[string]float64 {
	t.Helper()
	w := collectors.NewWriter(collectors.Collector{Metrics: []*collectors.Metric{c}})
	export(w, c, "s", "service", top, limit)
	all := make(map[string]float64)
	for _, m := range regexp.MustCompile(`template="([^"]*)"\} (\S+)`).FindAllStringSubmatch(string(w.Text()), -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if _, twice := all[m[1]]; err != nil || twice {
			t.Fatalf("%q twice, or %v", m[1], err)
		}
		all[m[1]] = v
	}
	return all
}

// The most frequent are exported; one that was exported stays while it is among twice as many,
// so that its series does not come and go; and no series decreases.
func TestExportedStaysExported(t *testing.T) {
	c := &collectors.Metric{Name: "m", Type: collectors.Counter, Labels: []string{"server", "service", "template"}}
	top := top.New(templateRoom)
	add := func(name string, n int) {
		for range n {
			top.Add([]byte(name))
		}
	}
	add("a", 30)
	add("b", 20)
	add("c", 10)
	if got := exported(t, c, 2, top); len(got) != 3 || got["a"] != 30 || got["b"] != 20 || got["other"] != 60 {
		t.Errorf("at first: %v", got)
	}
	add("c", 15) // the second now
	got := exported(t, c, 2, top)
	if got["c"] != 25 || got["b"] != 20 || got["other"] != 75 {
		t.Errorf("b was overtaken: %v", got)
	}
	for _, name := range []string{"d", "e", "f"} {
		add(name, 40)
	}
	if got := exported(t, c, 2, top); got["d"] != 40 || got["e"] != 40 || got["a"] != 30 || got["f"] != 0 ||
		got["b"] != 0 {
		t.Errorf("two new ones before all, and b behind four others: %v", got)
	}
	random := rand.New(rand.NewPCG(6, 6))
	before := exported(t, c, 5, top)
	for round := range 60 {
		for range 200 {
			add(fmt.Sprint(min(random.IntN(80), random.IntN(80)+round)), 1)
		}
		now := exported(t, c, 5, top)
		if len(now) > 11 {
			t.Fatalf("round %d: %d series", round, len(now))
		}
		for i, e := range top.Sorted() {
			if _, is := now[e.Name]; !is && i < 5 {
				t.Errorf("round %d: %s is number %d and not exported", round, e.Name, i)
			}
			if was, is := before[e.Name]; is && i < 10 && now[e.Name] < was {
				t.Errorf("round %d: %s was %v and is %v", round, e.Name, was, now[e.Name])
			}
		}
		if now["other"] < before["other"] {
			t.Errorf("round %d: the rest was %v and is %v", round, before["other"], now["other"])
		}
		before = now
	}
}

// A template that is called as the rest is, or has no name, is in the rest: it would be a
// second series of one name.
func TestOtherIsExportedOnce(t *testing.T) {
	c := &collectors.Metric{Name: "m", Type: collectors.Counter, Labels: []string{"server", "service", "template"}}
	top := top.New(templateRoom)
	for _, name := range []string{"other", "Other", "", "a"} {
		top.Add([]byte(name))
	}
	for round := range 3 {
		if got := exported(t, c, 20, top); len(got) != 2 || got["a"] != 1+float64(round) ||
			got["other"] != 4+3*float64(round) {
			t.Errorf("round %d: %v", round, got)
		}
		for _, name := range []string{"other", "Other", "", "a"} {
			top.Add([]byte(name))
		}
	}
}

// Durations are numbers as JSON has them, also in quotation marks; both ways to read them agree.
func TestDurations(t *testing.T) {
	for text, want := range map[string]float64{"0": 0, "12": 12, "1.5": 1.5, `"7"`: 7, "1e3": 1000, "0.000001": 1e-6,
		"123456789012345678": 123456789012345678, "1E+2": 100} {
		if got, ok := milliseconds([]byte(text)); !ok || got != want {
			t.Errorf("%s: %v %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-1", "NaN", "Infinity", "1e999", "01", "1.", ".5", "0x10", "1_0", "5ms", `""`, `"`,
		"null", "true", " 1", "1 ", "+1", "--1", "1e"} {
		if got, ok := milliseconds([]byte(text)); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
	random := rand.New(rand.NewPCG(9, 1))
	for range 20_000 {
		var b strings.Builder
		for range random.IntN(18) {
			b.WriteByte("0123456789..e-+"[random.IntN(15)])
		}
		slow, ok := milliseconds([]byte(b.String()))
		fast, same := 0.0, false
		if b.Len() > 0 {
			fast, same = fastMilliseconds([]byte(b.String()))
		}
		if ok != same && b.Len() > 0 || ok && slow != fast {
			t.Fatalf("%q: %v %v, and the fast way %v %v", b.String(), slow, ok, fast, same)
		}
	}
}
