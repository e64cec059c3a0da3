package console_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// aReport has so many warnings, the last of which can be mended, and a critical finding before them where one is given.
func aReport(critical string) look.Report {
	at := time.Now()
	r := look.Report{At: at, Complete: true, Targets: []look.Seen{{Server: "main", Kind: "postgres"}}}
	add := func(severity, title, table string) {
		r.Findings = append(r.Findings, look.Finding{Kind: "postgres/dead_rows", Severity: severity, Harm: look.Speed,
			Server: "main", Subject: map[string]string{"server": "main", "table": table}, Title: title, Cost: "time",
			Evidence: []look.Evidence{{What: "rows", Value: "5", From: "test/rows", At: at}},
			Plan:     &look.Plan{Action: "bed/reindex", Subject: map[string]string{"server": "main", "table": table}}})
	}
	if critical != "" {
		add("critical", critical, "worst")
	}
	for n := range 30 {
		add("warning", fmt.Sprintf("table %d has dead rows", n), fmt.Sprint("t", n))
	}
	return r
}

// An open look shows by itself what is found, and what a person reads stays where it is, with the focus on its button.
// A page that shows no look has no target asked. Without scripts the page is whole.
func TestLookLives(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[look.Report]
	calm, worse := aReport(""), aReport("something is on fire")
	now.Store(&calm)
	c := openWith(t, false, func(k *console.Config) {
		k.Look = func(context.Context) (look.Report, error) { return *now.Load(), nil }
	})
	b := c.loggedIn(t, adminToken)
	b.Window(768, 900, "light")
	b.Open(c.page.URL + "/look")
	key := calm.Findings[20].Key()
	place := fmt.Sprintf("document.getElementById('f-%s').getBoundingClientRect().top", key)
	b.Value(fmt.Sprintf("document.getElementById('p-%s').focus({preventScroll: true}); scrollBy({top: %s - 100, "+
		"behavior: 'instant'})", key, place))
	was := b.Value(place)
	now.Store(&worse)
	servertest.Eventually(t, "the page has the new finding", func() bool {
		return strings.Contains(b.Value("document.getElementById('findings').innerText"), "something is on fire")
	})
	if moved := b.Value("Math.abs(" + place + " - " + was + ") >= 1"); moved != "false" { // a window scrolls by whole pixels
		t.Errorf("what was read has moved from %s to %s", was, b.Value(place))
	}
	if focus := b.Value("document.activeElement.id"); focus != "p-"+key {
		t.Errorf("the focus is on %q", focus)
	}
	if wrong := b.Wrong(c.page.URL); len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
	b.Scripts(false)
	b.Open(c.page.URL + "/look")
	text, _ := c.unzipped(t, "/look")
	if !strings.Contains(text, "something is on fire") || !strings.Contains(text, `id="p-`+key+`"`) {
		t.Error(text)
	}
}

// A stream of a page with a look says that it has changed, once, and not that figures have.
func TestLookEvents(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[look.Report]
	asked := make(chan struct{}, 100)
	calm := aReport("")
	now.Store(&calm)
	c := openWith(t, false, func(k *console.Config) {
		k.Look = func(context.Context) (look.Report, error) {
			asked <- struct{}{}
			return *now.Load(), nil
		}
	})
	text, _ := c.unzipped(t, "/look")
	<-asked
	_, path, _ := strings.Cut(text, `data-events="`)
	path, _, _ = strings.Cut(path, `"`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.page.URL+strings.ReplaceAll(path, "&amp;", "&"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer view")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it ends with the test
	figures := aReport("")
	figures.Findings[3].Title, figures.Findings[3].Evidence[0].Value = "table 3 has more", "6"
	now.Store(&figures)
	<-asked // and nothing is said
	worse := aReport("something is on fire")
	now.Store(&worse)
	var events []string
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if e, ok := strings.CutPrefix(s.Text(), "event: "); ok {
			events = append(events, e)
		}
		if s.Text() == "data: look" {
			break
		}
	}
	if got := strings.Join(events, " "); got != "hello change" {
		t.Errorf("%q", got)
	}
}
