package house_test

import (
	"cmp"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// words is the content of words.txt.
type words struct {
	turns, names []word
	any          *regexp.Regexp // any of the turns, since most lines have none
	allow        []exception
}

// A word is an expression that is not to be written, and what to write.
type word struct {
	find    *regexp.Regexp
	instead string
}

// An exception is where a word may be written all the same.
type exception struct {
	path, text, why string
	used            bool
}

func readWords(t *testing.T) *words {
	t.Helper()
	text, err := os.ReadFile("words.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := new(words)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		what, why, ok := strings.Cut(rest, "\t")
		if !ok || why == "" {
			t.Fatalf("words.txt: %q has no second part after a tab", line)
		}
		switch kind {
		case "turn":
			all.turns = append(all.turns, word{regexp.MustCompile(`(?i)\b(?:` + what + `)\b`), why})
		case "not":
			all.names = append(all.names, word{regexp.MustCompile(`^(?:` + what + `)s?$`), why})
		case "allow":
			path, text, _ := strings.Cut(what, " ")
			all.allow = append(all.allow, exception{path: path, text: text, why: why})
		default:
			t.Fatalf("words.txt: %q is neither turn, not nor allow", line)
		}
	}
	var each []string
	for _, one := range all.turns {
		each = append(each, strings.TrimPrefix(one.find.String(), "(?i)"))
	}
	all.any = regexp.MustCompile("(?i)" + strings.Join(each, "|"))
	return all
}

// allowed reports whether an exception names the file and the word.
func (w *words) allowed(path, text string) bool {
	i := slices.IndexFunc(w.allow, func(e exception) bool {
		return (e.path == path || strings.HasSuffix(e.path, "/") && strings.HasPrefix(path, e.path)) &&
			(e.text == "*" || e.text == text)
	})
	if i >= 0 {
		w.allow[i].used = true
	}
	return i >= 0
}

// turn returns a turn of phrase in a line, and what to write; "" if there is no such turn.
func (w *words) turn(path, line string) (found, instead string) {
	if !w.any.MatchString(line) {
		return "", ""
	}
	for _, one := range w.turns {
		for _, found := range one.find.FindAllString(line, -1) {
			if !w.allowed(path, found) {
				return found, one.instead
			}
		}
	}
	return "", ""
}

// part returns a word of a name that is not to be one, and what to write; "" if the name is fine.
func (w *words) part(path, name string) (found, instead string) {
	// Of camelCase, snake_case and sentences.
	parts := regexp.MustCompile(`[A-Z]?[a-z]+|[A-Z]+`).FindAllString(name, -1)
	for i, part := range parts {
		part = strings.ToLower(part)
		for _, one := range w.names {
			dead := strings.HasPrefix(part, "letter") && i > 0 && strings.EqualFold(parts[i-1], "dead")
			if one.find.MatchString(part) && !dead && !w.allowed(path, part) {
				return part, one.instead
			}
		}
	}
	return "", ""
}

// TestWords fails for turns of phrase in any text, and for names in words that the trade does not use.
func TestWords(t *testing.T) {
	all := readWords(t)
	for _, line := range texts(t) {
		if found, instead := all.turn(line.path, line.text); found != "" {
			t.Errorf("%s:%d: %q: write: %s (internal/dev/house/words.txt)", line.path, line.number, found, instead)
		}
	}
	for _, name := range names(t) {
		if found, instead := all.part(name.path, name.text); found != "" {
			t.Errorf("%s:%d: the name %q has the word %q: write: %s (internal/dev/house/words.txt)", name.path,
				name.number, name.text, found, instead)
		}
	}
	for _, e := range all.allow {
		if !e.used {
			t.Errorf("words.txt: the exception %s %s is not needed: remove it", e.path, e.text)
		}
	}
}

// One planted word of each kind is found, and its plain form is not.
func TestWordsAreFound(t *testing.T) {
	all := readWords(t)
	for text, want := range map[string]string{
		"whoever holds the lease": "whoever", "Nobody waits": "Nobody", "it tried in vain": "in vain",
		"why is wanted": "is wanted", "the table is told": "told",
		"alerts tell of it": "tell of", "it stands still": "stands", "the run goes through it": "goes through",
		"the url is none": "is none", "the right that lacks": "lacks",
		"a store that speaks S3": "speaks", "it is due": "it is due", "what becomes of it": "what becomes of",
		"the windows that there are": "that there are", "of whom": "of whom",
	} {
		if found, _ := all.turn("x.go", text); found != want {
			t.Errorf("%q: found %q, want %q", text, found, want)
		}
	}
	for _, text := range []string{"the holder of the lease", "a standby", "it is not known", "the alert is delivered",
		"none of them", "understands"} {
		if found, _ := all.turn("x.go", text); found != "" {
			t.Errorf("%q: found %q", text, found)
		}
	}
	for name, want := range map[string]string{
		"upkeep_episodes_open": "episodes", "LetterStore": "letter", "UpkeepNoticesLost": "notices",
		"upkeep_runs_told_total": "told", "How one trouble flows": "trouble", "remedyScraper": "remedy",
		"declined": "declined", "uncleared": "uncleared", "upkeep_runs_asked": "asked",
		"awaiting_approval": "", "upkeep_incidents_open": "", "DeadLetter": "", "dead_letters": "", "notifications": "", "noticed": "",
	} {
		if found, _ := all.part("x.go", name); found != want {
			t.Errorf("%q: found %q, want %q", name, found, want)
		}
	}
}

// A text is a line of a file that people read, or a name.
type text struct {
	path   string
	number int
	text   string
}

// texts returns the comments and strings of Go files, and the lines of all other files.
func texts(t *testing.T) (all []text) {
	t.Helper()
	for _, s := range sources(t) {
		path := s.dir + "/" + s.name
		add := func(pos token.Pos, text string) {
			all = append(all, linesOf(path, s.fset.Position(pos).Line, text)...)
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				add(c.Pos(), c.Text)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				add(l.Pos(), l.Value)
			}
			return true
		})
	}
	walk(t, func(path string) {
		if strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "go.sum") {
			return
		}
		if content := readText(t, path); content != "" {
			all = append(all, linesOf(path, 1, content)...)
		}
	})
	return all
}

