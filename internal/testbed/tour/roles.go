package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// people is how many users and tokens there are at the start.
const people = 20000

// roles are the services of the manual that have a database.
func roles() map[string]role {
	return map[string]role{
		"auth-service": {setup: authSetup, visit: authVisit, answer: authAnswer},
		"user-api":     {setup: userSetup, visit: userVisit, answer: userAnswer},
		"admin-api":    {setup: adminSetup, visit: adminVisit, answer: adminAnswer, work: adminWork},
	}
}

// setupOnce makes what is not there yet. Of two that start together one waits.
const setupOnce = `
select pg_advisory_xact_lock(20261130);
`

// Tokens are renewed all the time and somebody has once switched autovacuum off: dead rows pile up.
const authSetup = setupOnce + `
create table if not exists refresh_tokens (
  id bigint generated always as identity primary key, user_id int not null,
  token text not null, expires_at timestamptz not null) with (autovacuum_enabled = off);
create index if not exists refresh_tokens_token on refresh_tokens (token);
insert into refresh_tokens (user_id, token, expires_at)
  select n, md5(random()::text), now() + n * interval '6 minutes' - interval '60 days' from generate_series(1, 20000) n
  where not exists (select from refresh_tokens);
`

func authVisit(n int) (method, path string) {
	switch id := n * 7919 % people; {
	case n%4 == 0:
		return http.MethodGet, fmt.Sprintf("/session/%d", id)
	case n%31 == 1:
		return http.MethodPost, "/login/unknown"
	case n%3 == 1:
		return http.MethodPost, fmt.Sprintf("/login/%d", id)
	default:
		return http.MethodPost, fmt.Sprintf("/refresh/%d", id)
	}
}

func authAnswer(ctx context.Context, s *service, r *http.Request) error {
	id, err := number(r)
	if err != nil {
		return failure{http.StatusUnauthorized, "unknown user"}
	}
	switch first(r) {
	case "session":
		if _, err := s.cache.Get(ctx, fmt.Sprintf("session:%d", id)).Result(); errors.Is(err, redis.Nil) {
			return failure{http.StatusUnauthorized, "no session"}
		} else if err != nil {
			return err
		}
		return nil
	case "login":
		err := s.cache.Set(ctx, fmt.Sprintf("session:%d", id), time.Now().String(), time.Hour).Err()
		if err != nil {
			return err
		}
		_, err = s.db.Exec(ctx, `insert into refresh_tokens (user_id, token, expires_at)
			values ($1, md5(random()::text), now() + interval '30 days')`, id)
		return err
	case "refresh": // of a user and of the next ones, as a client that renews too much does
		_, err = s.db.Exec(ctx, `update refresh_tokens set token = md5(random()::text),
			expires_at = now() + interval '30 days' where id between $1 and $1 + 49`, id)
		return err
	}
	return failure{http.StatusNotFound, "no such page"}
}

// Users are sought by a name that no index has, and an address has two indexes. Autovacuum is off here too: who loads
// such a table analyzes it, or the server does not know how many rows it has.
const userSetup = setupOnce + `
create table if not exists users (
  id int primary key, name text not null, email text not null, note text not null, visits int not null)
  with (autovacuum_enabled = off);
create index if not exists users_email on users (email);
create index if not exists users_email_again on users (email);
create index if not exists users_visits on users (visits);
insert into users select n, 'user ' || n, 'user' || n || '@example.com', repeat(md5(n::text), 8), 0
  from generate_series(0, 19999) n where not exists (select from users);
analyze users;
`

func userVisit(n int) (method, path string) {
	switch id := n * 7919 % people; {
	case n%20 == 3:
		return http.MethodGet, fmt.Sprintf("/search/%d", id)
	case n%3 == 0:
		return http.MethodPost, fmt.Sprintf("/users/%d", id)
	case n%41 == 1:
		return http.MethodGet, "/users/999999"
	default:
		return http.MethodGet, fmt.Sprintf("/users/%d", id)
	}
}

