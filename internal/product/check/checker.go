package check

import (
	"fmt"
	"slices"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// A Finding is one thing that is wrong, with its place and what to do about it.
type Finding struct {
	File    string
	Line    int  // 0 where it is in no line
	Warning bool // it may be right with what upkeep does not see; else it cannot work
	Text    string
}

// String writes the finding in one line, as compilers do, whatever things are called.
func (f Finding) String() string {
	place, kind := f.File, ""
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	if f.Warning {
		kind = "warning: "
	}
	return visible.Text(fmt.Sprintf("%s: %s%s", place, kind, f.Text))
}

// A checker collects what it finds in one configuration.
type checker struct {
	config *config.Config
	source *config.Source
	words  *vocabulary
	found  []Finding
}

// A place is a path of keys and indexes in the configuration.
type place []any

func in(steps ...any) place { return steps }

func (p place) in(steps ...any) place { return append(slices.Clone(p), steps...) }

// fault notes what cannot work.
func (k *checker) fault(at place, format string, args ...any) {
	k.add(k.source.File(), k.source.Line(at...), false, fmt.Sprintf(format, args...))
}

// warn notes what may be right with what is not in the configuration.
func (k *checker) warn(at place, format string, args ...any) {
	k.add(k.source.File(), k.source.Line(at...), true, fmt.Sprintf(format, args...))
}

func (k *checker) add(file string, line int, warning bool, text string) {
	k.found = append(k.found, Finding{File: file, Line: line, Warning: warning, Text: text})
}

// outside reports whether the user's own Prometheus scrapes and evaluates: labels,
// metrics and alerts can be there that upkeep does not know.
func (k *checker) outside() bool { return !k.config.Embedded.Enabled }

// delivered reports whether alerts can come from elsewhere than from the rules of this
// configuration.
func (k *checker) delivered() bool { return k.outside() || k.config.Grafana.Secret() != nil }

// foreign reports whether metrics are stored that upkeep does not declare.
func (k *checker) foreign() bool { return k.outside() || scrapesOthers(k.config) }

// meant says which name was meant, where one is near, and else what to do.
func meant(got string, names []string, otherwise string) string {
	if near := config.Nearest(got, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return otherwise
}

func (k *checker) report(at place, warning bool, format string, args ...any) {
	k.add(k.source.File(), k.source.Line(at...), warning, fmt.Sprintf(format, args...))
}
