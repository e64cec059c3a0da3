package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
)

// options are the flags of serve.
type options struct {
	role, listen                string
	postgres, postgresPassword  string
	redis, redisPassword, visit string
	pace                        time.Duration
}

func serveCommand(ctx context.Context, flags *flag.FlagSet, args []string, out io.Writer) error {
	var o options
	flags.StringVar(&o.role, "role", "", "auth-service, user-api or admin-api")
	flags.StringVar(&o.listen, "listen", ":8001", "address to listen on")
	flags.StringVar(&o.postgres, "postgres", "", "URL of the database, without a password")
	flags.StringVar(&o.postgresPassword, "postgres-password-file", "", "file with its password")
	flags.StringVar(&o.redis, "redis", "", "URL of Redis, without a password")
	flags.StringVar(&o.redisPassword, "redis-password-file", "", "file with its password")
	flags.StringVar(&o.visit, "visit", "", "URL under which this service is visited; empty: it is not")
	flags.DurationVar(&o.pace, "pace", 100*time.Millisecond, "time between two visits")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.pace <= 0 {
		return fmt.Errorf("-pace is %s: give a time above zero", o.pace)
	}
	s, err := newService(ctx, o, out)
	if err != nil {
		return err
	}
	defer s.close()
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	return s.serve(ctx, listener, o)
}

// newService connects a service and makes its tables.
func newService(ctx context.Context, o options, out io.Writer) (*service, error) {
	role, ok := roles()[o.role]
	if !ok {
		return nil, fmt.Errorf("-role is %q: give auth-service, user-api or admin-api", o.role)
	}
	database, err := pgxpool.ParseConfig(o.postgres)
	if err != nil {
		return nil, err
	}
	cache, err := redis.ParseURL(o.redis)
	if err != nil {
		return nil, err
	}
	if database.ConnConfig.Password, err = password(o.postgresPassword); err != nil {
		return nil, err
	}
	if cache.Password, err = password(o.redisPassword); err != nil {
		return nil, err
	}
	database.MaxConns = 4
	s := &service{role: role, name: o.role, log: &lines{out: out}}
	if s.db, err = pgxpool.NewWithConfig(ctx, database); err != nil {
		return nil, err
	}
	s.cache = redis.NewClient(cache)
	if _, err := s.db.Exec(ctx, role.setup); err != nil {
		s.close()
		return nil, err
	}
	s.measure()
	return s, nil
}

// password reads one from a file; no file is no password.
func password(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}

// measure makes the metrics of the service, as the manual names them.
func (s *service) measure() {
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total",
		Help: "Requests by their status."}, []string{"status"})
	s.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "http_request_duration_seconds",
		Help: "Latency of requests.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, nil)
	r := prometheus.NewRegistry()
	r.MustRegister(s.requests, s.duration)
	s.metrics = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

func (s *service) close() {
	s.db.Close()
	_ = s.cache.Close() // nothing is written any more
}

// serve answers until the context ends, and is visited meanwhile.
func (s *service) serve(ctx context.Context, listener net.Listener, o options) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: headerWithin}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	var beside sync.WaitGroup
	if o.visit != "" {
		beside.Go(func() { s.visits(ctx, o.visit, o.pace) })
	}
	beside.Go(func() { s.works(ctx, o.pace) })
	s.log.plain("INFO", s.name+" listens on "+listener.Addr().String())
	var err error
	select {
	case <-ctx.Done():
		err = server.Shutdown(context.WithoutCancel(ctx))
		<-ended
	case err = <-ended:
	}
	beside.Wait()
	return err
}

// ServeHTTP answers a request, counts it and writes a line about it.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/metrics":
		s.metrics.ServeHTTP(w, r)
		return
	case "/health":
		if err := errors.Join(s.db.Ping(r.Context()), s.cache.Ping(r.Context()).Err()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
		return
	}
	began := time.Now()
	status, level, message := http.StatusOK, "info", r.Method+" "+r.URL.Path
	if err := s.role.answer(r.Context(), s, r); err != nil {
		status, level, message = http.StatusInternalServerError, "error", message+": "+err.Error()
		if f, ok := errors.AsType[failure](err); ok {
			status, level = f.status, "warning"
		}
	}
	took := time.Since(began)
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, http.StatusText(status)) // who asked may be gone
	s.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	s.duration.WithLabelValues().Observe(took.Seconds())
	s.log.request(level, message, r.URL.Path, took)
}

// visits asks the service what its role is asked, one after the other, as a browser would through nginx.
func (s *service) visits(ctx context.Context, through string, pace time.Duration) {
	client := http.Client{Timeout: 10 * time.Second}
	for n := 0; wait(ctx, pace); n++ {
		method, path := s.role.visit(n)
		r, err := http.NewRequestWithContext(ctx, method, through+path, nil)
		if err == nil {
			var res *http.Response
			if res, err = client.Do(r); err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close() // was read
			}
		}
		if err != nil && ctx.Err() == nil {
			s.log.plain("ERROR", "visit: "+err.Error())
		}
	}
}

// works does what the role does without being asked, ten times as seldom as it is visited.
func (s *service) works(ctx context.Context, pace time.Duration) {
	for n := 0; s.role.work != nil && wait(ctx, 10*pace); n++ {
		if said, err := s.role.work(ctx, s, n); ctx.Err() == nil {
			if err != nil {
				s.log.plain("ERROR", err.Error())
				continue
			}
			s.log.plain("INFO", said)
		}
	}
}

// wait waits, and reports false where the context ends before.
func wait(ctx context.Context, pace time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pace):
		return true
	}
}
