package page

import (
	"fmt"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/product/report"
)

// ReportPath is below which the pages of reports are, like /report/2026-10.
const ReportPath = "/report/"

// Reports are the periods of which there is a report.
type Reports struct {
	Periods []report.Listed
	Unknown string // why it is not known which part of them data cover
	Monthly bool   // each month is announced on its first day
}

// Nodes are the parts of the page.
func (r Reports) Nodes() []Node {
	return []Node{
		Section(ID("reports"), H1(Text("Reports")),
			P(Class("soft"), Text("The review of a month or a quarter: services, statements, growth, bloat, backups, "+
				"what upkeep did and what it leaves to people. A report is made when it is opened, which takes "+
				"some seconds.")),
			If(r.Unknown != "", P(Class("busy"), Role("status"), Text("Which part of the time data cover is not "+
				"known: "+r.Unknown))),
			r.table()),
		r.send(),
	}
}

func (r Reports) table() Node {
	if len(r.Periods) == 0 {
		return P(Class("soft"), Text("No report yet: a period needs one whole day (UTC) since upkeep was first "+
			"started."))
	}
	return Table(Class("wide"), heads("Period", "Name", "Part", "Data cover"),
		TBody(Map(r.Periods, func(l report.Listed) Node {
			part := "whole"
			if !l.Over {
				part = "until the last midnight"
			}
			title := A(Href(ReportPath+l.Name), Text(l.Title))
			return Tr(
				Td(Data("name", "Period"), If(l.Quarter, Strong(title)), If(!l.Quarter, title)),
				Td(Class("num"), Data("name", "Name"), Text(l.Name)),
				Td(Data("name", "Part"), Text(part)),
				Td(Class("num"), Data("name", "Data cover"), share(l.Share)),
			)
		})))
}

// share is which part of the time is known: little of it says little.
func share(of *float64) Node {
	switch {
	case of == nil:
		return Text("–")
	case *of == 0:
		return Span(Class("bad"), Text("no samples"))
	case *of < wellCovered:
		return Span(Class("busy"), Text(percent(*of)))
	}
	return Text(percent(*of))
}

// wellCovered is the share below which the figures of a month are of a part of it.
const wellCovered = 0.9

// percent writes a share; nearly all is not all, and very little is not nothing.
func percent(share float64) string {
	whole := min(int(share*100), 100)
	if whole == 0 {
		return "less than 1 %"
	}
	return fmt.Sprintf("%d %%", whole)
}

// send says how a report gets to others.
func (r Reports) send() Node {
	command := "upkeep report month --format pdf"
	for _, l := range r.Periods {
		if l.Over && !l.Quarter {
			command = "upkeep report month --month " + l.Name + " --format pdf --out " + l.Name + ".pdf"
			break
		}
	}
	monthly := "With report: {monthly: true} in the configuration, upkeep notifies of the review of each month on " +
		"the first of the next."
	if r.Monthly {
		monthly = "upkeep notifies of the review of each month on the first of the next (report.monthly)."
	}
	return Section(ID("send"), H2(Text("Send or print one")), Div(Class("card"),
		P(Text("Print the page of a report from the browser: it is made for A4. Saved, it is one file that refers to "+
			"nothing else. Or let the command write it, as a page, a PDF, Markdown or JSON:")),
		Pre(Class("copy"), Text(command)),
		P(Text(monthly+" To mail the file, run the command from cron."))))
}
