package receivers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/alertmanager/config"
	am "github.com/prometheus/alertmanager/notify"

	"github.com/ai-micro-service/upkeep/internal/platform/receivers"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// secret is in every place of a configuration where a secret can be.
const secret = "S3cr3tT0ken"

// kinds are the least of each kind of receiver, with the address of a server, %s.
func kinds(url, mail string) map[string]string {
	all := map[string]string{
		"discord_configs": "{webhook_url: '%s/x/S3cr3tT0ken'}",
		"email_configs": "{to: a@b.example, from: u@b.example, smarthost: '" + mail +
			"', require_tls: false, auth_password: S3cr3tT0ken}",
		"incidentio_configs": "{url: '%s/x', alert_source_token: S3cr3tT0ken}",
		"pagerduty_configs":  "{routing_key: S3cr3tT0ken, url: '%s/x'}",
		"slack_configs":      "{api_url: '%s/x/S3cr3tT0ken', channel: c}",
		"webhook_configs":    "{url: '%s/x/S3cr3tT0ken'}",
		"opsgenie_configs":   "{api_key: S3cr3tT0ken, api_url: '%s/'}",
		"wechat_configs":     "{api_secret: S3cr3tT0ken, corp_id: c, api_url: '%s/', to_user: u, agent_id: a}",
		"pushover_configs":   "{user_key: S3cr3tT0ken, token: S3cr3tT0ken, http_config: {proxy_url: '%s'}}",
		"victorops_configs":  "{api_key: S3cr3tT0ken, api_url: '%s/', routing_key: r}",
		"sns_configs": "{topic_arn: 'arn:aws:sns:us-east-2:1:t', api_url: '%s', sigv4: {region: us-east-2, " +
			"access_key: a, secret_key: S3cr3tT0ken}}",
		"telegram_configs":  "{bot_token: S3cr3tT0ken, chat_id: 1, api_url: '%s'}",
		"webex_configs":     "{room_id: r, api_url: '%s/x', http_config: {authorization: {credentials: S3cr3tT0ken}}}",
		"msteams_configs":   "{webhook_url: '%s/x/S3cr3tT0ken'}",
		"msteamsv2_configs": "{webhook_url: '%s/x/S3cr3tT0ken'}",
		"jira_configs": "{project: A, issue_type: Bug, api_url: '%s/', http_config: {basic_auth: {username: u, " +
			"password: S3cr3tT0ken}}}",
		"rocketchat_configs": "{token_id: S3cr3tT0ken, token: S3cr3tT0ken, api_url: '%s/', channel: c}",
		"mattermost_configs": "{webhook_url: '%s/x/S3cr3tT0ken'}",
	}
	for key, text := range all {
		all[key] = strings.ReplaceAll(text, "%s", url)
	}
	return all
}

// file writes a configuration file and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "am.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) *receivers.File {
	t.Helper()
	f, err := receivers.Load(file(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// integration makes the one integration of a kind.
func integration(t *testing.T, key, entry string) am.Integration {
	t.Helper()
	f := load(t, fmt.Sprintf("route: {receiver: r}\nreceivers: [{name: r, %s: [%s]}]\n", key, entry))
	tmpl, err := f.OwnTemplates(&url.URL{Scheme: "http", Host: "upkeep.example"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := f.Integrations("r", tmpl, slog.New(slog.DiscardHandler))
	if err != nil || len(all) != 1 {
		t.Fatalf("%s: %d integrations, %v", key, len(all), err)
	}
	return all[0]
}

// eachKind calls test with every kind that the struct of Alertmanager's receivers has: a
// kind that is new there and not here fails.
func eachKind(t *testing.T, url, mail string, test func(t *testing.T, key, entry string)) {
	t.Helper()
	entries := kinds(url, mail)
	for f := range reflect.TypeFor[config.Receiver]().Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !strings.HasSuffix(key, "_configs") {
			continue
		}
		t.Run(key, func(t *testing.T) {
			entry, ok := entries[key]
			if !ok {
				t.Fatalf("Alertmanager has a kind of receiver that this test does not know: %s", key)
			}
			test(t, key, entry)
		})
	}
}

// sending is what an integration finds in its context.
func sending(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	t.Cleanup(cancel)
	return groupContext(ctx)
}

func TestEveryKindIsMadeAndNotified(t *testing.T) {
	hook, mail := servertest.NewHook(t), servertest.NewMail(t)
	eachKind(t, hook.URL, mail.Address, func(t *testing.T, key, entry string) {
		i := integration(t, key, entry)
		if key == "pushover_configs" {
			return // it has one address, over TLS
		}
		before := len(hook.Bodies())
		if _, err := i.Notify(sending(t), notification()); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(hook.Bodies()[before:], "\n")
		if key == "email_configs" {
			got = strings.Join(mail.Mails(), "\n")
			got = strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(got) // quoted-printable
		}
		if unescaped, err := url.QueryUnescape(got); err == nil && key == "sns_configs" {
			got = unescaped
		}
		for _, want := range []string{"May run 7 do postgres", "https://upkeep.example/approve?token=abc"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in %s", want, got)
			}
		}
	})
}

// Whatever a server or a library repeats, no secret is in an error, and 429 and 503 may be
// tried again.
func TestEveryKindKeepsSecretsAndTriesAgain(t *testing.T) {
	hook := servertest.NewHook(t)
	eachKind(t, hook.URL, "127.0.0.1:1", func(t *testing.T, key, entry string) {
		i := integration(t, key, entry)
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadRequest} {
			hook.Answer(func(w http.ResponseWriter, r *http.Request, body string) bool {
				w.WriteHeader(status)
				fmt.Fprintf(w, "no such hook %s %s %v %s", r.RequestURI, r.URL.RawQuery, r.Header, body)
				return false
			})
			again, err := i.Notify(sending(t), notification())
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%d: %v", status, err)
			}
			if strings.Contains(err.Error(), "token=abc") {
				t.Errorf("the link to approve is in the error: %v", err)
			}
			if key == "wechat_configs" {
				continue // its library looks at the body of the first answer alone
			}
			if !again && status != http.StatusBadRequest {
				t.Errorf("%d is not tried again: %v", status, err)
			}
		}
		// The server is stopped.
		gone := integration(t, key, strings.ReplaceAll(entry, hook.URL, "http://127.0.0.1:1"))
		if _, err := gone.Notify(sending(t), notification()); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("a stopped server: %v", err)
		}
	})
}

