package console_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// older lets the journal begin some days ago: reports are of whole days.
func (c *fixture) older(t *testing.T, days int) {
	t.Helper()
	if err := c.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`insert into entries (seq, run, entry, hash) values (-1, 0, ?, '')`,
			`{"at":"`+time.Now().UTC().AddDate(0, 0, -days).Format(time.RFC3339)+`","why":"`+strings.ReplaceAll(hostile, `"`, `\"`)+`"}`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// The reports are the months and quarters since the journal began, with what is known of each, and how to send one.
func TestReportsPage(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	text, _ := c.unzipped(t, "/reports")
	inOrder(t, text, `aria-current="page">Reports`, "No report yet")
	c = openViews(t, figures{})
	c.older(t, 70)
	text, _ = c.unzipped(t, "/reports")
	before := time.Now().UTC().AddDate(0, 0, -time.Now().UTC().Day())
	month := before.Format("2006-01")
	inOrder(t, text, `<a href="/report/`+month+`">`+before.Format("January 2006")+"</a>", ">"+month+"<", "whole", " %<",
		"Send or print one", "upkeep report month --month "+month+" --format pdf")
	if !strings.Contains(text, "-Q") {
		t.Errorf("no quarter: %s", text)
	}
	if status, _, _ := as(t, "deliver", http.MethodGet, c.page.URL+"/reports", nil); status != http.StatusForbidden {
		t.Errorf("who may only deliver: %d", status)
	}
	away := openViews(t, figures{errors.New("connection refused by 10.0.0.9")})
	away.older(t, 70)
	text, _ = away.unzipped(t, "/reports")
	inOrder(t, text, "data cover is not known: connection refused by 10.0.0.9", "/report/"+month, "–")
}
