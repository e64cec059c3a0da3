package depot

import (
	"time"
)

const (
	// attempts is how often a request is made in all, by do: with the pauses between them
	// it outlasts the restart of a store, some ten seconds. The client's own attempts
	// come to less, and its pauses are variables of its package.
	attempts = 6

	firstPause = 200 * time.Millisecond
	longPause  = 5 * time.Second
)