func userAnswer(ctx context.Context, s *service, r *http.Request) error {
	id, err := number(r)
	if err != nil {
		return failure{http.StatusBadRequest, "no number"}
	}
	switch {
	case first(r) == "search":
		var found int
		return s.db.QueryRow(ctx, `select count(*) from users a join users b on b.name like a.name || '%'
			where a.id between $1 and $1 + 3`, id).Scan(&found)
	case first(r) == "users" && r.Method == http.MethodPost:
		_, err := s.db.Exec(ctx, "update users set visits = visits + 1 where id between $1 and $1 + 49", id)
		if err != nil {
			return err
		}
		return s.cache.Del(ctx, fmt.Sprintf("user:%d", id)).Err()
	case first(r) == "users":
		key := fmt.Sprintf("user:%d", id)
		if s.cache.Get(ctx, key).Err() == nil {
			return nil
		}
		var note string
		err := s.db.QueryRow(ctx, "select coalesce(max(note), '') from users where id = $1", id).Scan(&note)
		if err != nil {
			return err
		}
		if note == "" {
			return failure{http.StatusNotFound, "no such user"}
		}
		return s.cache.Set(ctx, key, note, 0).Err() // without a TTL: it grows
	}
	return failure{http.StatusNotFound, "no such page"}
}

// Logs and documents age, and logs grow with each request.
const adminSetup = setupOnce + `
create table if not exists logs (
  id bigint generated always as identity primary key, created_at timestamptz not null, line text not null);
create index if not exists logs_created_at on logs (created_at);
create table if not exists logs_archive (like logs);
create table if not exists documents (
  id bigint generated always as identity primary key, title text not null, deleted_at timestamptz);
insert into logs (created_at, line)
  select now() - n * interval '20 minutes', 'line ' || n from generate_series(1, 20000) n
  where not exists (select from logs);
insert into documents (title, deleted_at)
  select 'document ' || n, case when n % 5 = 0 then now() - n * interval '1 hour' end from generate_series(1, 10000) n
  where not exists (select from documents);
`

func adminVisit(n int) (method, path string) {
	switch {
	case n%50 == 5:
		return http.MethodGet, "/reports/0"
	case n%3 == 0:
		return http.MethodPost, "/documents/1"
	case n%7 == 1:
		return http.MethodDelete, fmt.Sprintf("/documents/%d", n%10000)
	default:
		return http.MethodGet, "/logs/100"
	}
}

func adminAnswer(ctx context.Context, s *service, r *http.Request) (err error) {
	id, err := number(r)
	if err != nil {
		return failure{http.StatusBadRequest, "no number"}
	}
	switch first(r) + " " + r.Method {
	case "reports " + http.MethodGet: // the share of nothing, which is an error
		_, err = s.db.Exec(ctx, "select count(*) / $1::int from documents", id)
	case "documents " + http.MethodPost:
		_, err = s.db.Exec(ctx, "insert into documents (title) values ('document')")
	case "documents " + http.MethodDelete:
		_, err = s.db.Exec(ctx, "update documents set deleted_at = now() where id = $1", id)
	case "logs " + http.MethodGet:
		_, err = s.db.Exec(ctx, "select id, created_at, line from logs order by created_at desc limit $1", id)
	default:
		return failure{http.StatusNotFound, "no such page"}
	}
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, "insert into logs (created_at, line) values (now(), $1)", r.Method+" "+r.URL.Path)
	return err
}

// adminWork mails what no one reads, and each fifth time no mail server is there.
func adminWork(_ context.Context, _ *service, n int) (string, error) {
	if n%5 == 4 {
		return "", fmt.Errorf("mailer: message %d: the mail server refuses the connection", n)
	}
	return fmt.Sprintf("mailer: message %d sent", n), nil
}

// first is the first part of a path.
func first(r *http.Request) string {
	part, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return part
}

// number is the second part of a path.
func number(r *http.Request) (int, error) {
	_, part, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return strconv.Atoi(part)
}
