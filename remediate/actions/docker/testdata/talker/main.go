// Command talker is what the tests run in containers: it writes numbered lines, in
// bursts when it is sent SIGUSR1, or all the time.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	what := "burst"
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	n := 0
	say := func(lines int) {
		for range lines {
			fmt.Printf("line %d %s\n", n, strings.Repeat("<\" ", n*7%97)) // escaped in JSON, and blanks among it
			n++
		}
	}
	switch what {
	case "burst":
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGUSR1)
		say(1)
		for range asked {
			say(3000)
		}
	case "steady":
		pause := 10 * time.Millisecond // a busy machine can read that much
		if len(os.Args) > 2 {
			pause, _ = time.ParseDuration(os.Args[2]) // of the test's own flag
		}
		for {
			say(20)
			time.Sleep(pause)
		}
	}
}
