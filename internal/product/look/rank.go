package look

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// mostOfKind is how many findings of one kind a report has of a server: who has read ten has understood.
const mostOfKind = 10

// rank orders findings, the worst first: by severity, by what they endanger, and by how much of it.
func rank(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(remediate.SeverityOf(b.Severity), remediate.SeverityOf(a.Severity)),
			cmp.Compare(slices.Index(Harms(), a.Harm), slices.Index(Harms(), b.Harm)),
			cmp.Compare(b.Bytes, a.Bytes),
			cmp.Compare(b.Seconds, a.Seconds),
			cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Server, b.Server),
			cmp.Compare(a.subjectKey(), b.subjectKey()),
		)
	})
}

// subjectKey is a subject as one text, to have one order.
func (x Finding) subjectKey() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(x.Subject)) {
		b.WriteString(name + "\x00" + x.Subject[name] + "\x00")
	}
	return b.String()
}

// cut keeps the first findings of each kind of each server, in their order, and counts the others.
func cut(all []Finding) (kept []Finding, left []Left) {
	type group struct{ server, kind string }
	counts := make(map[group]int)
	rest := make(map[group]*Left)
	kept = []Finding{}
	for _, x := range all {
		g := group{x.Server, x.Kind}
		if counts[g]++; counts[g] <= mostOfKind {
			kept = append(kept, x)
			continue
		}
		if rest[g] == nil {
			rest[g] = &Left{Server: x.Server, Kind: x.Kind}
		}
		rest[g].Count++
		rest[g].Bytes += x.Bytes
	}
	left = []Left{}
	for _, l := range rest {
		left = append(left, *l)
	}
	slices.SortFunc(left, func(a, b Left) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Kind,
			b.Kind))
	})
	return kept, left
}
