// Command tour is what the compose stack has for upkeep to look after: a sample service in one of three
// roles, which writes log lines, exports metrics and uses PostgreSQL and Redis, and the relay through which
// upkeep asks the Docker engine about the stack's own containers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// asksWithin is how long a service may take to say that it is healthy.
const asksWithin = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(1)
	}
}

// command does what the arguments say: it serves, relays, or asks a service whether it is healthy.
func command(ctx context.Context, args []string, out io.Writer) error {
	usage := errors.New("usage: tour serve|relay|health [flags]")
	if len(args) == 0 {
		return usage
	}
	flags := flag.NewFlagSet("tour "+args[0], flag.ContinueOnError)
	switch args[0] {
	case "serve":
		return serveCommand(ctx, flags, args[1:], out)
	case "relay":
		engine := flags.String("engine", "/var/run/docker.sock", "the engine's socket")
		listen := flags.String("listen", "/run/engine/docker.sock", "the socket to listen on")
		project := flags.String("project", "upkeep", "compose project whose containers may be asked about")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return listenAndRelay(ctx, *engine, *listen, *project)
	case "health":
		address := flags.String("url", "", "URL of the service's health")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return healthy(ctx, *address)
	}
	return usage
}

// healthy is nil if a service answers that it is.
func healthy(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, asksWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_ = res.Body.Close() // only its status matters
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, res.Status)
	}
	return nil
}
