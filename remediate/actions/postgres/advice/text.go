package advice

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Markdown is the list for people. Names are whatever somebody called an index: in
// the text they are escaped, and statements are in blocks that they cannot end.
func (a Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Indexes of %s\n\nWritten at %s. Nothing of this was done.\n", plain(a.Server),
		a.At.UTC().Format(time.RFC3339Nano))
	for _, d := range a.Databases {
		d.markdown(&b, a.At)
	}
	return b.String()
}

func (d Database) markdown(b *strings.Builder, now time.Time) {
	fmt.Fprintf(b, "\n## Database %s\n\n", plain(d.Database))
	if d.Fault != "" {
		fmt.Fprintf(b, "**Not all of it could be read:** %s\n\n", plain(d.Fault))
	}
	if d.Since.IsZero() {
		return
	}
	fmt.Fprintf(b, "Writes are counted since %s. That scans are counted is known since %s, %d days: %s.",
		d.Begun.UTC().Format(time.RFC3339), d.Since.UTC().Format(time.RFC3339), session.Days(now.Sub(d.Since)),
		plain(d.Why))
	switch {
	case !d.Counted:
		b.WriteString(" **Scans are not counted: track_counts is off, or not known to be on for every role and " +
			"database. Nothing counts as unused.**")
	case now.Sub(d.Since) < ProvenAfter:
		fmt.Fprintf(b, " **That is less than 30 days: that an index is unused proves nothing yet, and will from %s "+
			"on.**",
			d.Since.Add(ProvenAfter).UTC().Format(time.DateOnly))
	}
	if len(d.Unasked) > 0 {
		fmt.Fprintf(b, " **%d standbys may use indexes and were not asked (%s): make them targets with `replica_of`, "+
			"and set `standbys_listed` when no other answers queries.**", len(d.Unasked),
			plain(strings.Join(d.Unasked, ", ")))
	}
	b.WriteString("\n")
	section(b, "Unused", "No query has used them. Ask who made them and for what; work of the end of a quarter or "+
		"year may not be in the count.", d.Unused)
	section(b, "Duplicate", "Identical to another, which stays.", d.Duplicate)
	section(b, "Redundant", "Their keys are the first of another's. That one is larger: keep the short one where it "+
		"is used much and fits into memory. upkeep does not drop these.", d.Redundant)
	section(b, "Invalid", "Left by an interrupted build or drop: no query uses them, and every write maintains them.",
		d.Invalid)
	section(b, "Bloated", "Larger than their entries need, by the estimate.", d.Bloated)
	if len(d.ForeignKeys) > 0 {
		keys(b, d.ForeignKeys)
	}
	if len(d.Unused)+len(d.Duplicate)+len(d.Redundant)+len(d.Invalid)+len(d.Bloated)+len(d.ForeignKeys) == 0 {
		b.WriteString("\nNothing is advised.\n")
	}
}

func section(b *strings.Builder, title, what string, all []Index) {
	if len(all) == 0 {
		return
	}
	sum := int64(0)
	for _, x := range all {
		sum += x.SizeBytes
	}
	fmt.Fprintf(b, "\n### %s: %d, %s\n\n%s\n\n", title, len(all), session.Bytes(sum), what)
	b.WriteString("| table | index | size | scans | last scan | entries written a day, at most | bytes of entries a " +
		"day | updates that touch no index | |\n| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | --- |\n")
	var do, undo []string
	for _, x := range all {
		note := ""
		switch {
		case x.Beside != "":
			note = "beside " + plain(x.Beside)
		case x.BloatRatio > 0:
			note = remediate.Quantity("_ratio", x.BloatRatio) + " bloat"
		}
		if x.Note != "" {
			note = strings.TrimPrefix(note+"; "+plain(x.Note), "; ")
		}
		if x.From != "" {
			note += "; no DROP before " + x.From
		}
		fmt.Fprintf(b, "| %s.%s | %s | %s | %d | %s | %s | %s | %s | %s |\n", plain(x.Schema), plain(x.Table),
			plain(x.Index),
			session.Bytes(x.SizeBytes), x.Scans, plain(x.LastScan),
			known("", x.EntriesPerDay), known("_bytes", x.BytesPerDay), known("_ratio", x.HotRatio), note)
		if x.Do != "" {
			do = append(do, x.Do)
		}
		if x.Undo != "" {
			undo = append(undo, x.Undo)
		}
	}
	block(b, "", do)
	block(b, "To make them again:", undo)
}

func keys(b *strings.Builder, all []ForeignKey) {
	fmt.Fprintf(b, "\n### Foreign keys without an index: %d\n\nEach row that is deleted where they refer to reads "+
		"the whole table, and so does each change of its key.\n\n", len(all))
	b.WriteString("| table | constraint | refers to | rows | deletes and updates there a day |\n| --- | --- | --- | " +
		"---: | ---: |\n")
	var do []string
	for _, k := range all {
		fmt.Fprintf(b, "| %s.%s | %s | %s | %.0f | %s |\n", plain(k.Schema), plain(k.Table), plain(k.Constraint),
			plain(k.Refers), k.Rows, known("", k.PerDay))
		if k.Do != "" {
			do = append(do, k.Do)
		}
	}
	block(b, "", do)
}

func known(unit string, v *float64) string {
	switch {
	case v == nil:
		return ""
	case unit == "":
		return fmt.Sprintf("%.0f", *v)
	}
	return remediate.Quantity(unit, *v)
}

// block writes statements between fences that are longer than any row of
// backticks in them.
func block(b *strings.Builder, title string, statements []string) {
	if len(statements) == 0 {
		return
	}
	if title != "" {
		fmt.Fprintf(b, "\n%s\n", title)
	}
	text := strings.Join(statements, "\n")
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	fmt.Fprintf(b, "\n%ssql\n%s\n%s\n", fence, text, fence)
}

// plain is a text that says nothing but itself in a line or cell of Markdown.
func plain(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsControl(r) || !unicode.IsPrint(r):
			fmt.Fprintf(&b, "\\\\u%04x", r)
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case strings.ContainsRune("\\`*_{}[]()#+-.!|>~\"'$:@", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
