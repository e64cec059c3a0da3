// Package prom asks Prometheus and Alertmanager, by client_golang's and Alertmanager's
// own API clients, which are the same for the embedded ones and for those outside. What the
// clients do not do is done around them: a time limit, a limit to the size of an answer,
// and errors that keep the status of an answer and repeat no password.
package prom

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// AskTimeout is how long one request may take.
	AskTimeout = 10 * time.Second

	answerLimit = 16 << 20 // an answer is read up to here: 50,000 series are some 10 MB
	// listingLimit is twice what a hundred thousand alerts take, some 70 MB. A client holds an answer three times.
	listingLimit = 128 << 20

	// partsLimit is twice what a hundred thousand alerts have: 128 MiB of empty ones would become 10 GB.
	partsLimit = 32 << 20

	errorLimit = 64 << 10 // the same for an answer that is an error
	whyLimit   = 300      // so much of a refusal's text is repeated
)

// A StatusError is an answer that is neither what was asked for nor a failure to
// ask.
type StatusError struct {
	Status int
	Why    string // what the server said, its beginning
}

func (e *StatusError) Error() string {
	if e.Why == "" {
		return fmt.Sprintf("status %d", e.Status)
	}
	return fmt.Sprintf("status %d: %s", e.Status, e.Why)
}

// NotFound reports whether the server answered that it has no such thing.
func NotFound(err error) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Status == http.StatusNotFound
}

// An AnswerError is an answer that does not say what was asked for: it may be a part only, it is too large, or it is
// not what an API of this kind answers.
type AnswerError struct{ Err error }

func (e *AnswerError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the answer.
func (e *AnswerError) Unwrap() error { return e.Err }

// answered marks an error as one of an answer.
func answered(err error) error {
	if err == nil {
		return nil
	}
	return &AnswerError{err}
}

// Answered reports whether an error is about an answer: the server is there, and may answer another question. Otherwise
// it did not answer.
func Answered(err error) bool {
	_, status := errors.AsType[*StatusError](err)
	_, answer := errors.AsType[*AnswerError](err)
	return status || answer
}

// errURL does not repeat the URL: there may be a password in it.
var errURL = errors.New("its URL cannot be read; want http://host:port")

// address reads the URL of a server, below which its API is.
func address(server string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(server, "/"))
	if err != nil || u.Host == "" {
		return nil, errURL
	}
	u.RawQuery, u.Fragment = "", ""
	return u, nil
}

// A question is one request, as an error says it.
type question struct {
	method, path string // below /api/v1 or /api/v2
	limit        int64  // to the size of the answer
}

// patience limits how long one request may take.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, AskTimeout, fmt.Errorf("no answer within %s", AskTimeout))
}

// client returns a client as base is, whose answers are checked.
func client(base *http.Client, a answers) *http.Client {
	c := http.Client{}
	if base != nil {
		c = *base
	}
	if a.next = c.Transport; a.next == nil {
		a.next = http.DefaultTransport
	}
	c.Transport = a
	return &c
}

// answers is a layer between an API client and a server. It makes a *StatusError of an answer
// that is not a good one, since the clients lose its status. A redirect is such an answer:
// it turns a POST into a GET that does nothing.
type answers struct {
	next   http.RoundTripper
	limit  int64 // to the size of an answer
	follow bool  // redirects
	whole  *bool // set when an answer was read to its end; nil where that is not used
}

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.next.RoundTrip(r)
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode/100 == 2, a.follow && res.StatusCode/100 == 3 && res.Header.Get("Location") != "":
		res.Body = &limited{ReadCloser: res.Body, limit: a.limit, left: a.limit, parts: partsLimit, whole: a.whole}
		return res, nil
	}
	defer func() { _ = res.Body.Close() }() // read only
	body, err := io.ReadAll(io.LimitReader(res.Body, errorLimit))
	if err != nil {
		return nil, err
	}
	return nil, &StatusError{res.StatusCode, why(body)}
}

// A limited body is an error where it is larger than its limit: half an answer could be
// taken for a whole one.
type limited struct {
	io.ReadCloser
	limit, left int64
	parts       int // that may still come: a byte of them takes up to eighty bytes of memory
	whole       *bool
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, answered(fmt.Errorf("the answer is larger than %d MiB", l.limit>>20))
	}
	if l.parts -= partsOf(p[:n]); l.parts < 0 {
		return 0, answered(errors.New("the answer has more parts than 200,000 alerts"))
	}
	if l.whole != nil && errors.Is(err, io.EOF) {
		*l.whole = true
	}
	return n, err
}

// partsOf counts what takes memory in a JSON text: quotation marks, commas and objects, which are structs with
// pointers, or maps.
func partsOf(text []byte) int {
	const ofObject = 8
	return bytes.Count(text, []byte{'"'}) + bytes.Count(text, []byte{','}) + ofObject*bytes.Count(text, []byte{'{'})
}

// explain says what was asked, without a password, and whose deadline it was.
func explain(ctx context.Context, method string, u *url.URL, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the URL is said already
	}
	return fmt.Errorf("%s %s: %w", method, u.Redacted(), err)
}

// why returns what an answer that is no good says of itself. Prometheus says it
// in an object, Alertmanager in a string or in plain text.
func why(body []byte) string {
	var object struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	var text string
	switch {
	case json.Unmarshal(body, &object) == nil && object.Error+object.Message != "":
		text = object.Error + object.Message
	case json.Unmarshal(body, &text) == nil:
	default:
		text = string(body)
	}
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if len(text) > whyLimit {
		text = strings.ToValidUTF8(text[:whyLimit], "") + "…"
	}
	return text
}
