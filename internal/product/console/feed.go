package console

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

// askTime is how long the store or Prometheus may take for a page.
const askTime = 2 * time.Second

// maxAwaiting is how many runs that await approval are listed at once.
const maxAwaiting = 12

// Quiet says which alerts are silenced or muted: see inbox.Delivery.
type Quiet interface {
	Quiet(ctx context.Context, all []remediate.Incident) (map[int64]string, error)
}

// A feed passes what has happened to open pages. It asks the store while someone listens.
type feed struct {
	mu      sync.Mutex
	edition string // changes when something happens
	heard   map[chan string]struct{}
	stop    context.CancelFunc // of who asks
	over    chan struct{}      // closed at the end
}

func newFeed() feed { return feed{heard: make(map[chan string]struct{}), over: make(chan struct{})} }

func (f *feed) current() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.edition
}

// A pending is what Prometheus says of alerts that may fire soon.
type pending struct {
	alerts []page.Pending
	count  int64
	err    error
}

// A kept is what was read a moment ago: many open pages read it once.
type kept struct {
	mu   sync.Mutex
	at   time.Time
	last pending
}

// keptFor is how long it is believed.
const keptFor = 5 * time.Second

func (k *kept) get(read func() pending) pending {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.at) > keptFor {
		k.last, k.at = read(), time.Now()
	}
	return k.last
}

// keptReports are the periods that were listed last.
type keptReports struct {
	turn chan struct{} // held by who reads
	at   time.Time
	last page.Reports
}

// keptRights are what was found last.
type keptRights struct {
	turn chan struct{} // held by who asks
	last page.Rights
}

// problemLimit is how many letters of an error a page shows.
const problemLimit = 300

// short is an error in one line that is not long. A connection that is tried again and again says the same in
// several lines: once is enough.
func short(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.Join(strings.Fields(line), " "); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	text = strings.Join(lines, " ")
	letters := []rune(text)
	if len(letters) <= problemLimit {
		return text
	}
	// Half of an address is another address: the word in which the limit is stays whole, unless it is no word.
	kept, rest := string(letters[:problemLimit]), string(letters[problemLimit:])
	end, _, more := strings.Cut(rest, " ")
	switch {
	case len(end) <= problemLimit && !more:
		return text
	case len(end) <= problemLimit:
		return kept + end + " …"
	}
	return kept + "…"
}
