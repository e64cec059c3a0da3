// Package console shows what upkeep sees, decides and does, and takes what a
// person asks for: a page for people at /, and the same as JSON below
// /api/upkeep/v1, which the commands of the binary use.
package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// Prefix is where the JSON is served.
const Prefix = portal.Prefix

// Config is what a Console shows.
type Config struct {
	portal.Portal

	Scraper   *scrape.Scraper
	Inbox     *inbox.Inbox
	Journal   *journal.Journal
	Engine    *engine.Engine
	Scheduler *schedule.Scheduler
	Metrics   func() report.Prometheus // nil, or nil of it: no Prometheus is configured
	Names     func() Names             // what a pause can be about
	Quiet     Quiet                    // says what is silenced; nil: no Alertmanager is asked
	Signer    *notify.Signer           // of approval links; nil: no links
	Limits    map[string]float64       // "action metric", or action → the limit of the rule that asks for it

	// Silences are those of Alertmanager; nil where none is asked.
	Silences func(ctx context.Context) ([]inbox.Silence, error)

	Loaded func() Loaded // the configuration in force; nil: it is not known

	// Look finds what is wrong with the targets, and Rights what may not be done on them.
	Look   func(ctx context.Context) (look.Report, error)
	Rights func(ctx context.Context) page.Rights

	OtherPerson bool // who requested a run must not approve it
}

// A Console answers people and commands.
type Console struct {
	Config
	feed    feed
	pending kept
	missing keptRights
	listed  keptReports
}

// New returns a Console. It starts nothing.
func New(c Config) *Console {
	return &Console{Config: c, feed: newFeed(), missing: keptRights{turn: make(chan struct{}, 1)},
		listed: keptReports{turn: make(chan struct{}, 1)}}
}

// An Ask is what a person asks for.
type Ask struct {
	Action  string            `json:"action"`
	Subject map[string]string `json:"subject"`
	Params  map[string]string `json:"params,omitempty"`
	Limit   *float64          `json:"limit,omitempty"`   // the rule's where it is left out
	Windows []string          `json:"windows,omitempty"` // wait for one of these
	By      string            `json:"by,omitempty"`      // the name that the request claims
	Key     string            `json:"key,omitempty"`     // two asks of an identity with one key are one run
}

func (c *Console) plan(g *gin.Context) {
	ask, ok := c.asked(g)
	if !ok {
		return
	}
	p, err := c.Engine.Preview(g.Request.Context(), c.wanted(g, ask))
	c.Answer(g, http.StatusOK, p, err)
}

func (c *Console) request(g *gin.Context) {
	ask, ok := c.asked(g)
	if !ok {
		return
	}
	if ask.Key == "" {
		c.Answer(g, 0, nil, portal.BadRequest("missing key: an idempotency key for retries"))
		return
	}
	run, err := c.Engine.Request(g.Request.Context(), c.wanted(g, ask))
	c.Answer(g, http.StatusAccepted, run, err)
}

const (
	// What a person writes is in the journal, in lists, notifications and the log, once for each run that it is
	// about: a name of PostgreSQL or Redis is a tenth of askLimit.
	reasonLimit = 1000
	askLimit    = 4 << 10 // bytes, of all names and values of a request together
)

// reason returns a reason as one line, or says that it is too long.
func reason(text string) (string, error) {
	if len(text) > 4*reasonLimit || len([]rune(text)) > reasonLimit {
		return "", portal.BadRequest(fmt.Sprintf("the reason is longer than %d letters", reasonLimit))
	}
	return portal.Line(text, reasonLimit), nil
}

// bounded refuses a request whose names and values are longer than any that a target has.
func (a Ask) bounded() error {
	size := len(a.Action) + len(a.Key)
	for _, all := range []map[string]string{a.Subject, a.Params} {
		for name, value := range all {
			size += len(name) + len(value)
		}
	}
	for _, name := range a.Windows {
		size += len(name)
	}
	if size > askLimit {
		return portal.BadRequest(fmt.Sprintf("the names and values of the request are longer than %d bytes together",
			askLimit))
	}
	return nil
}

// asked reads what a person asks for.
func (c *Console) asked(g *gin.Context) (ask Ask, ok bool) {
	if !c.Read(g, &ask) {
		return ask, false
	}
	if err := ask.bounded(); err != nil {
		c.Answer(g, 0, nil, err)
		return ask, false
	}
	return ask, true
}

func (c *Console) wanted(g *gin.Context, ask Ask) remediate.Request {
	id, _ := web.Identity(g)
	r := remediate.Request{Key: "person/" + id.String() + "/" + ask.Key, Action: ask.Action, Subject: ask.Subject,
		Params: ask.Params, Limit: ask.Limit, Mode: remediate.Auto, By: portal.By(g, ask.By),
		Terms: remediate.Terms{Windows: ask.Windows}}
	for _, name := range []string{ask.Action + " " + c.lowers(r), ask.Action} {
		if limit, ok := c.Limits[name]; ok && r.Limit == nil {
			r.Limit = &limit
		}
	}
	return r
}

// A RunDetails is one run with everything that the journal says of it.
type RunDetails struct {
	Run      remediate.Run       `json:"run"`
	Lowers   string              `json:"lowers,omitempty"` // the metric that Before and After are of
	Entries  []remediate.Entry   `json:"entries"`
	Incident *remediate.Incident `json:"incident,omitempty"`
	Progress []StatementProgress `json:"progress,omitempty"` // of the statement under way, where it was asked for
}

// StatementProgress is how far a maintenance command is.
type StatementProgress struct {
	Command string  `json:"command"`
	Phase   string  `json:"phase"`
	Ratio   float64 `json:"ratio"` // within the phase, from 0 to 1
}

func (c *Console) details(ctx context.Context, id int64) (s RunDetails, err error) {
	if s.Run, err = c.Journal.Get(ctx, id); err == nil {
		s.Entries, err = c.Journal.Entries(ctx, id)
	}
	if err == nil && s.Run.Request.Incident != 0 {
		var e remediate.Incident
		e, err = c.Inbox.Incident(ctx, s.Run.Request.Incident)
		s.Incident = &e
	}
	s.Lowers = c.lowers(s.Run.Request)
	return s, err
}

// lowers is the metric that a request is about; "" where no target takes its action any
// more.
func (c *Console) lowers(r remediate.Request) string { return c.action(r).For(r).Lowers }

// action is the action of a request, or an empty one where no target takes it any more.
func (c *Console) action(r remediate.Request) remediate.Action {
	for _, a := range c.Engine.Actions() {
		if a.Name == r.Action {
			return a
		}
	}
	return remediate.Action{}
}

// part reads which part of a list is asked for: from which number on, and how many at most. An
// answer that has as many goes on with the number of its last.
func (c *Console) part(g *gin.Context, name string) (from int64, n int, ok bool) {
	n, err := strconv.Atoi(cmp.Or(g.Query("limit"), "50"))
	if err != nil || n < 1 || n > 1000 {
		c.Answer(g, 0, nil, portal.BadRequest("limit: want a number from 1 to 1000"))
		return 0, 0, false
	}
	if from, err = strconv.ParseInt(cmp.Or(g.Query(name), "0"), 10, 64); err != nil || from < 0 {
		c.Answer(g, 0, nil, portal.BadRequest(name+": want the number of the last one of the part before"))
		return 0, 0, false
	}
	return from, n, true
}
