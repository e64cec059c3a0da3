package prom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

// An Alertmanager keeps silences.
type Alertmanager struct {
	URL    string       // where /api/v2 is
	Client *http.Client // http.DefaultClient where nil
}

// A Silence keeps notifications of the alerts that all its matchers match from
// being sent.
type Silence struct {
	ID        string // Alertmanager's; empty for a new one
	Matchers  []Matcher
	StartsAt  time.Time
	EndsAt    time.Time
	UpdatedAt time.Time // set by Alertmanager
	CreatedBy string
	Comment   string
	State     SilenceState // set by Alertmanager
}

// A Matcher compares one label with a value.
type Matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

// Equal returns a Matcher that wants the label to have the value.
func Equal(name, value string) Matcher { return Matcher{Name: name, Value: value, IsEqual: true} }

// String writes the matcher as a filter of the API. A name in UTF-8 stands in quotation
// marks; an Alertmanager that does not understand them has no such label either.
func (m Matcher) String() string {
	name := m.Name
	if !model.LegacyValidation.IsValidLabelName(name) {
		name = strconv.Quote(name)
	}
	op := map[[2]bool]string{{true, false}: "=", {false, false}: "!=", {true, true}: "=~", {false, true}: "!~"}[[2]bool{m.IsEqual, m.IsRegex}]
	return name + op + strconv.Quote(m.Value)
}

// SilenceState says whether a silence holds.
type SilenceState string

// The states of a silence.
const (
	SilencePending SilenceState = "pending" // begins later
	SilenceActive  SilenceState = "active"
	SilenceExpired SilenceState = "expired"
)

// A wire is a silence as the API writes it.
type wire struct {
	ID        string    `json:"id,omitempty"`
	Matchers  []Matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	Status    *struct {
		State SilenceState `json:"state"`
	} `json:"status,omitempty"`
}

func (w wire) silence() Silence {
	s := Silence{ID: w.ID, Matchers: w.Matchers, StartsAt: w.StartsAt.UTC(), EndsAt: w.EndsAt.UTC(), UpdatedAt: w.UpdatedAt.UTC(), CreatedBy: w.CreatedBy, Comment: w.Comment}
	if w.Status != nil {
		s.State = w.Status.State
	}
	return s
}

// Set makes a silence, or changes the one whose ID it has, and returns its ID.
// Alertmanager puts another in the place of one whose matchers or beginning are
// to change, or which has expired; so the ID may be a new one. One that it does
// not know is an error for which NotFound is true.
func (a Alertmanager) Set(ctx context.Context, s Silence) (id string, err error) {
	if len(s.Matchers) == 0 {
		return "", errors.New("alertmanager: a silence without a matcher would silence everything")
	}
	body, err := json.Marshal(wire{ID: s.ID, Matchers: s.Matchers, StartsAt: s.StartsAt.UTC(), EndsAt: s.EndsAt.UTC(), CreatedBy: s.CreatedBy, Comment: s.Comment})
	if err != nil {
		return "", fmt.Errorf("alertmanager: silence: %w", err)
	}
	var made struct {
		ID string `json:"silenceID"`
	}
	if err := a.ask(ctx, call{method: http.MethodPost, path: "/api/v2/silences", kind: "application/json", body: body}, &made); err != nil {
		return "", err
	}
	if made.ID == "" {
		return "", errors.New("alertmanager: it took the silence and did not say its id")
	}
	return made.ID, nil
}

// Silence returns one silence, expired ones included while they are kept. One
// that is not known is an error for which NotFound is true.
func (a Alertmanager) Silence(ctx context.Context, id string) (Silence, error) {
	var w wire
	err := a.ask(ctx, call{method: http.MethodGet, path: "/api/v2/silence/" + url.PathEscape(id)}, &w)
	return w.silence(), err
}

// Silences returns those silences whose own matchers fit each filter; expired
// ones are among them.
func (a Alertmanager) Silences(ctx context.Context, filter ...Matcher) ([]Silence, error) {
	query := url.Values{}
	for _, m := range filter {
		query.Add("filter", m.String())
	}
	var all []wire
	if err := a.ask(ctx, call{method: http.MethodGet, path: "/api/v2/silences", query: query}, &all); err != nil {
		return nil, err
	}
	silences := make([]Silence, len(all))
	for i, w := range all {
		silences[i] = w.silence()
	}
	return silences, nil
}

// Expire ends a silence. One that has expired already is not an error; one that
// is not known is, and NotFound is true for it.
func (a Alertmanager) Expire(ctx context.Context, id string) error {
	s, err := a.Silence(ctx, id) // to expire twice is a fault to Alertmanager
	if err != nil || s.State == SilenceExpired {
		return err
	}
	return a.ask(ctx, call{method: http.MethodDelete, path: "/api/v2/silence/" + url.PathEscape(id)}, nil)
}

// ask sends a request and reads the answer, where there is one to be read.
func (a Alertmanager) ask(ctx context.Context, c call, into any) error {
	c.client, c.server = a.Client, a.URL
	body, err := c.do(ctx)
	if err != nil {
		return fmt.Errorf("alertmanager: %w", err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("alertmanager: %s: the answer is not Alertmanager's JSON: %w", c.path, err)
	}
	return nil
}

// A Standing is how an alert stands in one of Alertmanager's groups: what keeps it from
// being delivered. MutedBy is told by 0.28 and later.
type Standing struct {
	Labels                           map[string]string
	SilencedBy, InhibitedBy, MutedBy []string
}

// Standings returns how the alerts stand that fit each filter, in each group for the
// receivers that the pattern matches whole; "" is every receiver.
func (a Alertmanager) Standings(ctx context.Context, receiver string, filter ...Matcher) (all []Standing, err error) {
	query := url.Values{"active": {"true"}, "silenced": {"true"}, "inhibited": {"true"}}
	if receiver != "" {
		query.Set("receiver", receiver)
	}
	for _, m := range filter {
		query.Add("filter", m.String())
	}
	var groups []struct {
		Alerts []struct {
			Labels map[string]string `json:"labels"`
			Status struct {
				SilencedBy  []string `json:"silencedBy"`
				InhibitedBy []string `json:"inhibitedBy"`
				MutedBy     []string `json:"mutedBy"`
			} `json:"status"`
		} `json:"alerts"`
	}
	if err := a.ask(ctx, call{method: http.MethodGet, path: "/api/v2/alerts/groups", query: query}, &groups); err != nil {
		return nil, err
	}
	for _, g := range groups {
		for _, one := range g.Alerts {
			all = append(all, Standing{one.Labels, one.Status.SilencedBy, one.Status.InhibitedBy, one.Status.MutedBy})
		}
	}
	return all, nil
}

// Configuration returns the text of Alertmanager's configuration, without its secrets.
func (a Alertmanager) Configuration(ctx context.Context) (string, error) {
	var status struct {
		Config struct {
			Original string `json:"original"`
		} `json:"config"`
	}
	err := a.ask(ctx, call{method: http.MethodGet, path: "/api/v2/status"}, &status)
	return status.Config.Original, err
}
