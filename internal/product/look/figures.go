package look

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A Figure is one value that a collector has read.
type Figure struct {
	Metric    string
	Labels    labels.Labels
	Value     float64
	Collector string
	At        time.Time
}

// Figures are the values of one target, by metric.
type Figures map[string][]Figure

// ParseFigures reads what collectors wrote. What is no number says nothing, and is left out.
func ParseFigures(all []scrape.Reading) (Figures, error) {
	fs := make(Figures, len(all))
	table := labels.NewSymbolTable()
	for _, r := range all {
		p := textparse.NewPromParser(r.Text, table, false)
		for {
			entry, err := p.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", r.Metric, r.Collector, err)
			}
			if entry != textparse.EntrySeries {
				continue
			}
			x := Figure{Metric: r.Metric, Collector: r.Collector, At: r.At}
			if _, _, x.Value = p.Series(); math.IsNaN(x.Value) {
				continue
			}
			p.Labels(&x.Labels)
			fs[r.Metric] = append(fs[r.Metric], x)
		}
	}
	return fs, nil
}

// one returns the value of a metric that the target has once.
func (fs Figures) one(metric string) (x Figure, ok bool) {
	if all := fs[metric]; len(all) > 0 {
		return all[0], true
	}
	return x, false
}

// by returns the values of a metric by some of their labels.
func (fs Figures) by(metric string, names ...string) map[string]Figure {
	all := make(map[string]Figure, len(fs[metric]))
	for _, x := range fs[metric] {
		all[x.key(names...)] = x
	}
	return all
}

// key is what tells the subject of a value from others.
func (x Figure) key(names ...string) string {
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = x.Labels.Get(name)
	}
	return strings.Join(values, "\x00")
}

// subject returns the labels of a value, of those that are given, with the server.
func (x Figure) subject(names ...string) map[string]string {
	s := map[string]string{"server": x.Labels.Get("server")}
	for _, name := range names {
		s[name] = x.Labels.Get(name)
	}
	return s
}

// summed reports whether a value is of all those beyond the collector's limit: no object has it.
func (x Figure) summed(names ...string) bool {
	for _, name := range names {
		if x.Labels.Get(name) != collectors.Other {
			return false
		}
	}
	return true
}

// evidence is a value as evidence; names are the labels that say more than the subject does.
func (x Figure) evidence(names ...string) Evidence {
	what := x.Metric
	var more []string
	for _, name := range names {
		more = append(more, name+"="+x.Labels.Get(name))
	}
	if len(more) > 0 {
		what += "{" + strings.Join(more, ",") + "}"
	}
	return Evidence{What: what, Value: remediate.Quantity(x.Metric, x.Value), From: x.Collector, At: x.At}
}

// moment is the time that a value says, in seconds since 1970.
func (x Figure) moment() time.Time { return time.UnixMilli(int64(x.Value * 1000)).UTC() }

// since is the same as of when it is counted.
func (e Evidence) since(at time.Time) Evidence {
	at = at.UTC()
	e.Since = &at
	return e
}
