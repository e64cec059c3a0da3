// Package relation knows the table or the index that an action works on: the Subject
// that a plan is made for, and the Contract, which says what must not change between
// the plan and the commit.
package relation
