// Package embedded runs Prometheus' storage, query engine and rule manager and
// Alertmanager as libraries, in the process and without a port of their own.
// Their stock APIs are handlers that the caller mounts.
package embedded

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/receivers"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// Receiver is the name of the receiver that delivers to upkeep.
const Receiver = receivers.Own

// A Routing says who is notified of alerts beside upkeep.
type Routing struct {
	File   *receivers.File // Alertmanager's own configuration; nil: the places
	Places []Place         // get every alert of severity warning or worse, grouped, and its end
}

// A Place is notified of alerts.
type Place struct {
	Name string
	Of   string // says what it was made of: two of the same name and Of are the same
	To   notify.Notifier
}

// Config is the configuration of the embedded servers.
type Config struct {
	Dir string // storage, rule files, silences and notification log

	ScrapeInterval     time.Duration
	EvaluationInterval time.Duration
	Retention          time.Duration
	DailyRetention     time.Duration // of one value a day of some series: Daily
	RetentionSize      string        // like 10GB; "" or 0 is no limit

	Parts
	ConfigDir string                    // of the configuration file
	Rewrite   func(rules []byte) []byte // what is evaluated of the rules; nil: they as they are

	Metrics http.Handler // what is scraped
	Webhook http.Handler // where alerts are delivered

	ExternalURL   *url.URL
	GroupWait     time.Duration // of an alert before it is delivered
	GroupInterval time.Duration // between deliveries of one alert's changes
	ResendDelay   time.Duration // how often a firing alert is sent to Alertmanager again
	Limits        AlertLimits

	Logger     *slog.Logger
	Registerer prometheus.Registerer // of the libraries' own metrics
}

// Parts are what a reload may replace.
type Parts struct {
	Rules     fs.FS    // rule files, *.rules.yaml
	RuleFiles []string // patterns of further rule files

	// ScrapeConfigs and RemoteWrite are lists in Prometheus' own syntax, as YAML. Relative
	// paths in them begin at ConfigDir.
	ScrapeConfigs, RemoteWrite string

	Routing Routing // who else is notified of alerts
}

// webhookPath is where the webhook handler is called within the process.
const webhookPath = "/webhook"

// AlertLimits bound how many alerts Alertmanager's API takes, as incidents are bounded.
type AlertLimits struct {
	All, PerName int // live ones, the rules' own among them; 0: no limit

	// Refused notes that alerts found no room; may be nil.
	Refused func(ctx context.Context, names []string, why string) error
}
