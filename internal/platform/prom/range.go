package prom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// A Series is one series at the steps of a range. A step at which it has no value is left out.
type Series struct {
	Labels map[string]string
	Points []Point
}

// A Point is the value of a series at one step.
type Point struct {
	At    time.Time
	Value float64
}

// Range evaluates an expression at each step from one moment to another, both included. An
// answer with a warning is an error, as of Query.
func (p Prometheus) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Series, error) {
	all, err := p.queryRange(ctx, expr, promv1.Range{Start: from, End: to, Step: step})
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return all, nil
}

func (p Prometheus) queryRange(ctx context.Context, expr string, r promv1.Range) ([]Series, error) {
	var value model.Value
	var warnings promv1.Warnings
	err := p.ask(ctx, question{http.MethodPost, "query_range", answerLimit},
		func(ctx context.Context, a promv1.API) (err error) {
			value, warnings, _, err = a.QueryRange(ctx, expr, r, promv1.WithTimeout(AskTimeout))
			return err
		})
	if err = errors.Join(err, incomplete(warnings)); err != nil {
		return nil, err
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, answered(errors.New("the answer has no series"))
	}
	all := make([]Series, len(matrix))
	for i, s := range matrix {
		if s == nil || len(s.Histograms) > 0 {
			return nil, answered(errors.New("the expression gives a native histogram; want numbers"))
		}
		all[i].Labels = make(map[string]string, len(s.Metric))
		for name, value := range s.Metric {
			all[i].Labels[string(name)] = string(value)
		}
		for _, p := range s.Values {
			all[i].Points = append(all[i].Points, Point{p.Timestamp.Time().UTC(), float64(p.Value)})
		}
	}
	return all, nil
}
