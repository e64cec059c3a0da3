package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/app"
)

// A loop that has not gone on for a minute is stuck, unless the store makes it wait, or it has not begun.
func TestStuck(t *testing.T) {
	now := time.Now()
	writes, away := func() error { return nil }, func() error { return errors.New("away") }
	for _, tt := range []struct {
		name   string
		looped time.Time
		store  func() error
		stuck  bool
	}{
		{"it goes on", now.Add(-time.Second), writes, false},
		{"a moment before", now.Add(-59 * time.Second), writes, false},
		{"it does not go on", now.Add(-time.Minute), writes, true},
		{"for long", now.Add(-time.Hour), writes, true},
		{"it waits for the store", now.Add(-time.Hour), away, false},
		{"it has not begun", time.Time{}, writes, false},
	} {
		if err := app.Stuck(tt.looped, now, tt.store); (err != nil) != tt.stuck {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
