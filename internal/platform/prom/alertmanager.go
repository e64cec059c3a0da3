package prom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-openapi/runtime"
	openapi "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	amclient "github.com/prometheus/alertmanager/api/v2/client"
	"github.com/prometheus/alertmanager/api/v2/client/alert"
	"github.com/prometheus/alertmanager/api/v2/client/alertgroup"
	"github.com/prometheus/alertmanager/api/v2/client/general"
	"github.com/prometheus/alertmanager/api/v2/client/receiver"
	"github.com/prometheus/alertmanager/api/v2/client/silence"
	"github.com/prometheus/alertmanager/api/v2/models"
	"github.com/prometheus/common/model"
)

// An Alertmanager keeps silences, and knows which alerts are still there.
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

// String writes the matcher as a filter of the API. A name in UTF-8 is in quotation
// marks; an Alertmanager that does not understand them has no such label either.
func (m Matcher) String() string {
	name := m.Name
	if !model.LegacyValidation.IsValidLabelName(name) {
		name = strconv.Quote(name)
	}
	op := map[[2]bool]string{{true, false}: "=", {false, false}: "!=", {true, true}: "=~",
		{false, true}: "!~"}[[2]bool{m.IsEqual, m.IsRegex}]
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

// Set makes a silence, or changes the one whose ID it has, and returns its ID.
// Alertmanager puts another in the place of one whose matchers or beginning are
// to change, or which has expired; so the ID may be a new one. One that it does
// not know is an error for which NotFound is true.
func (a Alertmanager) Set(ctx context.Context, s Silence) (id string, err error) {
	if len(s.Matchers) == 0 {
		return "", errors.New("alertmanager: a silence without a matcher would silence everything")
	}
	body := &models.PostableSilence{ID: s.ID, Silence: models.Silence{
		StartsAt: new(strfmt.DateTime(s.StartsAt.UTC())), EndsAt: new(strfmt.DateTime(s.EndsAt.UTC())),
		CreatedBy: &s.CreatedBy, Comment: &s.Comment,
	}}
	for _, m := range s.Matchers {
		body.Matchers = append(body.Matchers, &models.Matcher{Name: &m.Name, Value: &m.Value, IsRegex: &m.IsRegex,
			IsEqual: &m.IsEqual})
	}
	err = a.ask(ctx, question{http.MethodPost, "silences", answerLimit},
		func(ctx context.Context, api *amclient.AlertmanagerAPI) error {
			made, err := api.Silence.PostSilences(silence.NewPostSilencesParamsWithContext(ctx).WithSilence(body))
			if err == nil {
				id = made.Payload.SilenceID
			}
			return err
		})
	if err == nil && id == "" {
		err = errors.New("alertmanager: it took the silence and did not say its id")
	}
	return id, err
}

// Silence returns one silence, expired ones included while they are kept. One
// that is not known is an error for which NotFound is true.
func (a Alertmanager) Silence(ctx context.Context, id string) (s Silence, err error) {
	err = a.ask(ctx, question{http.MethodGet, "silence/" + url.PathEscape(id), answerLimit},
		func(ctx context.Context, api *amclient.AlertmanagerAPI) error {
			got,
				err := api.Silence.GetSilence(silence.NewGetSilenceParamsWithContext(ctx).
				WithSilenceID(strfmt.UUID(id)))
			if err == nil {
				s, err = silenceOf(got.Payload)
			}
			return err
		})
	return s, err
}

// Silences returns those silences whose own matchers fit each filter; expired
// ones are among them.
func (a Alertmanager) Silences(ctx context.Context, filter ...Matcher) (all []Silence, err error) {
	err = a.ask(ctx, question{http.MethodGet, "silences", answerLimit},
		func(ctx context.Context, api *amclient.AlertmanagerAPI) error {
			got,
				err := api.Silence.GetSilences(silence.NewGetSilencesParamsWithContext(ctx).WithFilter(filters(filter)))
			if err == nil && got.Payload == nil {
				err = errNoList
			}
			if err != nil {
				return err
			}
			all = make([]Silence, len(got.Payload))
			for i, one := range got.Payload {
				if all[i], err = silenceOf(one); err != nil {
					return err
				}
			}
			return nil
		})
	return all, err
}

// Expire ends a silence. One that has expired already is not an error; one that
// is not known is, and NotFound is true for it.
func (a Alertmanager) Expire(ctx context.Context, id string) error {
	s, err := a.Silence(ctx, id) // to expire twice is a fault to Alertmanager
	if err != nil || s.State == SilenceExpired {
		return err
	}
	return a.ask(ctx, question{http.MethodDelete, "silence/" + url.PathEscape(id), answerLimit},
		func(ctx context.Context, api *amclient.AlertmanagerAPI) error {
			_,
				err := api.Silence.DeleteSilence(silence.NewDeleteSilenceParamsWithContext(ctx).
				WithSilenceID(strfmt.UUID(id)))
			return err
		})
}

// An Alert is one of those that Alertmanager holds.
type Alert struct {
	Labels, Annotations map[string]string
	StartsAt            time.Time
	GeneratorURL        string
	Suppressed          bool // silenced, inhibited or muted
}

// Alerts returns every alert that is held for the receivers that the pattern matches
// whole, silenced ones too; "" is every receiver.
func (a Alertmanager) Alerts(ctx context.Context, receiver string) (all []Alert, err error) {
	err = a.ask(ctx, question{http.MethodGet, "alerts", listingLimit},
		func(ctx context.Context, api *amclient.AlertmanagerAPI) error {
			p := alert.NewGetAlertsParamsWithContext(ctx).WithActive(new(true)).WithSilenced(new(true)).
				WithInhibited(new(true)).WithUnprocessed(new(true))
			if receiver != "" {
				p.SetReceiver(&receiver)
			}
			got, err := api.Alert.GetAlerts(p)
			if err == nil && got.Payload == nil {
				err = errNoList
			}
			if err != nil {
				return err
			}
			all = make([]Alert, len(got.Payload))
			for i, one := range got.Payload {
				if one == nil || one.Labels == nil {
					return errHalf
				}
				all[i] = Alert{
					Labels: one.Labels, Annotations: one.Annotations, StartsAt: moment(one.StartsAt),
					GeneratorURL: string(one.GeneratorURL),
					Suppressed: value(one.Status).State != nil &&
						*one.Status.State == models.AlertStatusStateSuppressed,
				}
			}
			return nil
		})
	return all, err
}

// A AlertStatus is the status of an alert in one of Alertmanager's groups: what keeps it from
// being delivered. MutedBy exists in 0.28 and later.
type AlertStatus struct {
	Labels                           map[string]string
	SilencedBy, InhibitedBy, MutedBy []string
}

// AlertStatuses returns the status of the alerts that match each filter, in each group for the
// receivers that the pattern matches whole; "" is every receiver.
func (a Alertmanager) AlertStatuses(ctx context.Context, receiver string, filter ...Matcher) (all []AlertStatus,
	err error) {
	err = a.ask(ctx, question{http.MethodGet, "alerts/groups", answerLimit},
		func(ctx context.Context, api *amclient.AlertmanagerAPI) error {
			p := alertgroup.NewGetAlertGroupsParamsWithContext(ctx).WithActive(new(true)).WithSilenced(new(true)).
				WithInhibited(new(true)).WithFilter(filters(filter))
			if receiver != "" {
				p.SetReceiver(&receiver)
			}
			got, err := api.Alertgroup.GetAlertGroups(p)
			if err == nil && got.Payload == nil {
				err = errNoList
			}
			if err != nil {
				return err
			}
			for _, group := range got.Payload {
				for _, one := range value(group).Alerts {
					if one == nil || one.Labels == nil {
						return errHalf
					}
					s := value(one.Status)
					all = append(all, AlertStatus{one.Labels, s.SilencedBy, s.InhibitedBy, s.MutedBy})
				}
			}
			return nil
		})
	return all, err
}

// Configuration returns the text of Alertmanager's configuration, without its secrets.
func (a Alertmanager) Configuration(ctx context.Context) (text string, err error) {
	status, err := a.status(ctx)
	if err == nil && (status.Config == nil || status.Config.Original == nil) {
		err = fmt.Errorf("alertmanager: %w", errHalf)
	}
	return value(value(status.Config).Original), err
}

// Version returns the server's version.
func (a Alertmanager) Version(ctx context.Context) (version string, err error) {
	status, err := a.status(ctx)
	if version = value(value(status.VersionInfo).Version); err == nil && version == "" {
		err = errors.New("alertmanager: the answer is not Alertmanager's JSON: it has no version")
	}
	return version, err
}

func (a Alertmanager) status(ctx context.Context) (status models.AlertmanagerStatus, err error) {
	err = a.ask(ctx, question{http.MethodGet, "status", answerLimit},
		func(ctx context.Context, api *amclient.AlertmanagerAPI) error {
			got, err := api.General.GetStatus(general.NewGetStatusParamsWithContext(ctx))
			if err == nil {
				status = value(got.Payload)
			}
			return err
		})
	return status, err
}

// Receivers returns the names of the receivers.
func (a Alertmanager) Receivers(ctx context.Context) (names []string, err error) {
	err = a.ask(ctx, question{http.MethodGet, "receivers", answerLimit},
		func(ctx context.Context, api *amclient.AlertmanagerAPI) error {
			got, err := api.Receiver.GetReceivers(receiver.NewGetReceiversParamsWithContext(ctx))
			if err != nil {
				return err
			}
			if got.Payload == nil {
				return errNoList
			}
			for _, one := range got.Payload {
				if one == nil || one.Name == nil {
					return errHalf
				}
				names = append(names, *one.Name)
			}
			return nil
		})
	return names, err
}

// ask has Alertmanager's client ask. A listing may be redirected, as by a proxy that
// wants HTTPS.
func (a Alertmanager) ask(ctx context.Context, q question,
	call func(context.Context, *amclient.AlertmanagerAPI) error) error {
	ctx, cancel := patience(ctx)
	defer cancel()
	u, err := address(a.URL)
	if err != nil {
		return fmt.Errorf("alertmanager: %w", err)
	}
	base := u.JoinPath("api/v2")
	t := openapi.NewWithClient(base.Host, base.Path, []string{base.Scheme},
		client(a.Client, answers{limit: q.limit, follow: q.limit == listingLimit}))
	t.Debug = false // set by the environment, it would print passwords
	t.Consumers = map[string]runtime.Consumer{"*/*": runtime.ConsumerFunc(whole)}
	if u.User != nil {
		password, _ := u.User.Password()
		t.DefaultAuthentication = openapi.BasicAuth(u.User.Username(), password)
	}
	if err := call(ctx, amclient.New(t, strfmt.Default)); err != nil {
		return fmt.Errorf("alertmanager: %w", explain(ctx, q.method, base.JoinPath(q.path), err))
	}
	return nil
}

// whole reads an answer, which is one value of JSON. The client takes an empty answer for
// a good one: an empty list would end every alert.
func whole(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	err := d.Decode(into)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more follows")
		}
	}
	if err != nil {
		return fmt.Errorf("the answer is not Alertmanager's JSON: %w", err)
	}
	return nil
}

