// Package rows moves the rows of a PostgreSQL table that are past their age to another
// table, or deletes them, in small batches: what is moved (Movement), what was found out
// about both tables (Survey), and the batches themselves (Transfer).
package rows
