// Command service is what the tests run in containers: it writes log lines, and
// exits or fails its health check on request.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// number returns an argument.
func number(at int) int {
	n, err := strconv.Atoi(os.Args[at])
	if err != nil || n < 1 {
		os.Exit(5)
	}
	return n
}

func main() {
	what := "stay"
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	switch what {
	case "check":
		if _, err := os.Stat("/sick"); err == nil {
			os.Exit(1)
		}
		return
	case "fail":
		os.Exit(3)
	case "sick":
		if err := os.WriteFile("/sick", nil, 0o600); err != nil {
			os.Exit(4)
		}
	case "eat":
		var eaten [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			eaten = append(eaten, b)
		}
	case "flood": // so many lines, so many a second
		count, rate := number(2), number(3)
		began := time.Now()
		for i := range count {
			fmt.Printf(`{"level":"info","message":"done","path":"/api/users/%d","duration_ms":%d,"note":"%s"}`+"\n", i, i%90,
				strings.Repeat("x", 250))
			if ahead := time.Duration(i) * time.Second / time.Duration(rate); i%50 == 0 {
				time.Sleep(ahead - time.Since(began))
			}
		}
		return
	case "log":
		for i := range 100 {
			fmt.Printf(`{"level":"info","message":"done","path":"/api/users/%d","duration_ms":%d}`+"\n", i, i*15)
			fmt.Fprintf(os.Stderr, `{"level":"error","message":"user %d is gone","note":"%s"}`+"\n", i,
				strings.Repeat("x", 200*i))
		}
		fmt.Println("ERROR plain", 12)
	}
	time.Sleep(time.Hour)
}
