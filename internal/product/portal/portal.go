// Package portal has what all pages and all answers to programs have in common: what is around a page, logins,
// the manual and the runbooks, what is said in the place of what went wrong, and how routes are made. It knows
// nothing of runs and targets; package console does.
package portal

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/answer"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// Prefix is where the JSON is served.
const Prefix = "/api/upkeep/v1"

// maxBody is how many bytes of a request are read.
const maxBody = 1 << 20

// A Portal answers in one manner.
type Portal struct {
	Guard    *access.Guard // of logins; nil: no logins
	External string        // where people reach this upkeep
	Version  string
	Logger   *slog.Logger
	Bar      []page.Entry // the navigation of who has logged in; package console says what is in it
}

// A StatusError is an error that has its status.
type StatusError struct {
	Status int
	Text   string
}

// Error implements error.
func (e *StatusError) Error() string { return e.Text }

// ErrorWith returns an error that has its status.
func ErrorWith(status int, text string) error { return &StatusError{status, text} }

// BadRequest returns the error of who has asked for what there is not.
func BadRequest(text string) error { return ErrorWith(http.StatusBadRequest, text) }

// Read takes the body of a request, or answers what is wrong with it.
func (p *Portal) Read(g *gin.Context, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(g.Writer, g.Request.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		p.Answer(g, 0, nil, BadRequest("body: "+err.Error()))
		return false
	}
	return true
}

// Answer writes a value, or what went wrong in its place.
func (p *Portal) Answer(g *gin.Context, status int, value any, err error) {
	if err == nil {
		reply(g, status, value)
		return
	}
	status, text := p.Fault(g, err)
	said := Values{"error": text}
	if refusal, refused := remediate.Refused(err); refused {
		said["reason"] = refusal.Reason
	}
	reply(g, status, said)
}

// Fault returns the status and the text of what went wrong, which is logged where it is a fault.
func (p *Portal) Fault(g *gin.Context, err error) (status int, text string) {
	if refusal, refused := remediate.Refused(err); refused {
		return http.StatusUnprocessableEntity, refusal.Detail
	}
	if known, ok := errors.AsType[*StatusError](err); ok {
		return known.Status, known.Text
	}
	switch {
	case errors.Is(err, journal.ErrNoRun):
		return http.StatusNotFound, err.Error()
	case store.Away(err):
		p.Logger.Warn("request needs the store", "path", g.Request.URL.Path, "err", err)
		return http.StatusServiceUnavailable, "the store is unavailable at the moment, retry: " + err.Error()
	}
	p.Logger.Error("request broke", "path", g.Request.URL.Path, "err", err)
	return http.StatusInternalServerError, err.Error()
}

// Values are those of an object in JSON, by their names.
type Values map[string]any

func reply(g *gin.Context, status int, value any) {
	g.Header("Content-Type", "application/json; charset=utf-8")
	g.Status(status)
	_ = answer.Line(g.Writer, value) // who hung up needs no answer
}
