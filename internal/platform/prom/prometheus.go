package prom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Prometheus answers questions in PromQL.
type Prometheus struct {
	URL    string       // where /api/v1 is
	Client *http.Client // http.DefaultClient where nil
}

// A Sample is one series at one moment.
type Sample struct {
	Labels map[string]string // with __name__, where the expression keeps it; nil for a scalar
	Value  float64
	At     time.Time
}

// Query evaluates an expression at a moment, or at the server's own now where it
// is zero. A scalar is one Sample without
// labels. An answer with a warning is an error: it may be a part of the truth
// only, and nothing is decided by a part.
func (p Prometheus) Query(ctx context.Context, expr string, at time.Time) ([]Sample, error) {
	samples, err := p.query(ctx, expr, at)
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return samples, nil
}

func (p Prometheus) query(ctx context.Context, expr string, at time.Time) ([]Sample, error) {
	if !at.IsZero() {
		at = at.Truncate(time.Millisecond) // the client writes seconds as a float, the server reads milliseconds
	}
	var value model.Value
	var warnings promv1.Warnings
	err := p.ask(ctx, question{http.MethodPost, "query", answerLimit},
		func(ctx context.Context, a promv1.API) (err error) {
			value, warnings, _, err = a.Query(ctx, expr, at, promv1.WithTimeout(AskTimeout))
			return err
		})
	if err = errors.Join(err, incomplete(warnings)); err != nil {
		return nil, err
	}
	all, err := samples(value)
	return all, answered(err)
}

// incomplete returns an error for an answer that came with warnings.
func incomplete(warnings promv1.Warnings) error {
	if len(warnings) == 0 {
		return nil
	}
	return answered(fmt.Errorf("the answer may be incomplete: %s", strings.Join(warnings, "; ")))
}

// Version returns the server's version.
func (p Prometheus) Version(ctx context.Context) (version string, err error) {
	err = p.ask(ctx, question{http.MethodGet, "status/buildinfo", answerLimit},
		func(ctx context.Context, a promv1.API) error {
			info, err := a.Buildinfo(ctx)
			if version = info.Version; err == nil && version == "" {
				err = errors.New("the answer is not Prometheus' JSON: it has no version")
			}
			return err
		})
	if err != nil {
		return "", fmt.Errorf("prometheus: %w", err)
	}
	return version, nil
}

// Rules returns the alerting rules that the server evaluates. An answer without groups is an
// error: a server without rules has an empty list of them.
func (p Prometheus) Rules(ctx context.Context) (all []remediate.Rule, err error) {
	var rules promv1.RulesResult
	err = p.ask(ctx, question{http.MethodGet, "rules", listingLimit},
		func(ctx context.Context, a promv1.API) (err error) {
			rules, err = a.Rules(ctx, nil)
			return err
		})
	if err == nil && rules.Groups == nil {
		err = errors.New("the answer is not Prometheus' JSON: it has no groups of rules")
	}
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if alert, ok := r.(promv1.AlertingRule); ok {
				all = append(all, remediate.Rule{Name: alert.Name, Expr: alert.Query, Labels: texts(alert.Labels),
					Annotations: texts(alert.Annotations)})
			}
		}
	}
	return all, nil
}

func texts(set model.LabelSet) map[string]string {
	all := make(map[string]string, len(set))
	for name, value := range set {
		all[string(name)] = string(value)
	}
	return all
}

// ask has Prometheus' client ask.
func (p Prometheus) ask(ctx context.Context, q question, call func(context.Context, promv1.API) error) error {
	ctx, cancel := patience(ctx)
	defer cancel()
	u, err := address(p.URL)
	if err != nil {
		return err
	}
	whole := false
	c, err := api.NewClient(api.Config{Address: u.String(), Client: client(p.Client, answers{limit: q.limit,
		whole: &whole})})
	if err != nil {
		return errURL
	}
	err = call(ctx, promv1.NewAPI(c))
	if said, ok := errors.AsType[*promv1.Error](err); ok {
		return answered(wrong(said))
	}
	if err = explain(ctx, q.method, u.JoinPath("api/v1", q.path), err); whole {
		err = answered(err)
	}
	return err
}

// wrong says what is wrong with an answer of a good status.
func wrong(e *promv1.Error) error {
	if kind, ok := strings.CutPrefix(e.Msg, "unexpected value type "); ok {
		return fmt.Errorf("the expression gives a %s; want one that gives a vector or a scalar",
			strings.Trim(kind, `"`))
	}
	if e.Type == promv1.ErrBadResponse {
		return fmt.Errorf("the answer is not Prometheus' JSON: %s", e.Msg)
	}
	return fmt.Errorf("the query was not answered: %s", e.Msg)
}

// samples returns what a query gave.
func samples(value model.Value) ([]Sample, error) {
	switch v := value.(type) {
	case model.Vector:
		all := make([]Sample, len(v))
		for i, s := range v {
			if s == nil || s.Histogram != nil || s.Timestamp == 0 {
				return nil, errors.New("the expression gives a series without a number; want numbers, and of a " +
					"native histogram a quantile or a count")
			}
			labels := make(map[string]string, len(s.Metric))
			for name, value := range s.Metric {
				labels[string(name)] = string(value)
			}
			all[i] = Sample{Labels: labels, Value: float64(s.Value), At: s.Timestamp.Time().UTC()}
		}
		return all, nil
	case *model.Scalar:
		return []Sample{{Value: float64(v.Value), At: v.Timestamp.Time().UTC()}}, nil
	case nil:
		return nil, errors.New("the answer has no result")
	}
	return nil, fmt.Errorf("the expression gives a %s; want one that gives a vector or a scalar", value.Type())
}

// Firing reports whether the expression has a series for the subject now: one
// that carries each of the subject's labels with the subject's value. A label of
// the subject that the series do not carry, as after an aggregation, does not
// match; so an expression that aggregates a label away does not fire for anybody
// in particular. An empty subject matches nothing.
func (p Prometheus) Firing(ctx context.Context, expr string, subject map[string]string) (bool, error) {
	samples, err := p.Query(ctx, expr, time.Time{})
	if err != nil {
		return false, err
	}
	for _, s := range samples {
		if len(subject) > 0 && s.has(subject) {
			return true, nil
		}
	}
	return false, nil
}

func (s Sample) has(labels map[string]string) bool {
	for name, value := range labels {
		if got, ok := s.Labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}
