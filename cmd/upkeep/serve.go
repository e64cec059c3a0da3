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

	"github.com/ai-micro-service/upkeep/internal/platform/process"
	"github.com/ai-micro-service/upkeep/internal/platform/systemd"
	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	configcheck "github.com/ai-micro-service/upkeep/internal/product/check"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

func serveCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve --config upkeep.yaml",
		Short: "Run upkeep until stopped; SIGHUP reloads the configuration",
		RunE:  func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), file) },
	}
	configFlag(cmd, &file)
	return cmd
}

func serve(ctx context.Context, file string) error {
	process.Private()
	c, found, err := safe(file)
	if err != nil {
		return fail(exitUsage, err)
	}
	log := logger(c.Log)
	warn(log, found)
	load := func() (*config.Config, error) {
		c, found, err := safe(file)
		warn(log, found)
		return c, err
	}
	service, err := systemd.FromEnvironment(log)
	if err != nil {
		return fail(exitUsage, err)
	}
	a, err := app.New(ctx, c, app.Options{Version: buildVersion(), Logger: log, Load: load})
	if err != nil {
		return err
	}
	if terminal.Is(os.Stderr) {
		if link, err := a.LoginLink(); err == nil {
			fmt.Fprintf(os.Stderr, "\nOpen %s\nto log in, once, until %s. Later: upkeep login\n\n", link.URL,
				link.Until)
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
				service.Reload(a.Reload)
			}
		}
	}()
	go process.TrimAfterStart(ctx, log)
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	go service.Run(life, ctx, systemd.Process{Ready: a.Ready, Alive: a.Alive})
	return a.Run(ctx)
}

// warn logs what is weak in a configuration, and what cannot work as it is written.
func warn(log *slog.Logger, found []configcheck.Finding) {
	for _, f := range found {
		what := "weak configuration"
		if !f.Warning {
			what = "a part of the configuration cannot work"
		}
		log.Warn(what, "place", fmt.Sprintf("%s:%d", f.File, f.Line), "why", f.Text)
	}
}

// safe reads a configuration that is not dangerous, and returns what is weak in it and what cannot work.
func safe(file string) (c *config.Config, found []configcheck.Finding, err error) {
	c, source, err := config.Read(file, app.Known())
	if err == nil {
		err = c.Private()
	}
	if err == nil {
		found, err = configcheck.Start(c, source)
	}
	return c, found, err
}

func logger(c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(c.Level))); err != nil {
		panic(fmt.Sprintf("log.level %q was not checked", c.Level))
	}
	o := &slog.HandlerOptions{Level: level}
	w := visible.NewWriter(os.Stderr) // the handlers quote control letters, and leave others that change a line
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
