package main

import (
	"fmt"

	"github.com/ai-micro-service/upkeep/remediate"
)

// what says in a word or two what an entry is.
func what(e remediate.Entry) string {
	switch {
	case e.Note != "":
		return string(e.Note)
	case e.Step != 0 && e.Done:
		return fmt.Sprintf("step %d done", e.Step)
	case e.Step != 0:
		return fmt.Sprintf("step %d", e.Step)
	}
	return e.To.Named(e.Reason)
}
