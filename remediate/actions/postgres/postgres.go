// Package postgres changes PostgreSQL: each action is one file. How they work on a
// server is in the packages below: session, relation, rows, partition, objects, rebuild
// and advice. What the three actions on aged rows have in common is in moving.go.
package postgres
