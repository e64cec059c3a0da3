package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

// The secret parts of a webhook's URL.
const (
	path     = "/services/T0SECRET/B0HIDDEN/x y%2Fz"
	query    = "key=QUERYKEY&b=c%20dddd"
	password = "PASSWORD"
	token    = "BEARERTOKEN"
)

func secretly(text string) notify.Secret { return func() (string, error) { return text, nil } }

func leaks(text string) bool {
	for _, part := range []string{"T0SECRET", "B0HIDDEN", "x y", "x%20y", "QUERYKEY", "dddd", password, token} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

func whole(address string) string {
	return "http://ann:" + password + "@" + strings.TrimPrefix(address, "http://") + path + "?" + query
}

// Whatever goes wrong, neither the error nor the log has the URL or the token.
func TestNoSecretIsSent(t *testing.T) {
	followed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed = true
			return
		}
		switch r.Header.Get("Content-Type") + r.URL.Query().Get("do") {
		case "application/jsonredirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "application/jsonbroken":
			w.Header().Set("Location", "http://[bad "+r.RequestURI)
			w.WriteHeader(http.StatusFound)
		case "application/jsonhang":
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
		default: // some repeat what they were sent
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, "no hook at %s or %s (%s), %s", r.URL.Path, r.RequestURI, r.URL.RawQuery,
				r.Header.Get("Authorization"))
		}
	}))
	defer server.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	defer secure.Close()
	for _, test := range []struct{ name, url, want string }{
		{"a server that repeats it", whole(server.URL), "status 404: no hook at"},
		{"a redirect", whole(server.URL) + "&do=redirect", "status 302"},
		{"a redirect to nowhere", whole(server.URL) + "&do=broken", "Location"},
		{"no listener", whole("http://127.0.0.1:1"), "connection refused"},
		{"no such host", whole("http://nowhere.invalid"), "nowhere.invalid"},
		{"no certificate of ours", strings.Replace(whole("http://"+strings.TrimPrefix(secure.URL, "https://")),
			"http://", "https://", 1), "certificate"},
		{"plain HTTP to TLS", whole("http://" + strings.TrimPrefix(secure.URL, "https://")), "status 400"},
		{"a broken URL", "http://ann:" + password + "/T0SECRET@host:B0HIDDEN/%zz", "invalid URL"},
		{"no URL at all", "T0SECRET", "invalid URL"},
		{"another scheme", "file:///T0SECRET", "invalid URL"},
		{"no answer", whole(server.URL) + "&do=hang", "no answer within"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := begin(t)
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("no answer within a second"))
			defer cancel()
			for _, n := range []notify.Notifier{notify.Webhook{URL: secretly(test.url), Token: secretly(token)},
				notify.Slack{URL: secretly(test.url)}} {
				ctx := ctx
				if !strings.Contains(test.url, "hang") {
					ctx = t.Context()
				}
				err := n.Notify(ctx, notify.Message{})
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, want %q", err, test.want)
				}
				if leaks(fmt.Sprintf("%v %+v %#v %s", err, err, errors.Unwrap(err), test.name)) {
					t.Errorf("a secret is shown: %v", err)
				}
				if strings.Contains(test.url, "hang") {
					continue
				}
				s.write(t, notifications(0, 1)...)
				deliver(t, s.outbox(notify.Named{Name: "chat", Notifier: n}))
			}
			if log := s.logged(); leaks(log) || !strings.Contains(test.url, "hang") &&
				!strings.Contains(log, "notification not accepted") {
				t.Errorf("log: %s", log)
			}
		})
	}
	if followed {
		t.Error("a redirect was followed")
	}
}

// recorder keeps what was posted.
func recorder(t *testing.T, status int, header http.Header) (address string, last func() (http.Header, []byte)) {
	t.Helper()
	var got http.Header
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		body, _ = io.ReadAll(r.Body)
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		fmt.Fprint(w, "a word")
	}))
	t.Cleanup(server.Close)
	return server.URL, func() (http.Header, []byte) { return got, body }
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		status  int
		after   string
		refused bool
		pause   time.Duration
	}{{400, "", true, 0}, {413, "", true, 0}, {422, "", true, 0}, {403, "", false, 0}, {404, "", false, 0},
		{429, "120", false, 2 * time.Minute}, {503, "99999999999", false, time.Hour},
		{500, "Wed, 21 Oct 2026", false, 0}} {
		address, _ := recorder(t, test.status, http.Header{"Retry-After": {test.after}})
		err := notify.Slack{URL: secretly(address + "/x")}.Notify(t.Context(), notify.Message{})
		var f *notify.FaultError
		if !errors.As(err, &f) || f.Refused != test.refused || f.After != test.pause ||
			!strings.Contains(err.Error(), "a word") {
			t.Errorf("%d: %v %+v", test.status, err, f)
		}
	}
	for _, n := range []notify.Notifier{
		notify.Slack{URL: func() (string, error) { return "", errors.New("no such file") }},
		notify.Webhook{URL: secretly("http://127.0.0.1:1"),
			Token: func() (string, error) { return "", errors.New("no such file") }},
	} {
		if err := n.Notify(t.Context(), notify.Message{}); err == nil ||
			!strings.Contains(err.Error(), "no such file") {
			t.Errorf("a secret that cannot be read: %v", err)
		}
	}
}

