package look

import (
	"fmt"
	"hash/fnv"
	"strconv"
)

// Key is one for each object that a kind of finding is about, and the same at each look. It has letters and digits
// alone.
func (x Finding) Key() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(x.Server + "\x00" + x.Kind + "\x00" + x.subjectKey())) // never fails
	return strconv.FormatUint(h.Sum64(), 36)
}

// Edition changes when there are other findings, when one is worse or has a plan, and when something else is not known
// or not read. It stays where only figures change.
func (r Report) Edition() string {
	h := fnv.New64a()
	add := func(all ...any) { fmt.Fprintln(h, all...) }
	add(r.Complete)
	for _, f := range r.Findings {
		add(f.Key(), f.Severity, f.Plan != nil, f.Candidate != nil)
	}
	for _, u := range r.Unknown {
		add(u.Server, u.What, u.SQL)
	}
	for _, s := range r.Targets {
		add(s.Server, s.Kind, s.Pending)
	}
	for _, l := range r.Left {
		add(l.Server, l.Kind)
	}
	return strconv.FormatUint(h.Sum64(), 36)
}
