// Package rebuild makes tables and indexes anew to reclaim their space: by pg_repack, by
// moving rows to the front of the table, and by building an index concurrently.
package rebuild