// one is a notification that would call everybody and break out of a link.
func one() notify.Item {
	return notify.Item{
		Notification: remediate.Notification{
			ID: 3, Key: "ask/7/abc", Kind: remediate.NotificationAsk, Run: 7, Incident: 2, Plan: "abc",
			At:    time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
			Title: "Reindex <!channel> & \"a\"\nb?",
			Text:  "step 1: reindex \"<@U1>|x\"\nstep 2: <http://evil.example|here>",
		},
		Approve: "https://upkeep.example/approve?token=AB-_&x=<|>", Open: "https://upkeep.example/runs/7",
	}
}

func TestSlack(t *testing.T) {
	address, last := recorder(t, 200, nil)
	if err := (notify.Slack{URL: secretly(" " + address + "/x\n")}).Notify(t.Context(),
		notify.Message{Notifications: []notify.Item{one(),
			{Notification: remediate.Notification{Title: "to know"}}}}); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if _, body := last(); json.Unmarshal(body, &got) != nil {
		t.Fatalf("no JSON: %s", body)
	}
	text := func(kind, format, text string) map[string]any {
		is := map[string]any{"type": format, "text": text}
		if format == "plain_text" {
			is["emoji"] = false
		}
		return map[string]any{"type": kind, "text": is}
	}
	want := map[string]any{"mrkdwn": false, "parse": "none", "link_names": false, "unfurl_links": false,
		"unfurl_media": false, "text": "Reindex &lt;!channel&gt; &amp; \"a\" b?\nto know", "blocks": []any{
			text("header", "plain_text", `Reindex <!channel> & "a" b?`),
			text("section", "plain_text", "step 1: reindex \"<[@]U1>|x\"\nstep 2: <http[:]//evil.example|here>"),
			text("section", "mrkdwn", "<https://upkeep.example/approve?token=AB-_&amp;x=%3C%7C%3E|Approve or reject> · "+
				"<https://upkeep.example/runs/7|Run 7>"),
			text("header", "plain_text", "to know"),
		}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("posted %v\nwant %v", got, want)
	}
}

func TestSlackCuts(t *testing.T) {
	address, last := recorder(t, 200, nil)
	for _, test := range []struct {
		name, text, end string
	}{
		{"one long line", strings.Repeat("ä", 9000), "ä\n… (cut; the rest is in upkeep)"},
		{"many lines", strings.Repeat(strings.Repeat("x", 99)+"\n", 90),
			strings.Repeat("x", 99) + "\n… (cut; the rest is in upkeep)"},
		{"it just fits", strings.Repeat("y", 3000), "yy"},
	} {
		item := one()
		item.Title, item.Text = strings.Repeat("t", 500), test.text
		ten := notify.Message{Notifications: []notify.Item{item, item, item, item, item, item, item, item, item, item}}
		if err := (notify.Slack{URL: secretly(address)}).Notify(t.Context(), ten); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Blocks []struct {
				Type string
				Text struct{ Text string }
			}
		}
		_, body := last()
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Blocks) != 30 { // Slack takes 50
			t.Errorf("%s: %d blocks", test.name, len(got.Blocks))
		}
		for i, b := range got.Blocks {
			n := utf8.RuneCountInString(b.Text.Text)
			switch i % 3 {
			case 0:
				if b.Text.Text != strings.Repeat("t", 149)+"…" {
					t.Errorf("%s: the title is %q", test.name, b.Text.Text)
				}
			case 1:
				if n > 3000 || n < 2800 || !strings.HasSuffix(b.Text.Text, test.end) {
					t.Errorf("%s: %d letters, at the end %s", test.name, n, b.Text.Text[len(b.Text.Text)-100:])
				}
			}
		}
	}
}

func TestWebhook(t *testing.T) {
	address, last := recorder(t, 204, nil)
	if err := (notify.Webhook{URL: secretly(address), Token: secretly(token)}).Notify(t.Context(),
		notify.Message{Notifications: []notify.Item{one(),
			{Notification: remediate.Notification{ID: 4, Key: "k", Kind: remediate.NotificationPage, Title: "to know",
				Text: "x"}}}}); err != nil {
		t.Fatal(err)
	}
	header, body := last()
	var got, want any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	err := json.Unmarshal([]byte(`{"version": "1", "notifications": [
		{"id": 3, "key": "ask/7/abc", "kind": "ask", "run": 7, "incident": 2, "plan": "abc", "title": "Reindex <!channel> & \"a\" b?",
		 "text": "step 1: reindex \"<[@]U1>|x\"\nstep 2: <http[:]//evil.example|here>", "at": "2026-03-01T12:00:00Z",
		 "links": {"approve": "https://upkeep.example/approve?token=AB-_&x=<|>", "open": "https://upkeep.example/runs/7"}},
		{"id": 4, "key": "k", "kind": "page", "title": "to know", "text": "x", "at": "0001-01-01T00:00:00Z", "links": {}}]}`), &want)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("posted %s (%v)", body, err)
	}
	if header.Get("Authorization") != "Bearer "+token || header.Get("Content-Type") != "application/json" {
		t.Errorf("header %v", header)
	}
}

// A server that takes the connection and says nothing is left after ten seconds.
func TestOutboxDoesNotHang(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := begin(t)
	s.write(t, notifications(0, 1)...)
	deliver(t, s.outbox(notify.Named{Name: "chat", Notifier: notify.Slack{URL: secretly("http://" + l.Addr().String() +
		path)}}))
	if !strings.Contains(s.logged(), "no answer within 10s") || leaks(s.logged()) {
		t.Error(s.logged())
	}
}
