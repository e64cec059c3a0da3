package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
)

func archivesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archives",
		Short: "List and verify the objects that hold archived rows, in a folder or a bucket",
		Long: `List and verify the objects to which postgres/archive has moved rows. The database records
which rows were moved to which object; the folder or bucket shows which objects exist. If the
two do not match, the command exits with status 1.

An object without a record in the database holds copies: the process that wrote it was
killed, or rows changed meanwhile, before they were deleted. It may be removed.`,
		Example: `  upkeep archives list -c upkeep.yaml
  upkeep archives verify -c upkeep.yaml
  zcat FILE | head -1                                  what is in a file
  zcat FILE | tail -n +2 | psql -c 'COPY … FROM stdin'   its rows; the statement is in its first line`,
	}
	for _, c := range []struct {
		use, short string
		verify     bool
	}{
		{"list --config upkeep.yaml", "List the objects with their rows, their size and their range of time", false},
		{"verify --config upkeep.yaml", "Read every object and compare its checksums", true},
	} {
		var file string
		sub := &cobra.Command{
			Use: c.use, Short: c.short,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return archives(cmd.Context(), cmd.OutOrStdout(), file, c.verify)
			},
		}
		configFlag(sub, &file)
		cmd.AddCommand(sub)
	}
	return cmd
}

// archives prints the objects of every archive that has a store.
func archives(ctx context.Context, w io.Writer, file string, verify bool) error {
	c, err := config.Load(file, app.Known())
	if err != nil {
		return fail(exitUsage, err)
	}
	set, err := app.Targets(c)
	if err != nil {
		return err
	}
	defer set.Close()
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SERVER\tTABLE\tROWS\tSIZE\tOLDEST\tNEWEST\tSTATE\tOBJECT")
	var wrong []error
	for _, p := range set.Postgres {
		for _, a := range p.Archives {
			if a.To.Store == nil {
				continue
			}
			found, err := list(ctx, t, p, a, verify)
			if err != nil {
				return fmt.Errorf("postgres %s: archive of %s.%s: %w", p.Name, a.Schema, a.Table, err)
			}
			wrong = append(wrong, found...)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(wrong) > 0 {
		wrong = append(wrong, fmt.Errorf("%d objects with archived rows are missing or damaged", len(wrong)))
		return fail(exitNo, errors.Join(wrong...))
	}
	return nil
}

// list prints the objects of one archive and returns what is wrong with those that
// the database relies on.
func list(ctx context.Context, w io.Writer, p *target.Postgres, a target.Archive, verify bool) (wrong []error,
	err error) {
	db, err := p.Database(a.Database)
	if err != nil {
		return nil, err
	}
	ledger, err := read.ReadLedger(ctx, db, a)
	if err != nil {
		return nil, err
	}
	server, _ := relation.NewReader(ctx, db) // where the role may not ask, no object is said to be of another server
	there, err := a.To.Store.List(ctx, depot.Prefix(a.Database, a.Schema, a.Table))
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64)
	for _, o := range there {
		sizes[o.Name] = o.Size
	}
	for _, e := range ledger {
		size, found := sizes[e.Object]
		state := "moved"
		switch {
		case !found:
			state = "MISSING"
			wrong = append(wrong, fmt.Errorf("object %s: %w", e.Object, depot.ErrMissing))
		case verify:
			state = "good"
			if err := check(ctx, a.To.Store, e.Object, e.Rows); err != nil {
				state, wrong = "WRONG", append(wrong, err)
			}
		case e.Back == e.Rows:
			state = "back"
		case e.Back > 0:
			state = fmt.Sprintf("%d rows back", e.Back)
		}
		line(w, p, a, strconv.FormatInt(e.Rows, 10), size, e.Oldest, e.Newest, state, e.Object)
	}
	for _, o := range there {
		if slices.ContainsFunc(ledger, func(e read.Parcel) bool { return e.Object == o.Name }) {
			continue
		}
		state := "no entry"
		if of := systemOf(ctx, a.To.Store, o.Name); of != "" && server.System != "" && of != server.System {
			state = "of another server"
		}
		if verify && check(ctx, a.To.Store, o.Name, -1) != nil {
			state += ", damaged"
		}
		line(w, p, a, "–", o.Size, "–", "–", state, o.Name)
	}
	return wrong, nil
}

// systemOf reports which server an object says it is of; "" where it says nothing.
func systemOf(ctx context.Context, s depot.Store, name string) string {
	content, err := depot.Open(ctx, s, name)
	if err != nil {
		return ""
	}
	defer func() { _ = content.Close() }() // was read
	p, err := depot.ReadParcel(name, content)
	if err != nil {
		return ""
	}
	return p.System
}

func line(w io.Writer, p *target.Postgres, a target.Archive, rows string, size int64, oldest, newest, state,
	object string) {
	fmt.Fprintf(w, "%s\t%q\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, a.Schema+"."+a.Table, rows,
		remediate.Quantity("_bytes", float64(size)), oldest, newest, state, object)
}

// check reads an object and says what is wrong with it. Rows is how many it should
// have; -1: any number.
func check(ctx context.Context, s depot.Store, name string, rows int64) error {
	content, err := depot.Open(ctx, s, name)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // was read
	p, err := depot.ReadParcel(name, content)
	if err != nil {
		return err
	}
	err = p.Whole()
	if err == nil && rows >= 0 && int64(p.Rows) != rows {
		err = fmt.Errorf("object %s has %d rows, and the database says %d", name, p.Rows, rows)
	}
	return err
}
