package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// Who has a session, or had a token, has no more by it: no session that outlives the logout and its own end,
// no link that outlives the token that made it.
func TestAttackByALogin(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	ann := f.session(t)
	if status, text := try(t, "POST", f.address, console.Prefix+"/logins", "", ann); status != http.StatusForbidden {
		t.Errorf("a session makes a link: %d %s", status, text)
	}
	status, text := try(t, "POST", f.address, console.Prefix+"/logins", "", as(access.Approve))
	var link portal.LoginLink
	if err := json.Unmarshal([]byte(text), &link); status != http.StatusOK || err != nil {
		t.Fatalf("a token makes a link: %d %s", status, text)
	}
	write(t, filepath.Join(f.dir, access.Approve.String()), "another-token-of-approve\n")
	servertest.Eventually(t, "the token is another one", func() bool {
		status, _ := try(t, "GET", f.address, console.Prefix+"/pauses", "", as(access.Approve))
		return status == http.StatusUnauthorized
	})
	_, code, _ := strings.Cut(link.URL, "once=")
	res, _ := tryFor(t, "POST", f.address, "/login", strings.NewReader(url.Values{"once": {code}}.Encode()),
		with("Content-Type", "application/x-www-form-urlencoded"))
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a link of the token that was rotated: %s", res.Status)
	}
}

// Who may operate fills neither the memory nor the disk, by reasons, names, keys or silences.
func TestAttackByLongTexts(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	long := strings.Repeat("x", 60_000)
	silence := func(comment string) string {
		return fmt.Sprintf(`{"matchers": [{"name": "a", "value": "b", "isRegex": false, "isEqual": true}], "startsAt": `+
			`"2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z", "createdBy": "x", "comment": %q}`, comment)
	}
	const v1 = console.Prefix
	for what, path := range map[string]string{
		`{"scope": "all", "reason": "` + long + `"}`:                                          v1 + "/pauses",
		`{"action": "host/none", "subject": {"a": "` + long + `"}, "key": "k"}`:               v1 + "/runs",
		`{"action": "host/none", "subject": {"` + long + `": "a"}, "key": "k"}`:               v1 + "/runs",
		`{"action": "host/none", "subject": {}, "params": {"a": "` + long + `"}, "key": "k"}`: v1 + "/plans",
		`{"action": "host/none", "subject": {}, "key": "` + long + `"}`:                       v1 + "/runs",
		`{"action": "host/none", "subject": {}, "windows": ["` + long + `"], "key": "k"}`:     v1 + "/runs",
		`{"action": "host/none", "subject": {}, "by": "` + long + `", "key": "` + long + `"}`: v1 + "/runs",
		`{"why": "` + long + `"}`: v1 + "/runs/1/cancel",
		silence(long):             "/api/v2/silences",
	} {
		status, text := try(t, "POST", f.address, path, what, as(access.Operate), asJSON())
		if status != http.StatusBadRequest || len(text) > 1000 {
			t.Errorf("%s %.60s: %d %.300s", path, what, status, text)
		}
	}
	if status, text := try(t, "POST", f.address, "/api/v2/silences", silence("short"), as(access.Operate),
		asJSON()); status != http.StatusOK {
		t.Errorf("a silence: %d %s", status, text)
	}
	status, text := try(t, "POST", f.address, v1+"/pauses", `{"scope": "all", "reason": "one\ntwo"}`, as(access.Operate))
	if status != http.StatusOK || !strings.Contains(text, `"one two"`) {
		t.Errorf("a reason of two lines: %d %s", status, text)
	}
	log, err := os.ReadFile(filepath.Join(f.dir, "upkeep.log"))
	if err != nil || len(log) > 100_000 {
		t.Errorf("the log has %d bytes, %v", len(log), err)
	}
}

func asJSON() func(*http.Request) { return with("Content-Type", "application/json") }
