// Package remediate is the vocabulary of change: what an alert, an incident, an
// action, a plan and a run are, what an action promises, and the states that a
// run passes. It does nothing by itself. Package engine executes runs;
// the packages under actions do the work.
package remediate
