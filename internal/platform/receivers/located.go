package receivers

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/config"
	"go.yaml.in/yaml/v3"
)

// located returns what is wrong with a file, a line each: file:line: what. Where the
// library names no line, the part is looked for that is wrong by itself. Values that may
// be secrets are not shown.
func located(path string, text []byte, err error, try func(part string) error) error {
	doc := document(text)
	var hidden []string
	if doc != nil {
		hidden = secretValues(doc, "")
	}
	numbered := regexp.MustCompile(`^\s*(?:yaml: )?line (\d+): (.*)$`)
	var all []error
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimRight(line, "\n")
		if strings.TrimSpace(line) == "yaml: unmarshal errors:" {
			continue
		}
		at, what := 0, line
		if m := numbered.FindStringSubmatch(line); m != nil {
			at, _ = strconv.Atoi(m[1]) // digits
			what = regexp.MustCompile(` in type \w+\.\w+$`).ReplaceAllString(m[2], "")
		} else if doc != nil && len(all) == 0 {
			at = search{doc: doc, wrong: err.Error(), try: try}.line()
		}
		all = append(all, fmt.Errorf("%s:%d: %s", path, max(at, 1), redact(what, hidden)))
	}
	return errors.Join(all...)
}

// document returns the mapping that a text is, or nil.
func document(text []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 ||
		doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	return doc.Content[0]
}

// A MissingFile is a file that a configuration names and that is not there.
type MissingFile struct {
	Line       int
	Path, Text string
}

// MissingFiles returns the files that are named and not there: Alertmanager reads them when it
// notifies, and then it cannot.
func (f *File) MissingFiles() (all []MissingFile, err error) {
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("alertmanager configuration: %w", err)
	}
	if doc := document(text); doc != nil {
		f.lacks(doc, "", &all)
	}
	return all, nil
}

func (f *File) lacks(n *yaml.Node, key string, all *[]MissingFile) {
	for i, c := range n.Content {
		of := key
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			of = n.Content[i-1].Value
		}
		if c.Kind != yaml.ScalarNode {
			f.lacks(c, of, all)
			continue
		}
		path := c.Value
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(f.Path), path)
		}
		switch found, err := filepath.Glob(path); {
		case c.Value == "":
		case of == "templates" && (err != nil || len(found) == 0):
			*all = append(*all, MissingFile{c.Line, path,
				fmt.Sprintf("templates: no file matches %s; a receiver that uses one of its templates cannot notify",
					c.Value)})
		case strings.HasSuffix(of, "_file"):
			if _, err := os.Stat(path); err != nil {
				*all = append(*all, MissingFile{c.Line, path,
					fmt.Sprintf("%s names %s, which is not there; create it, since nothing is sent without it", of,
						path)})
			}
		}
	}
}

// secretKey is what the keys of secrets, and of URLs that are such, end in.
const secretKey = `(?i)(url|password|token|token_id|secret|key|credentials|authorization|secrets|values)$`

// secretValues returns the values of keys that name secrets.
func secretValues(n *yaml.Node, key string) (all []string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			all = append(all, secretValues(n.Content[i+1], n.Content[i].Value)...)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			all = append(all, secretValues(item, key)...)
		}
	case yaml.ScalarNode:
		if ok, err := regexp.MatchString(secretKey, key); err == nil && ok && n.Value != "" {
			quoted := strconv.Quote(n.Value)
			all = append(all, partsOf(n.Value)...)
			all = append(all, quoted[1:len(quoted)-1])
			if len(n.Value) > 10 { // so the parser shortens what it shows
				all = append(all, n.Value[:7]+"...")
			}
		}
	default: // a document, or an alias, whose anchor is checked at its own place
	}
	return all
}

// A search looks for the part of a file that is wrong.
type search struct {
	doc   *yaml.Node
	wrong string
	try   func(part string) error
}

// line returns the line of the smallest part that is wrong in the same way alone; 0 if
// there is no such part.
func (s search) line() int {
	for i := 0; i+1 < len(s.doc.Content); i += 2 {
		key, value := s.doc.Content[i], s.doc.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		line := 0
		switch key.Value {
		case "global":
			line = s.keys(value)
		case "receivers":
			line = s.receivers(value)
		case "route":
			line = s.matchers(value)
		case "templates":
		default:
			line = s.items(key.Value, value)
		}
		if line > 0 {
			return line
		}
	}
	for _, section := range []string{"receivers", "route", "templates", "time_intervals", "mute_time_intervals"} {
		if n := child(s.doc, section); n != nil {
			if line := s.named(n); line > 0 {
				return line
			}
		}
	}
	if n := child(s.doc, "route"); n != nil && strings.Contains(s.wrong, "route") {
		return n.Line
	}
	return 0
}