// readText returns the content of a file, or "" if it is not text.
func readText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(content[:min(len(content), 8000)], 0) {
		return ""
	}
	return string(content)
}

func linesOf(path string, first int, content string) (all []text) {
	for line := range strings.Lines(content) {
		all = append(all, text{path, first, line})
		first++
	}
	return all
}

// names returns the names that users and programmers meet: of metrics, labels, alerts, states, reasons,
// configuration keys, commands, flags, types, and headings.
func names(t *testing.T) (all []text) {
	t.Helper()
	for path, find := range map[string]string{
		"docs/metrics.md": "^\\| `([a-z_]+)` \\|[^|]*\\|([^|]*)\\|", // metrics with their labels
		"docs/alerts.md":  "^## (\\w+)",
		"docs/states.md":  "^\\| `([a-z_]+)`",
		"docs/config.md":  "^\\| `([a-z_]+)`",
		"docs/cli.md":     "^## upkeep (.+)|^ +(?:-\\w, )?--([a-z-]+)",
	} {
		for _, line := range linesOf(path, 1, readText(t, path)) {
			if m := regexp.MustCompile(find).FindStringSubmatch(line.text); m != nil {
				all = append(all, text{path, line.number, strings.Join(m[1:], " ")})
			}
		}
	}
	walk(t, func(path string) {
		if filepath.Ext(path) == ".md" {
			all = append(all, headings(path, readText(t, path))...)
		}
	})
	for _, s := range sources(t) {
		all = append(all, declared(s)...)
	}
	slices.SortFunc(all, func(a, b text) int { return cmp.Or(strings.Compare(a.path, b.path), a.number-b.number) })
	return all
}

// headings returns the headings of a page, without code.
func headings(path, content string) (all []text) {
	code := false
	for _, line := range linesOf(path, 1, content) {
		if strings.HasPrefix(line.text, "```") {
			code = !code
		}
		if !code && strings.HasPrefix(line.text, "#") {
			all = append(all, text{path, line.number, strings.TrimSpace(strings.TrimLeft(line.text, "#"))})
		}
	}
	return all
}

// declared returns the types of a file, and the values of its constants Reason… and of its states.
func declared(s source) (all []text) {
	add := func(n ast.Node, name string) {
		all = append(all, text{s.dir + "/" + s.name, s.fset.Position(n.Pos()).Line, name})
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			add(n, n.Name.Name)
		case *ast.ValueSpec:
			kind, _ := n.Type.(*ast.Ident)
			if len(n.Values) == 1 && (strings.HasPrefix(n.Names[0].Name, "Reason") || kind != nil && kind.Name == "State") {
				if l, ok := n.Values[0].(*ast.BasicLit); ok {
					add(n, strings.Trim(l.Value, `"`))
				}
			}
		}
		return true
	})
	return all
}
