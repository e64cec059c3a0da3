package postgres

import (
	"context"
	_ "embed"
	"strconv"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed settings.sql
var settingsSQL string

// Settings reports the settings that matter for maintenance.
func Settings(t *target.Postgres) collectors.Collector {
	c := settings{
		target: t,
		plain:  gauge("setting", "Value of a setting without a unit: a number, or 1 for on and 0 for off.", "name"),
		bytes: gauge("setting_bytes", "Value of a setting that is a size; -1 means no limit or inherited from "+
			"another setting.", "name").WithoutPanel(collectors.AdHoc),
		seconds: gauge("setting_seconds",
			"Value of a setting that is a duration; -1 means disabled or inherited from another setting.",
			"name").WithoutPanel(collectors.AdHoc),
		pending: gauge("setting_pending_restart",
			"1 for each setting that was changed and takes effect at the next start of the server.", "name"),
	}
	return collectors.Collector{
		Name:   "postgres/settings",
		Target: t.Name,
		Doc: `Settings reports the settings that matter for maintenance, in base units, and those that wait for a restart.

Reads pg_settings: what holds for a new session of our own role. Rights: CONNECT
on the database that the target names. Cost: one pass over the settings. Words,
such as wal_level, are not reported.`,
		Metrics: []*collectors.Metric{c.plain, c.bytes, c.seconds, c.pending},
		Every:   5 * time.Minute,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type settings struct {
	target                         *target.Postgres
	plain, bytes, seconds, pending *collectors.Metric
}

type settingRow struct {
	Name, Type, Value, Unit string
	Pending                 bool
}

// scale returns what one of a unit is in the base unit, and whether that is a
// size or a time.
func scale(unit string) (factor float64, kind string) {
	switch unit {
	case "B":
		return 1, "size"
	case "kB":
		return 1 << 10, "size"
	case "MB":
		return 1 << 20, "size"
	case "4kB", "8kB", "16kB", "32kB":
		n, _ := strconv.Atoi(unit[:len(unit)-2]) // one of the four
		return float64(n) * (1 << 10), "size"
	case "us":
		return 1e-6, "time"
	case "ms":
		return 1e-3, "time"
	case "s":
		return 1, "time"
	case "min":
		return 60, "time"
	}
	return 1, ""
}

func (c settings) collect(ctx context.Context, w *collectors.Writer) error {
	rows, err := readServer[settingRow](ctx, c.target, settingsSQL)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Pending {
			w.Set(c.pending, 1, c.target.Name, r.Name)
		}
		v, ok := r.number()
		if !ok {
			continue
		}
		factor, kind := scale(r.Unit)
		if v >= 0 {
			v *= factor
		}
		switch kind {
		case "size":
			w.Set(c.bytes, v, c.target.Name, r.Name)
		case "time":
			w.Set(c.seconds, v, c.target.Name, r.Name)
		default:
			w.Set(c.plain, v, c.target.Name, r.Name)
		}
	}
	return nil
}

// number returns the value; a word is not a number, except on and off.
func (r settingRow) number() (float64, bool) {
	switch r.Value {
	case "on":
		return 1, true
	case "off":
		return 0, true
	}
	if r.Type != "integer" && r.Type != "real" {
		return 0, false
	}
	v, err := strconv.ParseFloat(r.Value, 64)
	return v, err == nil
}
