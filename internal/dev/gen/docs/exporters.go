package main

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
)

// exporterFiles are the names of the metrics of other exporters, as those wrote them beside real servers, and what
// upkeep has in their place.
//
//go:embed exporters/*.tsv
var exporterFiles embed.FS

// An exporter is a program whose dashboards people have.
type exporter struct {
	name, version string
	metrics       []string
}

// A reply is what upkeep has in the place of some metrics.
type reply struct {
	pattern string   // a name, or a pattern as path.Match has it
	ours    []string // metrics; none where upkeep has nothing
	rule    string   // what gives the old name, as PromQL; "=" for ours alone, "" for none
	note    string
}

// rows returns the lines of a table, without empty ones and comments.
func rows(file string) (all [][]string, err error) {
	text, err := exporterFiles.ReadFile("exporters/" + file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, strings.Split(line, "\t"))
		}
	}
	return all, nil
}

func exporters() (all []exporter, err error) {
	names, err := rows("names.tsv")
	if err != nil {
		return nil, err
	}
	for _, row := range names {
		if len(row) == 2 { // a version begins the list of an exporter
			all = append(all, exporter{name: row[0], version: row[1]})
			continue
		}
		if len(row) != 1 || len(all) == 0 {
			return nil, fmt.Errorf("names.tsv: %q is no name", row)
		}
		last := &all[len(all)-1]
		last.metrics = append(last.metrics, row[0])
	}
	return all, nil
}

func exporterAnswers() (all []reply, err error) {
	table, err := rows("answers.tsv")
	if err != nil {
		return nil, err
	}
	for _, row := range table {
		if len(row) != 4 {
			return nil, fmt.Errorf("answers.tsv: %q has %d columns of 4", row, len(row))
		}
		all = append(all, reply{row[0], strings.Fields(row[1]), row[2], row[3]})
	}
	return all, nil
}

// answered returns the metrics that each answer is about, by its pattern. The first answer whose pattern a name
// matches is its own.
func answered(metrics []string, answers []reply) (of map[string][]string) {
	of = make(map[string][]string)
	for _, m := range metrics {
		for _, a := range answers {
			if ok, err := path.Match(a.pattern, m); err == nil && ok {
				of[a.pattern] = append(of[a.pattern], m)
				break
			}
		}
	}
	return of
}

const exportersText = `# Metrics of other exporters

What upkeep has in the place of each metric of three exporters, or why it has none. The names are those that Debian's
packages write beside real servers. Labels differ: ` + "`server`" + ` is the name in the configuration, and takes the
place of ` + "`instance`" + `.

Metrics that are marked with *rule* can be had under their old names too, so that dashboards and rules that you have
go on working. ` + "`upkeep export DIR`" + ` writes the recording rules to DIR/old-names; load that file into your
Prometheus, or name it in ` + "`embedded.rule_files`" + `. In them ` + "`instance`" + ` is the name of the target,
` + "`datname`" + ` the database, and so on. They cost a series for each of yours: leave out the groups that you do not
need, and remove the file when no dashboard uses the old names.
`

func exportersPage(all []exporter, answers []reply) string {
	p := new(page)
	p.f("%s", exportersText)
	for _, e := range all {
		p.f("\n## %s\n\nVersion %s, %d metrics, without those of the exporter's own process.\n\n"+
			"| metric | upkeep | |\n| --- | --- | --- |\n", e.name, e.version, len(e.metrics))
		all := answered(e.metrics, answers)
		for _, a := range answers {
			of := all[a.pattern]
			if len(of) == 0 {
				continue
			}
			name := "`" + a.pattern + "`"
			if len(of) > 1 {
				name += fmt.Sprintf(" (%d metrics)", len(of))
			}
			ours := code(a.ours)
			if len(a.ours) == 0 {
				ours = "–"
			}
			note := a.note
			if a.rule != "" {
				note = strings.TrimSuffix("*rule*. "+note, " ")
			}
			p.f("| %s | %s | %s |\n", name, ours, cell(note))
		}
	}
	return p.String()
}

// A renaming gives a label its old name.
type renaming struct{ prefix, ours, theirs, as string }

func renamings() []renaming {
	return []renaming{
		{"", "server", "instance", "$1"},
		{"pg_", "database", "datname", "$1"},
		{"pg_", "schema", "schemaname", "$1"},
		{"pg_", "table", "relname", "$1"},
		{"pg_", "slot", "slot_name", "$1"},
		{"redis_", "command", "cmd", "$1"},
		{"redis_", "db", "db", "db$1"},
		{"node_", "processor", "cpu", "$1"},
	}
}

// oldNames returns the recording rules that give metrics their old names.
func oldNames(all []exporter, answers []reply) string {
	labels := make(map[string][]string)
	for _, c := range catalog.EveryCollector() {
		for _, m := range c.Metrics {
			labels[m.Name] = m.Labels
			if m.Type == collectors.Histogram {
				labels[m.Name+"_sum"], labels[m.Name+"_count"] = m.Labels, m.Labels
			}
		}
	}
	p := new(page)
	p.f("# Generated by internal/dev/gen/docs from exporters/answers.tsv; DO NOT EDIT.\n" +
		"# Metrics of upkeep under the names of other exporters, for dashboards that you have. upkeep itself\n" +
		"# does not read them: load the file, or the groups of it that you need, and remove it when you need it no\n" +
		"# more.\ngroups:\n")
	for _, e := range all {
		p.f("  - name: old-names-%s\n    rules:\n", e.name)
		of := answered(e.metrics, answers)
		for _, a := range answers {
			if a.rule == "" || len(of[a.pattern]) == 0 {
				continue
			}
			expr := a.rule
			if expr == "=" {
				expr = a.ours[0]
			}
			for _, r := range renamings() {
				if strings.HasPrefix(a.pattern, r.prefix) && slices.Contains(labels[a.ours[0]], r.ours) {
					expr = fmt.Sprintf("label_replace(%s, %q, %q, %q, \"(.+)\")", expr, r.theirs, r.as, r.ours)
				}
			}
			p.f("      - record: %s\n        expr: %s\n", a.pattern, expr)
		}
	}
	return p.String()
}
