// Package advice finds what could be done about the indexes of a server, and knows what
// the catalog says of an index that is to be dropped.
package advice