// Secrets in files are in no error either.
func TestSecretsInFiles(t *testing.T) {
	hook := servertest.NewHook(t)
	hook.Answer(func(w http.ResponseWriter, r *http.Request, _ string) bool {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, "no hook at %s", r.URL.Path)
		return false
	})
	path := file(t, "route: {receiver: r}\nreceivers: [{name: r, webhook_configs: [{url_file: url}]}]\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "url"), []byte(hook.URL+"/x/"+secret+"\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	f, err := receivers.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := f.Templates(new(url.URL))
	if err != nil {
		t.Fatal(err)
	}
	all, err := f.Integrations("r", tmpl, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all[0].Notify(sending(t), notification()); err == nil || !strings.Contains(err.Error(), "no hook at") ||
		strings.Contains(err.Error(), secret) {
		t.Errorf("%v, want the answer without the secret: the file is beside the configuration", err)
	}
}

// What is wrong is said with file and line, and without what may be a secret.
func TestWrong(t *testing.T) {
	const head = "route: {receiver: r}\nreceivers:\n  - name: r\n"
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "am.yml:1: no route provided in config"},
		{"not YAML", "route: [\n", "am.yml:1: did not find expected node content"},
		{"unknown key", head + "    webhok_configs: []\n", "am.yml:4: field webhok_configs not found"},
		{"unknown key of a kind", head + "    webhook_configs:\n      - {url: 'http://h/'}\n      - url: http://h/\n " +
			"       sendresolved: true\n", "am.yml:7: field sendresolved not found"},
		{"no such receiver", "route:\n  receiver: r\n  routes:\n    - matchers: [a=b]\n      receiver: " +
			"missing\nreceivers: [{name: r}]\n", `am.yml:5: undefined receiver "missing" used in route`},
		{"matcher", "route:\n  receiver: r\n  routes:\n    - matchers: ['a=~\"(\"']\nreceivers: [{name: r}]\n",
			"am.yml:4: error parsing regexp"},
		{"matcher below", "route:\n  receiver: r\n  routes:\n    - receiver: r\n      routes:\n        - receiver: " +
			"r\n          match_re:\n            a: b\n            c: '('\nreceivers: [{name: r}]\n",
			"am.yml:9: error parsing regexp"},
		{"no such interval", "route:\n  receiver: r\n  routes:\n    - matchers: [a=b]\n      mute_time_intervals: " +
			"[night]\nreceivers: [{name: r}]\n", `am.yml:5: undefined time interval "night" used in route`},
		{"receiver twice", head + "  - name: r\n", `am.yml:4: notification config name "r" is not unique`},
		{"no smarthost", head + "  - name: s\n    webhook_configs: [{url: 'http://h/'}]\n  - name: t\n    " +
			"email_configs:\n      - to: a@b\n        from: c@d\n", "am.yml:8: no global SMTP smarthost set"},
		{"no address", head + "    webhook_configs:\n      - send_resolved: true\n", "am.yml:5: "},
		{"a bad URL", head + "    slack_configs:\n      - channel: c\n        api_url: 'https://hooks example/" +
			secret + "'\n", "am.yml:6: "},
		{"a bad URL of a scheme", head + "    discord_configs:\n      - webhook_url: 'ftp://h/" + secret + "'\n",
			"am.yml:5: unsupported scheme"},
		{"a secret in the place of a number",
			head + "    webhook_configs:\n      - {url: 'http://h/', max_alerts: 1}\n    telegram_configs:\n      - " +
				"bot_token: " + secret + "\n        chat_id: x\n", "am.yml:8: cannot unmarshal"},
		{"zero interval", "route:\n  receiver: r\n  group_interval: 0s\nreceivers: [{name: r}]\n",
			"am.yml:3: group_interval cannot be zero"},
		{"matchers of the top route", "global: {}\nroute:\n  receiver: r\n  matchers: [a=b]\nreceivers: [{name: r}]\n",
			"am.yml:3: root route must not have any matchers"},
		{"certificate", head + "    webhook_configs:\n      - url: http://h/\n        http_config: {tls_config: " +
			"{ca_file: gone.pem}}\n", "am.yml:5: "},
		{"interval", head + "time_intervals:\n  - name: a\n    time_intervals: [{times: [{start_time: '25:00', " +
			"end_time: '26:00'}]}]\n", "am.yml:5: "},
		{"inhibition", head + "inhibit_rules:\n  - source_matchers: ['a=~\"(\"']\n    target_matchers: [b=c]\n",
			"am.yml:5: "},
		{"both secrets", "global:\n  slack_api_url: http://h/\n  slack_api_url_file: f\n" + head, "am.yml:"},
		{"upkeep's own", "route: {receiver: upkeep}\nreceivers:\n  - name: upkeep\n",
			`am.yml:3: receiver "upkeep" is the one that upkeep adds itself`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := receivers.Load(file(t, test.text))
			if err == nil {
				t.Fatal("it is taken")
			}
			got := strings.TrimPrefix(err.Error(), filepath.Dir(strings.SplitN(err.Error(), ":", 2)[0])+"/")
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("%s\nwant %s…", got, test.want)
			}
			if strings.Contains(got, secret) || strings.Contains(got, secret[:7]) {
				t.Errorf("a secret is shown: %s", got)
			}
		})
	}
	if _, err := receivers.Load(filepath.Join(t.TempDir(), "gone.yml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// A wrong template is an error that names it.
func TestWrongTemplate(t *testing.T) {
	path := file(t, "route: {receiver: r}\nreceivers: [{name: r}]\ntemplates:\n  - 'good.tmpl'\n  - 'bad*.tmpl'\n")
	dir := filepath.Dir(path)
	for name, text := range map[string]string{"good.tmpl": `{{ define "x" }}y{{ end }}`,
		"bad.tmpl": "\n{{ define \"x\" }"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := receivers.Load(path)
	if err == nil || !strings.Contains(err.Error(), "bad.tmpl:2:") || !strings.HasPrefix(err.Error(), path+":") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.tmpl"), []byte(`{{ define "slack.default.text" }}mine{{ end }}`),
		0o600); err != nil {
		t.Fatal(err)
	}
	one, err := receivers.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "good.tmpl"), []byte(`{{ define "x" }}z{{ end }}`), 0o600); err != nil {
		t.Fatal(err)
	}
	two, err := receivers.Load(path)
	if err != nil || one.Same(two) || !one.Same(one) {
		t.Errorf("a template that has changed changes nothing: %v", err)
	}
	// The file's own templates are over upkeep's.
	own, err := two.OwnTemplates(new(url.URL))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := own.ExecuteTextString(`{{ template "slack.default.text" . }}`, nil); err != nil || text != "mine" {
		t.Errorf("%q %v", text, err)
	}
}

// A file that is named and not there is found before anything is to be sent.
func TestLacks(t *testing.T) {
	path := file(t, "global: {slack_api_url_file: there}\nroute: {receiver: r}\ntemplates: ['there', 'gone.tmpl', "+
		"'gone/*.tmpl']\nreceivers:\n  - name: r\n    slack_configs: [{channel: c}]\n    webhook_configs:\n      - "+
		"url_file: gone\n      - url: http://h/\n        http_config: {authorization: {credentials_file: "+
		"/gone/secret}}\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "there"), []byte("http://h/"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := receivers.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	lacks, err := f.MissingFiles()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lacks {
		name, _, _ := strings.Cut(l.Text, " ")
		got = append(got, fmt.Sprintf("%d %s", l.Line, strings.TrimSuffix(name, ":")))
	}
	if want := []string{"3 templates", "3 templates", "8 url_file", "10 credentials_file"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
