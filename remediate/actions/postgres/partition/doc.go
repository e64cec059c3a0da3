// Package partition takes the partitions of a table that are past their age as a whole:
// it drops them, or hands them over to the archive and back, and undoes a step that was
// interrupted.
package partition
