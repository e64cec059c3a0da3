package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// maxDeadLetter is how much is kept of a body that could not be read.
const maxDeadLetter = 64 << 10

// mostReasons is how many reasons are kept of one delivery for which alerts could not be read.
const mostReasons = 10

// An unread is alerts of a message that could not be read for one reason.
type unread struct {
	reason  string
	numbers []int // counted from 1
	bodies  []json.RawMessage
}

// alerts returns the alerts of a message, and those that could not be read: one of them
// costs none of its neighbours.
func (m message) alerts(from Source) (all []remediate.Alert, rest []unread) {
	for i, text := range m.Alerts {
		a, err := m.alert(from, text)
		if err == nil {
			all = append(all, a)
			continue
		}
		at := slices.IndexFunc(rest, func(u unread) bool { return u.reason == err.Error() })
		switch {
		case at >= 0:
			rest[at].numbers, rest[at].bodies = append(rest[at].numbers, i+1), append(rest[at].bodies, text)
		case len(rest) < mostReasons:
			rest = append(rest, unread{err.Error(), []int{i + 1}, []json.RawMessage{text}})
		}
	}
	return all, rest
}

func (m message) alert(from Source, text json.RawMessage) (a remediate.Alert, err error) {
	var t oneAlert
	if err := json.Unmarshal(text, &t); err != nil {
		return a, err
	}
	switch {
	case t.Status != "firing" && t.Status != "resolved":
		return a, fmt.Errorf("status %.20q: want firing or resolved", t.Status)
	case t.Labels["alertname"] == "":
		return a, errors.New("it has no alertname")
	}
	a = remediate.Alert{
		Source: from.Name, Labels: t.Labels, Annotations: t.Annotations, Firing: t.Status == "firing",
		StartsAt: t.StartsAt.UTC(),
	}
	if !a.Firing {
		a.EndsAt = t.EndsAt.UTC()
	}
	if !written(a.StartsAt) || !written(a.EndsAt) {
		return a, errors.New("its time is in no year from 0 to 9999")
	}
	from.complete(&a, m, t)
	return a.Bounded()
}

// written reports whether JSON can say a time.
func written(t time.Time) bool { return t.Year() >= 0 && t.Year() <= 9999 }

// text says which alerts could not be read, of how many, and why.
func (u unread) text(of int) string {
	const most = 5
	var which []string
	for _, n := range u.numbers[:min(len(u.numbers), most)] {
		which = append(which, fmt.Sprint(n))
	}
	what := "alert "
	if len(u.numbers) > 1 {
		what = "alerts "
	}
	if more := len(u.numbers) - most; more > 0 {
		which = append(which, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("%s%s of %d: %s", what, strings.Join(which, ", "), of, u.reason)
}

// body is what is kept of the alerts.
func (u unread) body() []byte {
	return slices.Concat([]byte("["), bytes.Join(bytesOf(u.bodies), []byte(",\n")), []byte("]"))
}

func bytesOf(all []json.RawMessage) (texts [][]byte) {
	size := 0
	for _, text := range all {
		if size += len(text); size > maxDeadLetter && len(texts) > 0 {
			break
		}
		texts = append(texts, text)
	}
	return texts
}
