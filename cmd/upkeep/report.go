package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	review "github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

// reportFlags are how a report is written.
type reportFlags struct {
	client
	period           string // the month or the quarter; "" for the last one
	format, out, bin string
}

func reportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Write the review of a month or a quarter",
		Long: `Write the review of a month or a quarter: services, statements, growth, bloat and indexes, backups,
updates, what upkeep did and what it helped, repeated alerts, and decisions for people. Every figure has its
query and the share of the time that its data cover. docs/report.md describes the figures.`,
	}
	cmd.AddCommand(periodCommand("month", "like 2026-10", review.Month),
		periodCommand("quarter", "like 2026-Q3", review.Quarter))
	return cmd
}

func periodCommand(kind, like string, read func(string, time.Time) (review.Period, error)) *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   kind,
		Short: "Write the review of a " + kind,
		Long: fmt.Sprintf(`Write the review of a %[1]s, by default of the last one that is over.

html and pdf are written to the file upkeep-PERIOD.html or .pdf in the working directory, md and json to standard
output; --out names another file, or - for standard output. A pdf is printed by the Chromium of this machine. Where
figures could not be read the review is written and says so, and the exit status is 1.`, kind),
		Example: fmt.Sprintf("  upkeep report %[1]s\n  upkeep report %[1]s --%[1]s %[2]s --format pdf --out "+
			"review.pdf", kind,
			strings.TrimPrefix(like, "like ")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.json {
				f.format = "json"
			}
			return f.write(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), kind, read)
		},
	}
	f.reach(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "short for --format json")
	cmd.Flags().StringVar(&f.period, kind, "", "the "+kind+", "+like+" (default the last one that is over)")
	cmd.Flags().StringVar(&f.format, "format", "html", "html, md, json or pdf")
	_ = cmd.RegisterFlagCompletionFunc("format", fixed("html", "md", "json", "pdf")) // it is there
	cmd.Flags().StringVarP(&f.out, "out", "o", "", "file to write, - for standard output")
	cmd.Flags().StringVar(&f.bin, "chromium", "", "path of Chromium, which prints the pdf (default chromium,\n"+
		"chromium-browser or google-chrome in PATH)")
	return cmd
}

// reportPatience is longer than upkeep takes for a report before it gives up, another one before it included.
const reportPatience = 3 * time.Minute

// write asks for a report and writes it.
func (f reportFlags) write(ctx context.Context, stdout, errs io.Writer, kind string,
	read func(string, time.Time) (review.Period, error)) error {
	if !slices.Contains([]string{"html", "md", "json", "pdf"}, f.format) {
		return usage.Errorf("--format %q: want html, md, json or pdf", f.format)
	}
	p, err := read(f.period, time.Now())
	if err != nil {
		return usage.Errorf("--%w", err)
	}
	if f.format == "pdf" && f.out == "-" {
		return usage.Errorf("--out -: a pdf is not written to standard output; name a file")
	}
	var r review.Report
	f.client.patience = reportPatience
	f.client.json = true // names are made visible where they are shown
	query := "/report?" + url.Values{kind: {p.Name}}.Encode()
	end := waiting(errs, "reading the data of "+p.Title())
	err = f.do(ctx, http.MethodGet, query, nil, &r)
	end()
	if err != nil {
		return err
	}
	write := func(w io.Writer) error { return f.form(ctx, w, r) }
	file := f.out
	switch {
	case file == "-", file == "" && (f.format == "md" || f.format == "json"):
		if err := write(stdout); err != nil {
			return err
		}
		return unread("the report", r)
	case file == "":
		file = "upkeep-" + p.Name + "." + f.format
	}
	if err := replaceFile(file, write); err != nil {
		return fmt.Errorf("--out %s: %w", file, err)
	}
	fmt.Fprintln(stdout, file)
	return unread(file, r)
}

// unread is an error where figures could not be read: what is written is not the whole review.
func unread(what string, r review.Report) error {
	n, of, why := r.Unread()
	if n == 0 {
		return nil
	}
	return fail(exitNo, fmt.Errorf("%s is written without %d of its %d figures: %s; write it again when that is mended",
		what, n, of, why))
}

// form writes a report in a format.
func (f reportFlags) form(ctx context.Context, w io.Writer, r review.Report) error {
	switch f.format {
	case "md":
		return review.Markdown(w, r)
	case "json":
		return printJSON(w, r)
	case "pdf":
		pdf, err := review.PDF(ctx, f.bin, r)
		if err == nil {
			_, err = w.Write(pdf)
		}
		return err
	}
	return review.Page(w, r)
}

// replaceFile writes a file, whole or not at all: the one before stays where something fails. A link stays a link,
// and what is no file (a device, a pipe) is written to.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	before, err := os.Stat(path)
	switch {
	case err == nil && before.IsDir():
		return errors.New("it is a folder; name a file")
	case err == nil && !before.Mode().IsRegular():
		return writeInto(path, write)
	}
	made, err := os.OpenFile(filepath.Join(filepath.Dir(path), ".upkeep-report-"+rand.Text()),
		os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // less what the umask forbids
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(made.Name()) // what is wrong is known
		}
	}()
	if err = write(made); err == nil && before != nil {
		err = made.Chmod(before.Mode().Perm())
	}
	if err == nil {
		err = made.Sync() // a disk may find out now that it is full; and a crash leaves no empty file
	}
	if e := made.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(made.Name(), path)
	}
	return err
}

// writeInto writes to what is there.
func writeInto(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}
