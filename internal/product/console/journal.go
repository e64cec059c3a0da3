package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// auditTime is enough for a journal of some years.
const auditTime = 15 * time.Minute

// entriesShown is how many entries a part of the journal has.
const entriesShown = 100

// log lists entries. A header Link leads to the next part, which there may be though this one has few.
func (c *Console) log(g *gin.Context) {
	_, n, ok := c.part(g, page.KeyBefore)
	if !ok {
		return
	}
	query := g.Request.URL.Query()
	if query.Get(page.KeyBefore) == "0" {
		query.Del(page.KeyBefore)
	}
	filter, err := entriesOf(query)
	if err != nil {
		c.Answer(g, 0, nil, portal.BadRequest(err.Error()))
		return
	}
	part, err := c.Journal.Find(g.Request.Context(), filter, n)
	if part.Entries == nil {
		part.Entries = []remediate.Entry{} // a list in JSON too
	}
	if part.More {
		query.Set(page.KeyBefore, strconv.FormatInt(part.Next, 10))
		g.Header("Link", "<"+Prefix+"/journal?"+query.Encode()+`>; rel="next"`)
	}
	c.Answer(g, http.StatusOK, part.Entries, err)
}

// entriesOf reads what an address selects of the journal.
func entriesOf(q url.Values) (f journal.EntryFilter, err error) {
	f = journal.EntryFilter{Kind: q.Get(page.KeyKind), Text: portal.Line(q.Get(page.KeyText), textLimit)}
	if f.Kind != "" && !slices.Contains(journal.Kinds(), f.Kind) {
		return f, fmt.Errorf("kind %q: want one of %s", f.Kind, strings.Join(journal.Kinds(), ", "))
	}
	for key, into := range map[string]*int64{page.KeyRun: &f.Run, page.KeyBefore: &f.Before} {
		if text := strings.TrimSpace(q.Get(key)); text != "" {
			if *into, err = strconv.ParseInt(text, 10, 64); err != nil || *into < 1 {
				return f, fmt.Errorf("%s %q: want a number", key, text)
			}
		}
	}
	return f, nil
}

func (c *Console) journalPage(g *gin.Context) { c.showJournal(g, nil) }

// showJournal shows a part of the journal, after it was verified also what that has shown.
func (c *Console) showJournal(g *gin.Context, verified *page.Verified) {
	j := page.Journal{At: time.Now(), May: portal.May(g), Query: g.Request.URL.Query(), Kinds: journal.Kinds(),
		Verified: verified}
	events := c.heardFrom(g.Request.Context())
	filter, err := entriesOf(j.Query)
	status := http.StatusOK
	if err != nil {
		j.Wrong, status = err.Error(), http.StatusBadRequest
	} else {
		part, err := c.Journal.Find(g.Request.Context(), filter, entriesShown)
		if err != nil {
			c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), page.JournalPath)
			return
		}
		j.Entries = part.Entries
		if part.More {
			j.Next = part.Next
		}
	}
	f := c.Frame(g, "Journal", page.JournalPath)
	if j.Query.Get(page.KeyBefore) == "" && verified == nil {
		f.Events = events
	}
	c.Write(g, status, f, j.Nodes()...)
}

// formVerify reads the whole journal and shows what that has shown. It changes nothing.
func (c *Console) formVerify(g *gin.Context) {
	k, err := Verify(g.Request.Context(), c.Journal)
	if err != nil {
		c.Fail(g, err, page.JournalPath)
		return
	}
	v := &page.Verified{Entries: k.Entries, Deleted: k.Deleted, Wrong: k.Wrong}
	if k.Checkpoint != nil {
		v.Checkpoint = fmt.Sprintf("A signed checkpoint of %s takes their place.", portal.Moment(k.Checkpoint.Written))
	}
	c.showJournal(g, v)
}

// A Check is what reading the whole journal has shown.
type Check struct {
	Entries int64 `json:"entries"`           // that are what was written
	Deleted int64 `json:"deleted,omitempty"` // that retention has deleted

	Checkpoint *journal.Checkpoint `json:"checkpoint,omitempty"` // the newest that replaces them

	Cases int64    `json:"cases,omitempty"` // that were decided again
	Wrong []string `json:"wrong,omitempty"` // what is not as it was written or decided
}

func (c *Console) verify(g *gin.Context) {
	k, err := Verify(g.Request.Context(), c.Journal)
	c.Answer(g, http.StatusOK, k, err)
}

// Verify reads a whole journal and says what is wrong with it.
func Verify(ctx context.Context, j *journal.Journal) (Check, error) {
	v, err := j.Verify(ctx)
	k := Check{Entries: v.Entries, Deleted: v.Deleted, Checkpoint: v.Checkpoint}
	if err != nil && ctx.Err() == nil {
		k.Wrong = append(k.Wrong, err.Error())
		err = nil
	}
	return k, err
}

func (c *Console) replay(g *gin.Context) {
	k, err := Replay(g.Request.Context(), c.Journal)
	c.Answer(g, http.StatusOK, k, err)
}

// maxWrong is how many differences are listed: one is bad enough.
const maxWrong = 20

// Replay decides every recorded case of a journal again and lists where it comes
// to another decision.
func Replay(ctx context.Context, j *journal.Journal) (k Check, err error) {
	kept, err := j.Books(ctx)
	if err != nil {
		return k, err
	}
	books := make(map[string]policy.Book, len(kept))
	for hash, text := range kept {
		var b policy.Book
		if err := json.Unmarshal(text, &b); err != nil {
			return k, fmt.Errorf("policies %s: %w", hash, err)
		}
		books[hash] = b
	}
	err = j.Cases(ctx, func(seq int64, decided json.RawMessage) error {
		k.Cases++
		var record policy.Record
		err := json.Unmarshal(decided, &record)
		if err == nil {
			err = policy.Replay(books, record)
		}
		if err != nil && len(k.Wrong) < maxWrong {
			k.Wrong = append(k.Wrong, fmt.Sprintf("entry %d: %v", seq, err))
		}
		return nil
	})
	return k, err
}
