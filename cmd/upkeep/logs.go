package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/collectors/logs/pattern"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

func logsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "logs", Short: "Read the logs of containers"}
	cmd.AddCommand(logsTopCommand())
	return cmd
}

// logsTop is what "upkeep logs top" is asked for.
type logsTop struct {
	config, since, service string
	most                   int
	json                   bool
}

func logsTopCommand() *cobra.Command {
	var o logsTop
	cmd := &cobra.Command{
		Use:   "top [FILE…]",
		Short: "List the most frequent errors, endpoints and slow requests in container logs",
		Long: `Read the log files of Docker's json-file driver in one pass, rotated and compressed ones
included. Print for each service the most frequent errors (ids, numbers and addresses
are replaced by placeholders), the endpoints by number of requests and of slow requests,
and the request latency.

Without a FILE, upkeep asks the Docker engines of the configuration where the files are;
only root may read them. The log files of hosts are read too, whole: --since does not apply to them. The
journal is not read. The field names come from the configuration.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), args, cmd.Flags().Changed("config"))
		},
	}
	configFlag(cmd, &o.config)
	cmd.Flags().StringVar(&o.since, "since", "168h", "how far to look back; 0s means everything")
	cmd.Flags().StringVar(&o.service, "service", "", "show only this service")
	cmd.Flags().IntVar(&o.most, "top", 10, "how many entries of each list")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// A source is where the lines of one service are.
type source struct {
	fields config.Logs
	files  []string
	plain  bool // as the service wrote them
}

func (o logsTop) run(ctx context.Context, w io.Writer, args []string, configured bool) error {
	since, err := model.ParseDuration(o.since)
	if err != nil {
		return usage.Errorf("--since %q: want a duration like 12h or 7d", o.since)
	}
	if o.most < 1 {
		return usage.Errorf("--top %d: want at least 1", o.most)
	}
	sources, err := o.sources(ctx, args, configured)
	if err != nil && len(sources) == 0 {
		return err
	}
	var moment time.Time
	if since > 0 {
		moment = time.Now().Add(-time.Duration(since))
	}
	reports := make(map[string]*logs.Report)
	faults := []error{err}
	for name, s := range sources {
		f := s.fields
		r, err := logs.Analyze(ctx, s.files, logs.Options{Fields: logs.FieldsOf(target.LogFields(f)), Slow: f.Slow,
			Since: moment, Plain: s.plain})
		faults = append(faults, err)
		if r.Lines > 0 || err == nil {
			reports[name] = r
		}
	}
	if o.json {
		return errors.Join(append(faults, printJSON(w, reports))...)
	}
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		if err := o.print(w, name, reports[name]); err != nil {
			return err
		}
	}
	return errors.Join(faults...)
}

// sources finds the files: those that are named, or those of every container.
func (o logsTop) sources(ctx context.Context, args []string, configured bool) (map[string]source, error) {
	fields := config.Logs{Level: "level", Message: "message", Path: "path", Duration: "duration_ms", Slow: time.Second}
	if len(args) > 0 && !configured {
		return map[string]source{"logs": {fields: fields, files: args}}, nil
	}
	c, err := config.Load(o.config, app.Known())
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	hosts := slices.ContainsFunc(c.Targets.Host, func(h config.Host) bool { return len(h.Logs.Files) > 0 })
	if len(c.Targets.Docker) == 0 && (!hosts || len(args) > 0) {
		return nil, fmt.Errorf("%s names no Docker engine under targets.docker, and no log files of a host; name log "+
			"files instead: upkeep logs top FILE", o.config)
	}
	if len(args) > 0 {
		return map[string]source{"logs": {fields: c.Targets.Docker[0].Logs, files: args}}, nil
	}
	all := make(map[string]source)
	var faults []error
	for _, t := range c.Targets.Docker {
		faults = append(faults, o.ask(ctx, t, all))
	}
	for _, h := range c.Targets.Host {
		found, err := pattern.Files(target.NewHost(h.Name, h.Root, h.Logs.Target(h.Root, "")), o.service)
		for service, files := range found {
			all[h.Name+"/"+service] = source{h.Logs.Fields, files, true}
		}
		faults = append(faults, err)
	}
	if len(all) == 0 && errors.Join(faults...) == nil {
		return nil, errors.New("no container has a log file; only the json-file driver writes one")
	}
	return all, errors.Join(faults...)
}

// ask asks an engine where the logs of its containers are.
func (o logsTop) ask(ctx context.Context, t config.Docker, all map[string]source) error {
	d, err := target.NewDocker(target.DockerConfig{Name: t.Name, Host: t.Host, TLS: t.TLS(), Root: t.Root})
	if err != nil {
		return err
	}
	defer d.Close()
	containers, err := d.Containers(ctx)
	for _, k := range containers {
		if k.LogPath == "" || k.LogDriver != "json-file" || o.service != "" && o.service != k.Service {
			continue
		}
		name := t.Name + "/" + k.Service
		files, err := d.LogFiles(k)
		if err != nil {
			return fmt.Errorf("container %s: %w", k.Name, err)
		}
		all[name] = source{fields: t.Logs, files: append(all[name].files, files...)}
	}
	return err
}

func (o logsTop) print(w io.Writer, name string, r *logs.Report) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%s: %d lines, %d errors, %d requests, %d slow", name, r.Lines, r.Errors, r.Requests, r.Slow)
	if r.P50 > 0 {
		fmt.Fprintf(t, "; p50 %s, p95 %s, p99 %s", short(r.P50), short(r.P95), short(r.P99))
	}
	fmt.Fprintln(t)
	for _, list := range []struct {
		title string
		all   []logs.Frequent
	}{{"errors", r.Templates}, {"requests", r.Endpoints}, {"slow requests", r.Slowest}} {
		if len(list.all) == 0 {
			continue
		}
		fmt.Fprintf(t, "\n  %s\n", list.title)
		for _, f := range list.all[:min(o.most, len(list.all))] {
			about := ""
			if f.Over > 0 {
				about = fmt.Sprintf("\t(too many by %d at most)", f.Over)
			}
			fmt.Fprintf(t, "  %d\t%s%s\n", f.Count, strings.ToValidUTF8(f.Name, "?"), about)
		}
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// short is a duration as a person reads it.
func short(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
