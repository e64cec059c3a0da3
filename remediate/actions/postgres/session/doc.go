// Package session opens the sessions in which actions work on PostgreSQL, and checks
// that each is what it is taken for: a connection to the server itself, not to a pooler,
// and to the server that the plan was made for. A Job is one step in such a session,
// under the lock of its subject. Beside it are what all work has in common: retries of a
// lock, pauses until replicas can follow, and who is in the way.
package session
