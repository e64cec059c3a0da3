// Package prom asks Prometheus and Alertmanager by their stock HTTP APIs, which
// are the same for the embedded ones and for those outside. It speaks HTTP and
// JSON only, so that a build without the libraries stays small.
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
	askTimeout  = 10 * time.Second // of one request, whoever calls
	answerLimit = 16 << 20         // an answer is read up to here: 50,000 series are some 10 MB
	whyLimit    = 300              // so much of a refusal's text is repeated
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

// errURL does not repeat the URL: there may be a password in it.
var errURL = errors.New("its URL cannot be read; want http://host:port")

// A call is one request to one server.
type call struct {
	client       *http.Client // http.DefaultClient where nil
	server       string       // the URL below which path is
	method, path string
	query        url.Values
	kind         string // the media type of body
	body         []byte
}

// do sends the request and returns the body of a good answer. Nobody's redirect
// is followed: it turns a POST into a GET that does nothing.
func (c call) do(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	u, err := url.Parse(strings.TrimSuffix(c.server, "/") + c.path)
	if err != nil || u.Host == "" {
		return nil, errURL
	}
	u.RawQuery = c.query.Encode()
	r, err := http.NewRequestWithContext(ctx, c.method, u.String(), bytes.NewReader(c.body))
	if err != nil {
		return nil, errURL
	}
	if c.kind != "" {
		r.Header.Set("Content-Type", c.kind)
	}
	client := http.Client{}
	if c.client != nil {
		client = *c.client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", c.method, u.Redacted(), reason(ctx, err))
	}
	defer func() { _ = res.Body.Close() }() // read only
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", c.method, u.Redacted(), reason(ctx, err))
	case len(body) > answerLimit:
		return nil, fmt.Errorf("%s %s: the answer is larger than %d MiB", c.method, u.Redacted(), answerLimit>>20)
	case res.StatusCode/100 != 2:
		return body, fmt.Errorf("%s %s: %w", c.method, u.Redacted(), &StatusError{res.StatusCode, why(body)})
	}
	return body, nil
}

// reason takes the URL out of a client's error, since it stands before it, and
// says whose deadline it was.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
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
