package app

import "time"

// Stuck is what the watchdog is kept quiet by.
func Stuck(looped, now time.Time, writes func() error) error { return stuck(looped, now, writes) }
