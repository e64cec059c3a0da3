package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/product/report"
)

// ReportPath is below which the pages of reports are, like /report/2026-10.
const ReportPath = page.ReportPath

// reportJSON answers with the report of a month or a quarter.
func (c *Console) reportJSON(g *gin.Context) {
	read, text := report.Month, g.Query("month")
	if quarter, ok := g.GetQuery("quarter"); ok {
		if _, both := g.GetQuery("month"); both {
			c.Answer(g, 0, nil, portal.BadRequest("want month or quarter, not both"))
			return
		}
		read, text = report.Quarter, quarter
	}
	p, err := read(text, time.Now())
	if err != nil {
		c.Answer(g, 0, nil, portal.BadRequest(err.Error()))
		return
	}
	r, err := c.Report(g.Request.Context(), p)
	c.Answer(g, http.StatusOK, r, err)
}

// reportPage shows a report in the browser. The page has a policy of its own: it has its style in
// it, since it can be saved and sent.
func (c *Console) reportPage(g *gin.Context) {
	p, err := report.Named(g.Param("name"), time.Now())
	if err != nil {
		http.Error(g.Writer, err.Error(), http.StatusBadRequest)
		return
	}
	r, err := c.Report(g.Request.Context(), p)
	if known, ok := errors.AsType[*portal.StatusError](err); ok {
		http.Error(g.Writer, known.Text, known.Status)
		return
	}
	if err != nil {
		c.Logger.Error("report broke", "period", p.Name, "err", err)
		http.Error(g.Writer, "the report cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	web.PageHeaders(g)
	g.Header("Content-Security-Policy", report.Policy()+"; frame-ancestors 'none'")
	if err := report.Page(g.Writer, r); err != nil {
		c.Logger.Debug("page not delivered", "err", err)
	}
}

// reporting is what reports are made of.
func (c *Console) reporting() report.Config {
	return report.Config{Prometheus: c.metrics(), Journal: c.Journal, Inbox: c.Inbox, Lowers: c.lowers,
		Version: c.Version}
}

// reportsPage lists the periods of which there is a report. Many who look at once are one question to Prometheus.
func (c *Console) reportsPage(g *gin.Context) {
	select {
	case c.listed.turn <- struct{}{}:
	case <-g.Request.Context().Done():
		return
	}
	defer func() { <-c.listed.turn }()
	if time.Since(c.listed.at) > listedFor {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(g.Request.Context()), listTime,
			fmt.Errorf("no answer within %s", listTime))
		defer cancel()
		all, err := report.List(ctx, c.reporting())
		if err != nil && all == nil {
			c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), "/")
			return
		}
		c.listed.last = page.Reports{Periods: all}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			c.listed.last.Unknown = short(err.Error())
		} else {
			c.listed.at = time.Now() // what has failed is tried again
		}
	}
	r := c.listed.last
	if c.Loaded != nil {
		r.Monthly = c.Loaded().Config.Report.Monthly
	}
	c.Write(g, http.StatusOK, c.Frame(g, "Reports", page.ReportsPath), r.Nodes()...)
}

const (
	// listTime is how long the journal and Prometheus may take for the list of reports: it reads one series, of a year.
	listTime = 5 * time.Second

	// listedFor is how long the list is shown again: a day adds to it.
	listedFor = time.Minute
)

// Report makes the report of a period. A period without data is an error with a status.
func (c *Console) Report(ctx context.Context, p report.Period) (report.Report, error) {
	r, err := report.Make(ctx, c.reporting(), p)
	if errors.Is(err, report.ErrNoData) {
		err = portal.ErrorWith(http.StatusNotFound, err.Error())
	}
	return r, err
}

func (c *Console) forecast(g *gin.Context) {
	asker := c.metrics()
	if asker == nil {
		c.Answer(g, 0, nil, portal.BadRequest("no forecast: embedded mode is off and prometheus.url is empty"))
		return
	}
	if err := forecast.Known(g.Query("resource")); err != nil {
		c.Answer(g, 0, nil, portal.BadRequest(err.Error()))
		return
	}
	rows, err := forecast.Read(g.Request.Context(), asker, g.Query("resource"), time.Time{})
	c.Answer(g, http.StatusOK, rows, err)
}

// metrics returns the Prometheus that is asked, or nil.
func (c *Console) metrics() report.Prometheus {
	if c.Metrics == nil {
		return nil
	}
	return c.Metrics()
}
