package embedded

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
)

// A prom is Prometheus without its command: storage, scraping, rules and API.
type prom struct {
	config  Config
	own     atomic.Pointer[promconfig.Config]
	db      *tsdb.DB
	daily   *daily
	all     longer // what is asked
	finder  *discovery.Manager
	scraper *scrape.Manager
	writer  *writer
	rules   *rules.Manager
	api     http.Handler       // for the process itself
	within  [budgets]*budgeted // for clients
	ctx     context.Context    // of the evaluations and of what finds targets; ended by stop
	cancel  context.CancelFunc
	begun   time.Time
	keeping sync.WaitGroup // of the daily values
}
