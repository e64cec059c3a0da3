package text

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// Calendar writes the next and the last occurrences of the schedules.
func Calendar(w io.Writer, all console.Calendar) error {
	if len(all.Next)+len(all.Last) == 0 {
		_, err := fmt.Fprintln(w, "No schedules.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NEXT\tZONE\tSCHEDULE\tACTION\tMODE\tON")
	for _, n := range all.Next {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", clock(n.At), n.Zone, n.Schedule, n.Action, n.Mode, subjects(n))
	}
	if len(all.Last) > 0 {
		fmt.Fprintln(t, "\nLAST\tZONE\tSCHEDULE\tRESULT\tRUNS\tWHY")
	}
	for _, h := range all.Last {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", clock(h.At), h.Zone, h.Schedule, h.Outcome, made(h.Runs),
			cmp.Or(h.Why, "–"))
	}
	return t.Flush()
}

// clock writes a time as the clock of the schedule's zone shows it, and how far that
// is from UTC: in autumn it shows an hour twice.
func clock(at time.Time) string { return at.Format("Mon 2006-01-02 15:04 -07:00") }

// subjects says on what a schedule works: on what is fixed, on what its query gives.
func subjects(n schedule.Coming) string {
	parts := []string{journal.Subject(n.Subject)}
	if n.Query != "" {
		parts = append(parts, "each of "+n.Query)
	}
	if len(n.Windows) > 0 {
		parts = append(parts, "in the window "+strings.Join(n.Windows, " or "))
	}
	return strings.TrimPrefix(strings.Join(parts, ", "), ", ")
}

func made(runs []console.Made) string {
	var all []string
	for _, r := range runs {
		all = append(all, fmt.Sprintf("%d %s", r.ID, cmp.Or(string(r.State), "(gone)")))
	}
	return cmp.Or(strings.Join(all, ", "), "–")
}
