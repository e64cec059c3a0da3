// Package rows holds what every action relies on that moves, deletes or drops
// rows of PostgreSQL: first of all the contract of a relation, which says what must
// not change between the plan and the commit.
package relation
