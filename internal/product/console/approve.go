package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// approvePath is where a signed link leads. The holder of the link may answer, with
// no other token: it is for one plan of one run, and for a while.
const approvePath = "/approve"

const (
	whyLimit   = 500
	whyRefused = "rejected by the link in the notification"
)

// NotificationLinks returns what makes the links of notifications: to the page where a plan is approved, and to
// the run. base is where people reach this upkeep.
func NotificationLinks(base string, s *notify.Signer) func(n remediate.Notification, approve bool) string {
	base = strings.TrimSuffix(base, "/")
	return func(n remediate.Notification, approve bool) string {
		if !approve {
			return fmt.Sprintf("%s%s%d", base, page.RunPath, n.Run)
		}
		until := n.Until
		if until.IsZero() {
			until = n.At.Add(remediate.Terms{}.ApprovalTime())
		}
		token := s.Sign(n.Run, n.Plan, until)
		if token == "" {
			return "" // a link that leads nowhere is worse than none
		}
		return base + approvePath + "?token=" + url.QueryEscape(token)
	}
}

// A question is a plan that waits for a person.
type question struct {
	run    remediate.Run
	lowers string
	token  string
	plan   string
	until  time.Time
}

// A verdict is the page with the result, in place of the question.
type verdict struct {
	status int
	class  string // of the style sheet
	title  string
	text   string
}

// answerer is who answers: who has logged in and may approve, else the holder of the link.
func (c *Console) answerer(g *gin.Context) access.Identity {
	if id, ok := web.Identity(g); ok && id.Role.Includes(access.Approve) {
		return id
	}
	return access.Link()
}

// identified asks for a login where an answer needs a person who differs from the one who
// requested the run.
func (c *Console) identified(g *gin.Context) bool {
	if !c.OtherPerson || c.answerer(g) != access.Link() {
		return true
	}
	g.Status(http.StatusUnauthorized)
	c.AskLogin(g)
	return false
}

func (c *Console) showQuestion(g *gin.Context) {
	if !c.identified(g) {
		return
	}
	q, v := c.ask(g.Request.Context(), g.Query("token"))
	c.show(g, q, v)
}

func (c *Console) takeAnswer(g *gin.Context) {
	g.Request.Body = http.MaxBytesReader(g.Writer, g.Request.Body, portal.MaxForm)
	if err := g.Request.ParseForm(); err != nil {
		c.show(g, nil, &verdict{http.StatusBadRequest, "bad", "Invalid answer",
			"Nothing was changed. Open the link in the notification again."})
		return
	}
	if !c.identified(g) {
		return
	}
	q, v := c.ask(g.Request.Context(), g.Request.PostForm.Get("token"))
	if v == nil {
		v = c.say(g, q)
	}
	c.show(g, q, v)
}

// ask finds the question of a token, or the reason why there is no question.
func (c *Console) ask(ctx context.Context, token string) (*question, *verdict) {
	id, plan, until, err := c.Signer.Verify(token, time.Now())
	switch {
	case errors.Is(err, notify.ErrExpired):
		return nil, &verdict{http.StatusGone, "busy", "This link has expired",
			fmt.Sprintf("The approval of run %d was possible until %s.", id, portal.Moment(until))}
	case err != nil && !errors.Is(err, notify.ErrForeign):
		return nil, c.broken("approve: key not read", err)
	case err != nil || plan == "":
		return nil, &verdict{http.StatusForbidden, "bad", "This link is invalid",
			"It was not signed by this upkeep, or a part of it is missing. Copy the whole link from the notification."}
	}
	run, err := c.Journal.Get(ctx, id)
	switch {
	case errors.Is(err, journal.ErrNoRun):
		return nil, &verdict{http.StatusNotFound, "bad", "There is no such run",
			fmt.Sprintf("The journal has no run %d.", id)}
	case err != nil:
		return nil, c.broken("approve: run not read", err)
	}
	q := &question{run: run, lowers: c.lowers(run.Request), token: token, plan: plan, until: until}
	switch {
	case run.State != remediate.AwaitingApproval:
		return q, &verdict{http.StatusGone, "busy", "This run does not await approval",
			fmt.Sprintf("Run %d is %s: %s", id, run.State, run.Why)}
	case run.Cancel != "":
		return q, &verdict{http.StatusGone, "busy", "This was answered already",
			fmt.Sprintf("Run %d: %s", id, run.Cancel)}
	case run.Plan.Question() != plan:
		return q, &verdict{http.StatusConflict, "busy", "The plan has changed",
			fmt.Sprintf("This link is for another plan or another amount (%s) than the current one of run %d (%s). "+
				"Use the link in the notification of the new plan.", plan, id, run.Plan.Question())}
	}
	return q, nil
}

