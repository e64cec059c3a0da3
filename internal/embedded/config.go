// Package embedded runs Prometheus' storage, query engine and rule manager and
// Alertmanager as libraries, in the process and without a port of their own.
// Their stock APIs are handlers that the caller mounts. With the build tag
// noembed it is a stub that says so.
package embedded

import (
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Receiver is the name of Alertmanager's only receiver.
const Receiver = "upkeep"

// Config says what runs and for whom.
type Config struct {
	Dir string // storage, rule files, silences and notification log

	ScrapeInterval     time.Duration
	EvaluationInterval time.Duration
	Retention          time.Duration
	RetentionSize      string // like 10GB; "" or 0 is no limit

	// ScrapeConfigs and RemoteWrite are lists in Prometheus' own syntax, as YAML. Relative
	// paths in them begin at ConfigDir.
	ScrapeConfigs, RemoteWrite, ConfigDir string

	Rules     fs.FS    // rule files, *.rules.yaml
	RuleFiles []string // patterns of further rule files

	Metrics http.Handler // what is scraped
	Webhook http.Handler // where alerts are delivered

	ExternalURL   *url.URL
	GroupWait     time.Duration // of an alert before it is delivered
	GroupInterval time.Duration // between deliveries of one alert's changes
	ResendDelay   time.Duration // how often a firing alert is told to Alertmanager again

	Logger     *slog.Logger
	Registerer prometheus.Registerer // of the libraries' own metrics
}
