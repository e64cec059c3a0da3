package prom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
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
	form := url.Values{"query": {expr}, "timeout": {askTimeout.String()}}
	if !at.IsZero() {
		form.Set("time", at.UTC().Format(time.RFC3339Nano))
	}
	body, err := call{
		client: p.Client, server: p.URL, method: http.MethodPost, path: "/api/v1/query",
		kind: "application/x-www-form-urlencoded", body: []byte(form.Encode()), // a long expression is no URL
	}.do(ctx)
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	samples, err := answer(body)
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return samples, nil
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

// answer reads what a query gave.
func answer(body []byte) ([]Sample, error) {
	var said struct {
		Status, Error string
		Warnings      []string
		Data          struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		}
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, fmt.Errorf("the answer is not Prometheus' JSON: %w", err)
	}
	switch {
	case said.Status != "success":
		return nil, fmt.Errorf("the query was not answered: %s", said.Error)
	case len(said.Warnings) > 0:
		return nil, fmt.Errorf("the answer may be incomplete: %s", strings.Join(said.Warnings, "; "))
	}
	switch said.Data.ResultType {
	case "vector":
		var series []struct {
			Metric map[string]string
			Value  point
		}
		if err := json.Unmarshal(said.Data.Result, &series); err != nil {
			return nil, fmt.Errorf("the answer is no vector: %w", err)
		}
		samples := make([]Sample, len(series))
		for i, s := range series {
			samples[i] = Sample{Labels: s.Metric, Value: s.Value.value, At: s.Value.at}
		}
		return samples, nil
	case "scalar":
		var v point
		if err := json.Unmarshal(said.Data.Result, &v); err != nil {
			return nil, fmt.Errorf("the answer is no scalar: %w", err)
		}
		return []Sample{{Value: v.value, At: v.at}}, nil
	}
	return nil, fmt.Errorf("the expression gives a %s; want one that gives a vector or a scalar", said.Data.ResultType)
}

// A point is a moment in seconds and a value in quotation marks.
type point struct {
	at    time.Time
	value float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *point) UnmarshalJSON(text []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return errors.New("want a time and a value")
	}
	var seconds float64
	var value string
	if err := json.Unmarshal(parts[0], &seconds); err != nil {
		return err
	}
	if err := json.Unmarshal(parts[1], &value); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(value, 64) // knows NaN and +Inf too
	if err != nil {
		return fmt.Errorf("value %q: want a number", value)
	}
	p.at, p.value = time.UnixMilli(int64(seconds*1000)).UTC(), v
	return nil
}
