// Package redis asks Redis and Valkey. With the right +client|setname its connections have the
// name upkeep; without, everything else is the same. Each file asks one question. What an
// action measures it reads with the same function as the collector.
package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
)

const (
	every   = 15 * time.Second
	timeout = 10 * time.Second

	// askAgain is how long a command is not tried again that the server does not have: it counts
	// each try as an error, which people look at.
	askAgain = 10 * time.Minute
)

func gauge(name, help string, labels ...string) *collectors.Metric {
	return &collectors.Metric{Name: "upkeep_redis_" + name, Type: collectors.Gauge, Help: help,
		Labels: append([]string{"server"}, labels...)}
}

func counter(name, help string, labels ...string) *collectors.Metric {
	return &collectors.Metric{Name: "upkeep_redis_" + name, Type: collectors.Counter, Help: help,
		Labels: append([]string{"server"}, labels...)}
}

// A field of INFO and the metric that it becomes.
type field struct {
	name   string
	metric *collectors.Metric
}

// declared returns the metrics of fields and others.
func declared(fields []field, others ...*collectors.Metric) []*collectors.Metric {
	for _, f := range fields {
		others = append(others, f.metric)
	}
	return others
}

// write writes the fields that the server knows.
func (i info) write(w *collectors.Writer, server string, fields []field) {
	for _, f := range fields {
		if v, known := i.number(f.name); known {
			w.Set(f.metric, v, server)
		}
	}
}

// unknown reports whether an answer says that the server has no such command: it is older,
// or the command was renamed.
func unknown(err error) bool {
	return err != nil && strings.HasPrefix(strings.ToLower(err.Error()), "err unknown")
}

// pairs splits "a=1,b=2", as INFO writes what has several figures.
func pairs(value string) map[string]string {
	all := make(map[string]string)
	for p := range strings.SplitSeq(value, ",") {
		if name, v, ok := strings.Cut(p, "="); ok {
			all[name] = v
		}
	}
	return all
}

// info is what INFO answers: name → value as text.
type info map[string]string

// An Asker answers INFO: a client, or a target, which remembers what its server understands.
type Asker interface {
	Info(ctx context.Context, sections ...string) *redis.StringCmd
	Time(ctx context.Context) *redis.TimeCmd
}

// readInfo asks for sections of INFO. They come from one moment, but for the clock of a server before
// 6.2, which is asked for where the section "server" is. One that may not be asked is not known.
func readInfo(ctx context.Context, c Asker, sections ...string) (info, error) {
	text, err := c.Info(ctx, sections...).Result()
	if len(sections) > 1 && err != nil && strings.Contains(err.Error(), "syntax error") { // before 7.0
		text, err = c.Info(ctx, "all").Result()
	}
	if err != nil {
		return nil, fmt.Errorf("info: %w", err)
	}
	all := make(info)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			all[name] = value
		}
	}
	if slices.Contains(sections, "server") && all["redis_version"] != "" && all["server_time_usec"] == "" {
		now, err := c.Time(ctx).Result()
		if _, refused := errors.AsType[redis.Error](err); err != nil && !refused {
			return nil, fmt.Errorf("time: %w", err)
		}
		if err == nil {
			all["server_time_usec"] = strconv.FormatInt(now.UnixMicro(), 10)
		}
	}
	return all, nil
}

// number returns a field as a number; a missing or invalid field is unknown.
func (i info) number(name string) (v float64, known bool) {
	v, err := strconv.ParseFloat(i[name], 64)
	return v, err == nil
}

// version returns the version of the server, with its name where it is not Redis.
func (i info) version() string {
	if v := i["valkey_version"]; v != "" {
		return "valkey " + v
	}
	return i["redis_version"]
}

// clock returns the server's own time, so that no difference between clocks counts.
func (i info) clock() (at time.Time, known bool) {
	usec, err := strconv.ParseInt(i["server_time_usec"], 10, 64)
	return time.UnixMicro(usec), err == nil
}

// loading reports whether the server reads its data set. It answers INFO meanwhile, and refuses nearly all else.
func (i info) loading() bool { return i["loading"] == "1" }

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
