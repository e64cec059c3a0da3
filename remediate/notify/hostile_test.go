package notify_test

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/alert"
	amconfig "github.com/prometheus/alertmanager/config"
	am "github.com/prometheus/alertmanager/notify"
	amtemplate "github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/receivers"
	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

const ourHost = "https://upkeep.example"

// named is a notification in which everything that others name is name.
func named(name string) notify.Item {
	return notify.Item{
		Notification: remediate.Notification{
			ID: 3, Key: "ask/7/abc", Kind: remediate.NotificationAsk, Run: 7, Plan: "abc",
			At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Title: "May run 7 do postgres/reindex on " + name + "?",
			Text: "1. reindex " + name + "\n- " + name, Labels: map[string]string{"server": name, name: "x"},
		},
		Approve: ourHost + "/approve?token=t", Open: ourHost + "/runs/7",
	}
}

// Slack sees names in plain text only, and the links in its markup are ours.
func TestSlackObeysNoName(t *testing.T) {
	address, last := recorder(t, 200, nil)
	links := regexp.MustCompile(`^<` + ourHost + `/approve\?token=t\|Approve or reject> · <` + ourHost + `/runs/7\|Run 7>$`)
	visibletest.Names(t, func(name string) {
		if err := (notify.Slack{URL: secretly(address)}).Notify(t.Context(),
			notify.Message{Notifications: []notify.Item{named(name)}}); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Blocks []struct{ Text struct{ Type, Text string } }
			Text   string
			Mrkdwn bool
			Parse  string
		}
		_, body := last()
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if got.Mrkdwn || got.Parse != "none" || strings.ContainsAny(got.Text, "<>\n") {
			t.Errorf("%q: the short text is %q", name, got.Text)
		}
		visibletest.Unlinked(t, got.Text, ourHost)
		if len(got.Blocks) != 3 {
			t.Fatalf("%q: %d blocks", name, len(got.Blocks))
		}
		for i, b := range got.Blocks {
			if n := utf8.RuneCountInString(b.Text.Text); n == 0 || n > []int{150, 3000, 3000}[i] {
				t.Errorf("%q: block %d has %d letters", name, i, n)
			}
			if i == 2 {
				if b.Text.Type != "mrkdwn" || !links.MatchString(b.Text.Text) {
					t.Errorf("the links are %q", b.Text.Text)
				}
				continue
			}
			if b.Text.Type != "plain_text" {
				t.Errorf("%q: block %d is %s", name, i, b.Text.Type)
			}
			visibletest.Unlinked(t, b.Text.Text, ourHost)
		}
		if strings.Contains(got.Blocks[0].Text.Text, "\n") {
			t.Errorf("%q: the title has two lines", name)
		}
	})
}

// So do programs that take notifications as JSON.
func TestWebhookObeysNoName(t *testing.T) {
	address, last := recorder(t, 200, nil)
	visibletest.Names(t, func(name string) {
		if err := (notify.Webhook{URL: secretly(address)}).Notify(t.Context(),
			notify.Message{Notifications: []notify.Item{named(name)}}); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Notifications []struct{ Title, Text string }
		}
		_, body := last()
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		visibletest.Line(t, got.Notifications[0].Title)
		visibletest.Unlinked(t, got.Notifications[0].Title+got.Notifications[0].Text, ourHost)
	})
}

// A keeper keeps the alert that an integration gets.
type keeper struct{ got *alert.Alert }

func (k *keeper) SendResolved() bool { return true }

func (k *keeper) Notify(_ context.Context, alerts ...*alert.Alert) (bool, error) {
	k.got = alerts[0]
	return false, nil
}

// Receivers of Alertmanager's kinds get names that are only shown, and our templates keep
// them so: in a mail, in Slack and elsewhere.
func TestReceiversObeyNoName(t *testing.T) {
	k := &keeper{}
	to := notify.Receiver{Name: "ops", To: am.NewIntegration(k, k, "email", 0, "ops")}
	own, err := (&receivers.File{Config: &amconfig.Config{}}).OwnTemplates(&url.URL{Scheme: "https", Host: "upkeep.example"})
	if err != nil {
		t.Fatal(err)
	}
	visibletest.Names(t, func(name string) {
		if err := to.Notify(t.Context(), notify.Message{Notifications: []notify.Item{named(name)}}); err != nil {
			t.Fatal(err)
		}
		for _, set := range []model.LabelSet{k.got.Labels, k.got.Annotations} {
			for key, value := range set {
				visibletest.Line(t, string(key))
				visibletest.Unlinked(t, string(value), ourHost)
			}
		}
		data := &amtemplate.Data{Status: "firing", CommonAnnotations: amtemplate.KV{}, CommonLabels: amtemplate.KV{},
			Receiver: "ops", ExternalURL: ourHost}
		for key, value := range k.got.Annotations {
			data.CommonAnnotations[string(key)] = string(value)
		}
		slack, err := own.ExecuteTextString(`{{ template "slack.default.text" . }}`, data)
		if err != nil {
			t.Fatal(err)
		}
		code, links, found := strings.Cut(strings.TrimPrefix(slack, "```\n"), "\n```\n")
		if !found || !strings.HasPrefix(slack, "```\n") || strings.ContainsAny(code, "`<>") ||
			links != "<"+ourHost+"/approve?token=t|Approve or reject>  <"+ourHost+"/runs/7|Run>" {
			t.Errorf("%q: Slack gets %.500s", name, slack)
		}
		mail, err := own.ExecuteHTMLString(`{{ template "email.default.html" . }}`, data)
		if err != nil {
			t.Fatal(err)
		}
		visibletest.Unlinked(t, mail, ourHost)
		for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(mail, -1) {
			if !ourTags().MatchString(tag) {
				t.Errorf("%q: the mail has the tag %s", name, tag)
			}
		}
		subject, err := own.ExecuteTextString(`{{ template "email.default.subject" . }}`, data)
		if err != nil {
			t.Fatal(err)
		}
		visibletest.Line(t, subject)
	})
}

// ourTags are those of a mail of ours.
func ourTags() *regexp.Regexp {
	return regexp.MustCompile(`^<(!DOCTYPE html|/?(html|head|title|body|h2|p|a|pre)|html lang="en"|meta charset="utf-8"|` +
		`body style="[^"]*"|pre style="[^"]*"|a href="` + ourHost + `/[^"]*")>$`)
}
