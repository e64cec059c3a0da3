package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// whyLimit is how much of a server's answer is repeated.
const whyLimit = 200

// A Secret is read when it is needed, so that a new file counts at once.
type Secret func() (string, error)

// A Webhook posts each message as JSON: {"version":"1","notifications":[…]}, where a
// notification has its id, key, kind, run, incident, plan, title, text, time and links.
type Webhook struct {
	URL    Secret       // may have a secret in it, and is in no error
	Token  Secret       // sent as a bearer token; may be nil
	Client *http.Client // http.DefaultClient where nil
}

// Notify implements Notifier.
func (w Webhook) Notify(ctx context.Context, m Message) error {
	type links struct {
		Approve string `json:"approve,omitempty"`
		Open    string `json:"open,omitempty"`
	}
	type notification struct {
		ID       int64     `json:"id"`
		Key      string    `json:"key"` // idempotency key of the notification
		Kind     string    `json:"kind"`
		Run      int64     `json:"run,omitempty"`
		Incident int64     `json:"incident,omitempty"`
		Plan     string    `json:"plan,omitempty"`
		Title    string    `json:"title"`
		Text     string    `json:"text"`
		At       time.Time `json:"at"`
		Links    links     `json:"links"`
	}
	all := make([]notification, len(m.Notifications))
	for i, n := range m.Notifications {
		title, text := n.shown()
		all[i] = notification{n.ID, n.Key, string(n.Kind), n.Run, n.Incident, n.Plan, title, text, n.At,
			links{n.Approve, n.Open}}
	}
	return post(ctx, w.Client, w.URL, w.Token, map[string]any{"version": "1", "notifications": all})
}

// post sends a value as JSON. Redirects are not followed, and no secret is in
// the error: neither the URL nor the token, even if the answer repeats them.
func post(ctx context.Context, client *http.Client, secretURL, secretToken Secret, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	text, err := secretURL()
	if err != nil {
		return fmt.Errorf("its URL: %w", err)
	}
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("invalid URL; expected https://host/path") // parsing errors repeat it
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("invalid URL; expected https://host/path")
	}
	secrets := secretsOf(u)
	r.Header.Set("Content-Type", "application/json")
	if secretToken != nil {
		token, err := secretToken()
		if err != nil {
			return fmt.Errorf("its token: %w", err)
		}
		secrets = append(secrets, token)
		r.Header.Set("Authorization", "Bearer "+token)
	}
	own := http.Client{}
	if client != nil {
		own = *client
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := own.Do(r)
	if err != nil {
		return errors.New(redact(cause(ctx, err).Error(), secrets)) // not wrapped: a url.Error has the URL in it
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode/100 == 2 {
		return nil
	}
	said, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		said = nil // the status says enough
	}
	return refusal(res, redact(string(said), secrets))
}

// cause returns a client's error without the URL, or whose deadline
// it was.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// refusal returns the FaultError of an answer that is not good.
func refusal(res *http.Response, said string) error {
	said = strings.Join(strings.Fields(said), " ")
	if len(said) > whyLimit {
		said = strings.ToValidUTF8(said[:whyLimit], "") + "…"
	}
	f := &FaultError{Err: fmt.Errorf("status %d: %s", res.StatusCode, said)}
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		f.Refused = true
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		f.After = time.Duration(min(seconds, int(askedLongest/time.Second))) * time.Second
	}
	return f
}

func asFault(err error) (FaultError, bool) {
	if f, ok := errors.AsType[*FaultError](err); ok {
		return *f, true
	}
	return FaultError{Err: err}, false
}

// secretsOf returns every part of a URL that may be a secret, as a server or a
// library may repeat it: all but the host.
func secretsOf(u *url.URL) []string {
	all := []string{u.String(), u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery, u.Fragment}
	if u.User != nil {
		password, _ := u.User.Password()
		all = append(all, u.User.String(), password)
	}
	for _, values := range u.Query() {
		all = append(all, values...)
	}
	return append(all, strings.Split(u.Path, "/")...)
}

// redact takes secrets out of a text. A text of less than four letters is not a secret.
func redact(text string, secrets []string) string {
	for _, s := range secrets {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s, "<redacted>")
		}
	}
	return text
}
