package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// The journal has each entry with its time, who, what and why, part by part; what is filtered by is in the address.
func TestJournalPage(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	asks, acted := c.fill(t)
	if err := c.journal.SetPause(t.Context(), remediate.Pause{Scope: "target/main", Reason: hostile, By: "user/" + hostile}); err != nil {
		t.Fatal(err)
	}
	text, _ := c.unzipped(t, "/journal")
	inOrder(t, text, `aria-current="page">Journal`, "Verify the journal", `name="kind"`, `<option value="person"`, " UTC</time>",
		"user/t&#34;&gt;&lt;script&gt;", ">paused<", "user/ann", fmt.Sprintf(`href="/runs/%d"`, asks), ">awaiting_approval<",
		fmt.Sprintf(`href="/runs/%d"`, acted))
	if !strings.Contains(text, `data-events=`) {
		t.Error("the newest part is not kept up to date")
	}
	paused, _ := c.unzipped(t, "/journal?kind=paused&q=ANN")
	inOrder(t, paused, `<option value="paused" selected>`, `value="ANN"`, "user/ann", "its disk is being changed")
	if strings.Count(paused, "<tr>") != 2 || strings.Contains(paused, "awaiting_approval</span>") {
		t.Error(paused)
	}
	one, _ := c.unzipped(t, fmt.Sprintf("/journal?run=%d&kind=step", acted))
	inOrder(t, one, "step 2 done", "step 2 begun", "step 1 done", "step 1 begun")
	if strings.Contains(one, fmt.Sprintf(`href="/runs/%d"`, asks)) {
		t.Errorf("another run: %s", one)
	}
	none, _ := c.unzipped(t, "/journal?q=no+such+text")
	inOrder(t, none, "No entry matches.")
	for _, wrong := range []string{"kind=nope", "run=x", "before=-1"} {
		if status, text, _ := asAdmin(t, c.page.URL+"/journal?"+wrong); status != http.StatusBadRequest ||
			!strings.Contains(text, "want ") {
			t.Errorf("%s: %d %s", wrong, status, text)
		}
		if status, _, _ := asAdmin(t, c.page.URL+"/api/upkeep/v1/journal?"+wrong); status != http.StatusBadRequest {
			t.Errorf("%s as JSON: %d", wrong, status)
		}
	}
}

// A list of entries goes on with a link, as a page and as JSON.
func TestJournalParts(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	for n := range 130 {
		if err := c.journal.SetPause(t.Context(), remediate.Pause{Scope: fmt.Sprint("target/t", n), Reason: "r", By: "user/ann"}); err != nil {
			t.Fatal(err)
		}
	}
	text, _ := c.unzipped(t, "/journal?kind=paused")
	inOrder(t, text, "target/t129", "target/t30", "before=31", "Older entries")
	rest, _ := c.unzipped(t, "/journal?before=31&kind=paused")
	inOrder(t, rest, "target/t29", "target/t0:", "The newest")
	if strings.Contains(rest, "Older entries") || strings.Contains(rest, "data-events") {
		t.Error(rest)
	}
	var all []remediate.Entry
	_, next := c.call(t, http.MethodGet, "/journal?limit=20&q=t12&kind=paused", "", &all)
	if len(all) != 11 || next != "" { // t12, and t120 to t129
		t.Errorf("%d entries, next %q", len(all), next)
	}
	_, next = c.call(t, http.MethodGet, "/journal?limit=2&kind=person", "", &all)
	if len(all) != 2 || !strings.Contains(next, "before=129") || !strings.Contains(next, "kind=person") {
		t.Errorf("%d entries, next %q", len(all), next)
	}
}

// The button verifies the journal and shows what was found; a change is found. It needs a role.
func TestVerifyOnThePage(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	c.fill(t)
	if status, text, _ := as(t, "view", http.MethodGet, c.page.URL+"/journal", nil); status != http.StatusOK ||
		strings.Contains(text, "/journal/verify") || !strings.Contains(text, "needs the role operate") {
		t.Errorf("who may only view: %d %s", status, text)
	}
	if status, text, _ := c.send(t, "view", "/journal/verify"); status != http.StatusForbidden {
		t.Errorf("who may only view: %d %s", status, text)
	}
	status, text, _ := c.send(t, "operate", "/journal/verify")
	if status != http.StatusOK || !strings.Contains(text, "journal OK: ") || !strings.Contains(text, "entries verified") {
		t.Errorf("%d %s", status, text)
	}
	if err := c.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("update entries set entry = replace(entry, 'ann', ?) where entry like '%user/ann%'", "eve"+url.PathEscape(hostile))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	status, text, _ = c.send(t, "operate", "/journal/verify")
	if status != http.StatusOK || !strings.Contains(text, "not as it was written") || strings.Contains(text, "<script>alert") {
		t.Errorf("%d %s", status, text)
	}
}
