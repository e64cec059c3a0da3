package report_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/report"
)

// The periods of which there is a report are those since the oldest entry of the journal that have a whole day, the
// newest first, each with the share of its hours in which upkeep was scraped: the one that its report says.
func TestListOfReports(t *testing.T) {
	t.Parallel()
	h := newHistory(t, time.Hour)
	h.fill(1)
	f := h.fixture(date(9, 3))
	if all, err := report.List(t.Context(), f.config); err != nil || len(all) > 0 {
		t.Errorf("an empty journal: %+v (%v)", all, err)
	}
	f.write(`insert into entries (run, entry, hash) values (0, '{"at":"2026-06-20T03:00:00Z","why":"first"}', '')`)
	named := func(all []report.Listed) string {
		var names []string
		for _, l := range all {
			names = append(names, l.Name)
		}
		return strings.Join(names, " ")
	}
	all, err := report.List(t.Context(), f.config)
	const want = "2026-Q3 2026-09 2026-08 2026-07 2026-Q2 2026-06"
	if err != nil || named(all) != want {
		t.Fatalf("%s, want %s (%v)", named(all), want, err)
	}
	for _, l := range all {
		if l.Over != (l.Name != "2026-Q3" && l.Name != "2026-09") || l.Quarter != strings.Contains(l.Name, "Q") ||
			l.Share == nil || *l.Share < 0 || *l.Share > 1 {
			t.Errorf("%+v", l)
		}
	}
	if is := *all[2].Share; math.Abs(is-(1-60.0/(31*24))) > 1e-9 {
		t.Errorf("August is covered by %v", is)
	}
	if is, part := *all[0].Share, *all[2].Share; is == part {
		t.Errorf("the quarter is covered by %v, as a month of it", is)
	}
	without := f.config
	without.Prometheus = nil
	if all, err := report.List(t.Context(), without); err != nil || named(all) != want || all[0].Share != nil {
		t.Errorf("without Prometheus: %s (%v)", named(all), err)
	}
	broken := f.config
	broken.Prometheus = &failing{err: errors.New("away")}
	if all, err := report.List(t.Context(), broken); err == nil || named(all) != want || all[0].Share != nil {
		t.Errorf("a Prometheus that is away: %s (%v)", named(all), err)
	}
	first := f.config // on the first day of a month it has no report yet
	first.Now = func() time.Time { return date(9, 1).Add(time.Hour) }
	if all, err := report.List(t.Context(), first); err != nil || named(all) != "2026-Q3 2026-08 2026-07 2026-Q2 2026-06" {
		t.Errorf("on the first: %s (%v)", named(all), err)
	}
	today := f.config // nothing is known of a whole day yet
	today.Now = func() time.Time { return date(6, 20).Add(20 * time.Hour) }
	if all, err := report.List(t.Context(), today); err != nil || len(all) > 0 {
		t.Errorf("on its first day: %s (%v)", named(all), err)
	}
	f.write(`update entries set entry = '{"at":"2020-01-01T03:00:00Z","why":"first"}'`)
	if all, err := report.List(t.Context(), without); err != nil || len(all) != 19 || all[18].Name != "2025-08" {
		t.Errorf("a journal of years: %s (%v)", named(all), err)
	}
}
