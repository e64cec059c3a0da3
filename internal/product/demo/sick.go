package demo

import (
	"context"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// database is what the demo fills.
const database = "shop"

// keys is how many keys Redis gets, and batch how many at a time.
const keys, batch = 100_000, 1_000

// A spoiler is one thing that makes a server sick.
type spoiler struct{ say, sql string }

// spoilers are how a healthy database becomes sick in a few seconds. What makes
// it sick is ordinary: rows that are deleted without a vacuum, and an index
// whose entries come and go at random places.
func spoilers() []spoiler {
	return []spoiler{
		{"a table of 1.5 million rows, of which 1 million are deleted", `
		create table public.orders (id bigint, customer text, placed timestamptz) with (autovacuum_enabled = off);
		insert into public.orders select n, 'customer ' || n % 1000, now() - n * interval '1 minute' from generate_series(1, 1500000) n;
		analyze public.orders;
		delete from public.orders where id % 3 <> 0`},
		{"an index of 700,000 random keys, of which 85 % are gone", `
		create table public.sessions (token text not null, expires timestamptz) with (autovacuum_enabled = off);
		create unique index sessions_token on public.sessions (token);
		insert into public.sessions select md5(n::text), now() + n * interval '1 second' from generate_series(1, 700000) n;
		delete from public.sessions where token >= '2' and substr(token, 2, 1) <> '0'`},
		{"", `vacuum (analyze) public.sessions`},
	}
}

// sicken fills the servers and makes them sick. It returns where they are.
func sicken(ctx context.Context, line *timeline, postgresURL, redisURL string) (s Servers, err error) {
	u, err := url.Parse(postgresURL)
	if err != nil {
		return s, err
	}
	admin, err := pgx.Connect(ctx, postgresURL)
	if err != nil {
		return s, err
	}
	if _, err := admin.Exec(ctx, "create database "+database); err != nil {
		return s, err
	}
	if err := admin.Close(ctx); err != nil {
		return s, err
	}
	u.Path = "/" + database
	s.Postgres, s.Redis = u.String(), redisURL
	db, err := pgx.Connect(ctx, s.Postgres)
	if err != nil {
		return s, err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }() // nothing is left to be written
	for _, step := range spoilers() {
		if step.say != "" {
			line.say("PostgreSQL gets %s", step.say)
		}
		if _, err := db.Exec(ctx, step.sql); err != nil {
			return s, fmt.Errorf("demo data: %w", err)
		}
	}
	line.say("Redis gets %d keys, and no snapshot", keys)
	return s, fill(ctx, redisURL)
}

func fill(ctx context.Context, redisURL string) error {
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }() // nothing is left to be written
	for n := 0; n < keys; n += batch {
		pipe := client.Pipeline()
		for i := range batch {
			pipe.Set(ctx, fmt.Sprintf("cart:%d", n+i), "three apples and a pear", 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("demo data: %w", err)
		}
	}
	return nil
}
