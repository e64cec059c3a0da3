package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

func serveCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve --config upkeep.yaml",
		Short: "Run upkeep until stopped; SIGHUP reloads the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), file) },
	}
	configFlag(cmd, &file)
	return cmd
}

func serve(ctx context.Context, file string) error {
	load := func() (*config.Config, error) { return config.Load(file, app.Known()) }
	c, err := load()
	if err != nil {
		return err
	}
	log := logger(c.Log)
	a, err := app.New(ctx, c, app.Options{Version: buildVersion(), Logger: log, Load: load})
	if err != nil {
		return err
	}
	if terminal(os.Stderr) {
		if link, err := a.LoginLink(); err == nil {
			fmt.Fprintf(os.Stderr, "\nOpen %s\nto log in, once, until %s. Later: upkeep login\n\n", link.URL, link.Until)
		}
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				_ = a.Reload() // logged there
			}
		}
	}()
	go trimAfterStart(ctx, log)
	return a.Run(ctx)
}

// terminal reports whether a person may read what is written to a file.
func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func logger(c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(c.Level))); err != nil {
		panic(fmt.Sprintf("log.level %q was not checked", c.Level))
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
