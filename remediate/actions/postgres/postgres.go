// Package postgres changes PostgreSQL. Each file is one action; session.go is how
// all of them work on a server: under a lock of their own, as far as the fence
// allows, and never twice.
package postgres
