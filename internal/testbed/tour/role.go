package main

import (
	"context"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// A role is what a service has, is asked and does. What is wrong with it is what upkeep is to find: it happens
// to real services as well.
type role struct {
	setup  string // makes the tables, also where they are there
	visit  func(n int) (method, path string)
	answer func(context.Context, *service, *http.Request) error
	work   func(ctx context.Context, s *service, n int) (said string, err error) // nil: nothing
}

// A service is one of the three, as it runs.
type service struct {
	role  role
	name  string
	db    *pgxpool.Pool
	cache *redis.Client
	log   *lines

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	metrics  http.Handler
}

// A failure is an answer with another status than 200 and 500.
type failure struct {
	status int
	text   string
}

// Error implements error.
func (f failure) Error() string { return f.text }
