package console

import (
	_ "embed"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

//go:embed page.html
var pageHTML string

// pageRuns is how many runs the page shows.
const pageRuns = 25

// A view is what the page shows.
type view struct {
	Status
	Now     time.Time
	Targets []targetView
	Runs    []Line
}

// A targetView is one target with the collectors that ask it.
type targetView struct {
	Name       string
	Collectors []scrape.Status
	Failing    int
}

func (c *Console) page(g *gin.Context) {
	v := view{Now: time.Now()}
	var err error
	if v.Status, err = c.now(g); err == nil {
		v.Runs, err = c.lines(g, pageRuns)
	}
	if err != nil {
		c.Logger.Error("page broke", "err", err)
		g.String(http.StatusInternalServerError, "upkeep cannot read its store: %v\n", err)
		return
	}
	v.Targets = targets(v.Collectors)
	t, err := template.New("page").Funcs(template.FuncMap{
		"ago":      func(at time.Time) string { return ago(v.Now, at) },
		"quantity": quantity,
		"subject":  journal.Subject,
		"labels":   labels,
	}).Parse(pageHTML)
	if err != nil {
		panic(err) // the template is in the binary and rendered by a test
	}
	g.Header("Content-Type", "text/html; charset=utf-8")
	g.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := t.Execute(g.Writer, v); err != nil {
		c.Logger.Debug("page not delivered", "err", err)
	}
}

func targets(all []scrape.Status) []targetView {
	byName := make(map[string]*targetView)
	for _, s := range all {
		t := byName[s.Server]
		if t == nil {
			t = &targetView{Name: s.Server}
			byName[s.Server] = t
		}
		t.Collectors = append(t.Collectors, s)
		if s.Err != "" {
			t.Failing++
		}
	}
	var sorted []targetView
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		sorted = append(sorted, *byName[name])
	}
	return sorted
}

func ago(now, at time.Time) string {
	d := now.Sub(at)
	switch {
	case at.IsZero():
		return "never"
	case d < 0:
		return "in " + (-d).Round(time.Second).String()
	case d < time.Minute:
		return d.Round(time.Second).String() + " ago"
	case d < 24*time.Hour:
		return d.Round(time.Minute).String() + " ago"
	}
	return at.Format(time.DateTime)
}

func quantity(metric string, v *float64) string {
	if v == nil {
		return "–"
	}
	return remediate.Quantity(metric, *v)
}

// labels writes those labels of an alert that say on what it is.
func labels(e remediate.Episode) string {
	rest := maps.Clone(e.Alert.Labels)
	for _, name := range []string{"alertname", "severity", "job", "instance"} {
		delete(rest, name)
	}
	return journal.Subject(rest)
}