// say keeps a person's answer. The plan is compared once more in the transaction.
func (c *Console) say(g *gin.Context, q *question) *verdict {
	by := c.answerer(g).By(portal.Line(g.Request.PostForm.Get("name"), portal.NameLimit))
	r := g.Request
	var err error
	var done verdict
	switch r.PostForm.Get("answer") {
	case "approve":
		holds := time.Now().Add(q.run.Request.Terms.ApprovalTime())
		if err = c.otherPerson(q.run, by); err != nil {
			return &verdict{http.StatusForbidden, "bad", "Another person has to approve", err.Error()}
		}
		if err = c.stillAllowed(r.Context(), q.run); err == nil {
			err = c.Journal.Approve(r.Context(), q.run.ID, q.plan, by, "", holds)
		}
		done = verdict{http.StatusOK, "good", "Approved",
			fmt.Sprintf("Run %d acts as soon as all guards pass, if its plan has not changed by then. The approval "+
				"is valid until %s.", q.run.ID, portal.Moment(holds))}
	case "reject":
		err = c.Journal.Reject(r.Context(), q.run.ID, q.plan, by,
			cmp.Or(portal.Line(r.PostForm.Get("why"), whyLimit), whyRefused))
		done = verdict{http.StatusOK, "good", "Rejected", fmt.Sprintf("Run %d is rejected. Nothing was changed.",
			q.run.ID)}
	default:
		return &verdict{http.StatusBadRequest, "bad", "No answer",
			"Nothing was changed. Open the link in the notification and press one of its buttons."}
	}
	if late, ok := errors.AsType[*journal.StaleError](err); ok {
		return &verdict{http.StatusConflict, "busy", "The answer came too late", late.Text}
	}
	if err != nil {
		return c.broken("approve: answer not kept", err)
	}
	c.Logger.Info("a person answered by a link", "run", q.run.ID, "by", by, "answer", done.title)
	c.Engine.Wake()
	return &done
}

func (c *Console) broken(what string, err error) *verdict {
	c.Logger.Error("page broke", "page", approvePath, "what", what, "err", err)
	return &verdict{http.StatusServiceUnavailable, "bad", "upkeep cannot do this now",
		"Its store does not answer, so the result is unknown: open the link again in a moment."}
}

// show writes the page. Neither the address of the page, which has the token in
// it, nor the page itself is to get anywhere else: no referrer, no cache, no
// frame, and no form of it leads to another site.
func (c *Console) show(g *gin.Context, q *question, v *verdict) {
	web.PageHeaders(g)
	title := "May upkeep do this?"
	if v != nil {
		title = v.title
		g.Status(v.status)
	}
	document := Doctype(HTML(Lang("en"),
		Head(
			Meta(Charset("utf-8")),
			Meta(Name("viewport"), Content("width=device-width, initial-scale=1")),
			TitleEl(Text(title+" – upkeep")),
			page.Sheet(),
		),
		Body(Class("plain"),
			Header(H1(Text(title)), Small(Text("upkeep "+c.Version))),
			Iff(v != nil, func() Node { return Div(Class("box"), P(Class(v.class), Text(v.text))) }),
			Iff(q != nil, func() Node { return q.describe() }),
			Iff(q != nil && v == nil, func() Node { return q.form() }),
		),
	))
	if err := page.Render(g.Writer, document); err != nil {
		c.Logger.Debug("page not delivered", "err", err)
	}
}

// describe reports what would be done, and to what.
func (q *question) describe() Node {
	r := q.run.Request
	fact := func(name string, value Node) Node { return Tr(Th(Text(name)), Td(value)) }
	return Group{
		Div(Class("scroll"), Table(
			fact("run", Text(fmt.Sprintf("%d, asked for by %s", q.run.ID, r.By))),
			If(r.Policy != "", fact("policy", Text(r.Policy))),
			fact("action", Strong(Text(r.Action))),
			Map(slices.Sorted(maps.Keys(r.Subject)),
				func(name string) Node { return fact(name, Code(Text(r.Subject[name]))) }),
			Map(slices.Sorted(maps.Keys(r.Params)),
				func(name string) Node { return fact(name, Code(Text(r.Params[name]))) }),
			If(q.lowers != "", fact("now", Text(page.Quantity(q.lowers, q.run.Before)+" ("+q.lowers+")"))),
			If(r.Limit != nil, fact("limit", Text(page.Quantity(q.lowers, r.Limit)))),
		)),
		H2(Text("What it would do")),
		Ol(Map(q.run.Plan.Steps, func(s remediate.Step) Node {
			return Li(Code(Text(s.Do)), If(s.Undo != "", Group{Br(), Small(Text("undone by: "), Code(Text(s.Undo)))}))
		})),
		If(len(q.run.Plan.Needs) > 0,
			P(Class("bad"), Text("Before it may act it needs: "+strings.Join(q.run.Plan.Needs, "; ")))),
		If(len(q.run.Plan.Facts) > 0, Group{
			H2(Text("What was seen")),
			Ul(Map(q.run.Plan.Facts, func(f string) Node { return Li(Text(f)) })),
		}),
		Iff(q.run.Plan.Amount != nil, func() Node {
			return P(Text(fmt.Sprintf("It removes %s. The approval covers up to %s; for more it asks again.",
				q.run.Plan.Amount, q.run.Plan.Amount.Tolerated())))
		}),
		P(Class("soft"), Text("Plan "+q.run.Plan.Question()+".")),
	}
}

// form is the two buttons. The token travels in the body, where no log keeps it.
func (q *question) form() Node {
	return Form(Method("post"), Action(approvePath), AutoComplete("off"),
		P(Text("The answer is for this plan only: if the plan has changed by the time the run acts, it asks again. "+
			"This page expires at "+portal.Moment(q.until)+".")),
		Input(Type("hidden"), Name("token"), Value(q.token)),
		// Enter in a field presses the first button: it is to press none.
		Button(Type("submit"), Disabled(), Attr("hidden")),
		Label(Text("Your name, for the journal"), Input(Name("name"), MaxLength(fmt.Sprint(portal.NameLimit)))),
		Label(Text("Reason, if you reject"), Input(Name("why"), MaxLength(fmt.Sprint(whyLimit)))),
		Button(Type("submit"), Class("good"), Name("answer"), Value("approve"), Text("Approve")),
		Button(Type("submit"), Class("bad"), Name("answer"), Value("reject"), Text("Reject")),
	)
}