// matchers looks for the matcher that is wrong, in a route and in those below it.
func (s search) matchers(route *yaml.Node) int {
	for i := 0; route.Kind == yaml.MappingNode && i+1 < len(route.Content); i += 2 {
		key, list := route.Content[i], route.Content[i+1]
		for j, item := range list.Content {
			one := sequence(item)
			switch {
			case key.Value == "routes":
				if line := s.matchers(item); line > 0 {
					return line
				}
				continue
			case key.Value == "match_re" && j+1 < len(list.Content) && j%2 == 0:
				one = mapping(item, list.Content[j+1])
			case key.Value != "matchers":
				continue
			}
			below := sequence(mapping(scalar("receiver"), scalar("x"), key, one))
			if s.same(mapping(scalar("route"), mapping(scalar("receiver"), scalar("x"), scalar("routes"), below),
				scalar("receivers"), sequence(mapping(scalar("name"), scalar("x"))))) {
				return item.Line
			}
		}
	}
	return 0
}

// keys looks for the setting of the global section that is wrong.
func (s search) keys(global *yaml.Node) int {
	if global.Kind != yaml.MappingNode || !s.fails("global", global) {
		return 0
	}
	for i := 0; i+1 < len(global.Content); i += 2 {
		if s.fails("global", mapping(global.Content[i], global.Content[i+1])) {
			return global.Content[i].Line
		}
	}
	return global.Line
}

// items looks for the entry of a list that is wrong.
func (s search) items(key string, list *yaml.Node) int {
	if list.Kind != yaml.SequenceNode {
		return 0
	}
	for _, item := range list.Content {
		if s.fails(key, sequence(item)) {
			return item.Line
		}
	}
	return 0
}

// receivers looks for the receiver that is wrong, and for its part.
func (s search) receivers(list *yaml.Node) int {
	if list.Kind != yaml.SequenceNode {
		return 0
	}
	for _, r := range list.Content {
		if r.Kind != yaml.MappingNode || !s.alone(r) {
			continue
		}
		name := child(r, "name")
		for i := 0; name != nil && i+1 < len(r.Content); i += 2 {
			key, entries := r.Content[i], r.Content[i+1]
			if entries.Kind != yaml.SequenceNode {
				continue
			}
			fails := func(entry *yaml.Node) bool {
				return s.alone(mapping(scalar("name"), name, key, sequence(entry)))
			}
			if i := slices.IndexFunc(entries.Content, fails); i >= 0 {
				return s.within(entries.Content[i], fails)
			}
		}
		return r.Line
	}
	return 0
}

// within returns the line of the setting that the error names, or of the URL without
// which the entry is not wrong in this way, or that of the entry.
func (s search) within(entry *yaml.Node, fails func(entry *yaml.Node) bool) int {
	if entry.Kind != yaml.MappingNode {
		return entry.Line
	}
	for i := 0; i+1 < len(entry.Content); i += 2 {
		key := entry.Content[i]
		if ok, err := regexp.MatchString(`\b`+regexp.QuoteMeta(key.Value)+`\b`, s.wrong); err == nil && ok {
			return key.Line
		}
	}
	for i := 0; i+1 < len(entry.Content); i += 2 {
		key := entry.Content[i]
		if rest := slices.Concat(entry.Content[:i], entry.Content[i+2:]); strings.HasSuffix(key.Value, "url") &&
			!fails(mapping(rest...)) {
			return key.Line
		}
	}
	return entry.Line
}

// alone reports whether a file of one receiver is wrong in the same way.
func (s search) alone(r *yaml.Node) bool {
	name := child(r, "name")
	if name == nil {
		name = scalar("x")
	}
	parts := []*yaml.Node{scalar("route"), mapping(scalar("receiver"), name), scalar("receivers"), sequence(r)}
	if global := child(s.doc, "global"); global != nil {
		parts = append(parts, scalar("global"), global)
	}
	return s.same(mapping(parts...))
}

// fails reports whether a file of one section beside a receiver is wrong in the same way.
func (s search) fails(key string, value *yaml.Node) bool {
	name := mapping(scalar("name"), scalar("x"))
	return s.same(mapping(scalar("route"), mapping(scalar("receiver"), scalar("x")), scalar("receivers"),
		sequence(name), scalar(key), value))
}

func (s search) same(doc *yaml.Node) bool {
	text, err := yaml.Marshal(doc)
	if err != nil {
		return false
	}
	err = s.try(string(text))
	return err != nil && err.Error() == s.wrong
}

// named returns the line of the last value that the error quotes, or of the key with
// which it begins.
func (s search) named(n *yaml.Node) (line int) {
	first, _, _ := strings.Cut(s.wrong, " ")
	var look func(n *yaml.Node)
	look = func(n *yaml.Node) {
		for i, c := range n.Content {
			isKey := n.Kind == yaml.MappingNode && i%2 == 0
			if c.Kind == yaml.ScalarNode && c.Value != "" &&
				(strings.Contains(s.wrong, strconv.Quote(c.Value)) || isKey && c.Value == first) {
				line = c.Line
			}
			look(c)
		}
	}
	look(n)
	return line
}

func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

func mapping(content ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: content}
}

func sequence(content ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: content}
}

// A File is a configuration file of Alertmanager, which was read and found good.
type File struct {
	Path   string
	Config *config.Config // paths in it are absolute; it is not changed

	sum [sha256.Size]byte // of the file and of its templates
}
