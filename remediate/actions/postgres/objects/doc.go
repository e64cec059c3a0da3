// Package objects moves the rows of a table that are past their age into objects of a
// store, a folder or a bucket, and brings them back. A ledger in the database records
// which rows are in which object.
package objects
