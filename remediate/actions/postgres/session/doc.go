// Package session opens the sessions in which actions work on PostgreSQL, and
// checks that each is what it is taken for: a connection to the server itself, not
// to a pooler, and to the server that the plan was made for.
package session