var (
	errNoList = errors.New("the answer is not Alertmanager's JSON: it is no list")
	errHalf   = errors.New("the answer is not Alertmanager's JSON: parts of it are missing")
)

func filters(all []Matcher) (texts []string) {
	for _, m := range all {
		texts = append(texts, m.String())
	}
	return texts
}

// silenceOf returns a silence from the API. IsEqual is missing where Alertmanager is
// older than 0.22, and is true then.
func silenceOf(g *models.GettableSilence) (Silence, error) {
	if g == nil || g.Status == nil {
		return Silence{}, errHalf
	}
	s := Silence{
		ID: value(g.ID), StartsAt: moment(g.StartsAt), EndsAt: moment(g.EndsAt), UpdatedAt: moment(g.UpdatedAt),
		CreatedBy: value(g.CreatedBy), Comment: value(g.Comment), State: SilenceState(value(g.Status.State)),
	}
	for _, m := range g.Matchers {
		if m == nil || m.Name == nil || m.Value == nil {
			return Silence{}, errHalf
		}
		s.Matchers = append(s.Matchers, Matcher{Name: *m.Name, Value: *m.Value, IsRegex: value(m.IsRegex),
			IsEqual: m.IsEqual == nil || *m.IsEqual})
	}
	return s, nil
}

func moment(t *strfmt.DateTime) time.Time { return time.Time(value(t)).UTC() }

// value returns what a pointer leads to, or nothing where it is nil.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
