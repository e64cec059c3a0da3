package embedded_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// There are 2,000 silences at most: one more is refused, those that exist can be changed and ended, and a restart
// forgets none.
func TestNumberOfSilences(t *testing.T) {
	t.Parallel()
	const most = 2000
	from := "2020-01-01T00:00:00Z"
	set := func(s *stage, id, comment string) (status int, text string) {
		t.Helper()
		return ask(t, s.Alertmanager(), "POST", "/api/v2/silences", fmt.Sprintf(`{"id":%q,"matchers":[{"name":"n","value":"v",`+
			`"isRegex":false}],"startsAt":%q,"endsAt":%q,"createdBy":"t","comment":%q}`, id, from,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339), comment))
	}
	first := begin(t, t.TempDir(), 0.1)
	status, text := set(first, "", "c")
	_, id, _ := strings.Cut(text, `"silenceID":"`)
	id, _, _ = strings.Cut(id, `"`)
	if status != http.StatusOK || len(id) != 36 {
		t.Fatalf("a silence: %d %s", status, text)
	}
	first.end()
	one, err := os.ReadFile(filepath.Join(first.dir, "silences"))
	if err != nil || strings.Count(string(one), id) != 1 {
		t.Fatalf("%v %q", err, one)
	}
	var all strings.Builder // its records follow one another, each with its length
	all.Write(one)
	for n := range most - 2 {
		all.WriteString(strings.Replace(string(one), id, fmt.Sprintf("00000000-0000-4000-8000-%012d", n), 1))
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "silences"), []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := begin(t, dir, 0.1)
	if status, text := set(s, "", "the last"); status != http.StatusOK {
		t.Errorf("silence %d: %d %s", most, status, text)
	}
	for range 2 {
		if status, text := set(s, "", "one more"); status != http.StatusBadRequest || !strings.Contains(text, "2000") {
			t.Errorf("silence %d: %d %s", most+1, status, text)
		}
	}
	_, text = ask(t, s.Alertmanager(), "GET", "/api/v2/silence/"+id, "")
	_, from, _ = strings.Cut(text, `"startsAt":"`) // another one would make another silence
	from, _, _ = strings.Cut(from, `"`)
	if status, text := set(s, id, "changed"); status != http.StatusOK || !strings.Contains(text, id) {
		t.Errorf("a change: %d %s", status, text)
	}
	if status, text := ask(t, s.Alertmanager(), "DELETE", "/api/v2/silence/"+id, ""); status != http.StatusOK {
		t.Errorf("an end: %d %s", status, text)
	}
	_, text = ask(t, s.Alertmanager(), "GET", "/api/v2/silences", "")
	if n := strings.Count(text, `"createdBy"`); n != most || !strings.Contains(text, `"changed"`) || !strings.Contains(text,
		`"the last"`) || strings.Contains(text, `"one more"`) {
		t.Errorf("%d silences", n)
	}
}
