package servertest

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Patience is how long a test waits for a state that must come. It decides nothing but
// when a test that is to fail fails: a machine that does a hundred other things reaches
// the state within it.
const Patience = 5 * time.Minute

// longest is how long Eventually waits between two looks. It looks often at first, as
// most states come at once, and then seldom, as a look can cost a connection or a process.
const longest = 50 * time.Millisecond

// Eventually waits until holds returns true, or nil where it returns an error, and fails
// the test where that does not happen within Patience. What is waited for is in the
// failure, and the last error.
func Eventually[F func() bool | func() error](t testing.TB, what string, holds F) {
	t.Helper()
	look := looks(holds)
	end := time.Now().Add(Patience)
	for pause := 5 * time.Millisecond; ; pause = min(pause*3/2, longest) {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s: %v", Patience, what, err)
		}
		time.Sleep(pause)
	}
}

var errNot = errors.New("it does not hold")

// looks makes both kinds of question one.
func looks(holds any) func() error {
	switch is := holds.(type) {
	case func() error:
		return is
	case func() bool:
		return func() error {
			if is() {
				return nil
			}
			return errNot
		}
	}
	panic(fmt.Sprintf("servertest: %T", holds)) // the type parameter allows no other
}
