package relation

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Contract is what an action relies on of some relations: what must be at the
// commit as it was for the plan.
type Contract struct {
	System    string // the server's system identifier
	Relations map[int64]Relation
}

// A Relation is what is relied on of one table, as lines of several kinds.
type Relation struct {
	OID   int64
	Name  string // schema and table, quoted; "" where it was read from a step
	Lines []Line // none where it was read from a step

	hash  string
	kinds map[string]string // hash of each kind
}

// A Line is one thing that is relied on: a column, a trigger, a right.
type Line struct {
	// table, right, setting, column, trigger, reference, rule, policy, constraint, unique, parent, key, publication,
	// subscription or extension
	Kind string
	Name string // for people
	Text string // what is compared
	Mark string // words for what is unfit
}

// Hash identifies everything that is relied on of the relation.
func (r Relation) Hash() string { return r.hash }

// relationOf makes a relation of its lines.
func relationOf(oid int64, lines []Line) Relation {
	slices.SortFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Name, b.Name))
	})
	r := Relation{OID: oid, Lines: lines, kinds: make(map[string]string)}
	all := make(map[string][]string)
	for _, l := range lines {
		text := l.Text
		if l.Kind == "table" || l.Kind == "right" {
			text = l.Name + " " + text
		}
		if l.Kind == "table" && l.Name == "name" {
			r.Name = l.Text
		}
		all[l.Kind] = append(all[l.Kind], text)
	}
	var whole strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		sum := hashed(strings.Join(all[kind], "\n"))
		r.kinds[kind] = sum[:6]
		whole.WriteString(kind + " " + sum + "\n")
	}
	r.hash = hashed(whole.String())[:16]
	return r
}

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// fewRelations is up to how many relations a step says which kind of thing has
// which hash, so that a difference can be named. With more, the step would be long.
const fewRelations = 40

// String writes the contract for the Args of a step.
func (c Contract) String() string {
	words := []string{"system=" + c.System}
	for _, oid := range slices.Sorted(maps.Keys(c.Relations)) {
		r := c.Relations[oid]
		hashes := []string{strconv.FormatInt(oid, 10) + "=" + r.hash}
		if len(c.Relations) <= fewRelations {
			for _, kind := range slices.Sorted(maps.Keys(r.kinds)) {
				hashes = append(hashes, kind+":"+r.kinds[kind])
			}
		}
		words = append(words, strings.Join(hashes, "/"))
	}
	return strings.Join(words, " ")
}

// Parse reads what String has written.
func Parse(text string) (Contract, error) {
	c := Contract{Relations: make(map[int64]Relation)}
	for word := range strings.FieldsSeq(text) {
		key, value, ok := strings.Cut(word, "=")
		if key == "system" && ok {
			c.System = value
			continue
		}
		oid, err := strconv.ParseInt(key, 10, 64)
		if err != nil || value == "" {
			return c, fmt.Errorf("step: contract: %q names no relation and its hash", word)
		}
		r := Relation{OID: oid}
		for i, part := range strings.Split(value, "/") {
			kind, sum, named := strings.Cut(part, ":")
			switch {
			case i == 0:
				r.hash = part
			case named && r.kinds == nil:
				r.kinds = map[string]string{kind: sum}
			case named:
				r.kinds[kind] = sum
			}
		}
		c.Relations[oid] = r
	}
	if c.System == "" || len(c.Relations) == 0 {
		return c, fmt.Errorf("step: invalid contract: %q", text)
	}
	return c, nil
}

// Only returns the part of the contract that is about some relations.
func (c Contract) Only(oids ...int64) Contract {
	part := Contract{System: c.System, Relations: make(map[int64]Relation)}
	for _, oid := range oids {
		if r, ok := c.Relations[oid]; ok {
			part.Relations[oid] = r
		}
	}
	return part
}

// Without is the contract without the lines of a kind and a name: what the work itself
// has made. It can be said only of one that was read.
func (c Contract) Without(kind, name string) Contract {
	rest := Contract{System: c.System, Relations: make(map[int64]Relation)}
	for oid, r := range c.Relations {
		lines := slices.DeleteFunc(slices.Clone(r.Lines), func(l Line) bool { return l.Kind == kind && l.Name == name })
		rest.Relations[oid] = relationOf(oid, lines)
	}
	return rest
}

// Check returns a *remediate.Refusal with ReasonChanged where a relation of c is not
// now as c has it, and one with ReasonTarget where another server answers.
func (c Contract) Check(now Contract) error {
	if c.System != now.System {
		return remediate.Elsewhere("another server answers: its system identifier is %s, and the plan is for %s",
			now.System, c.System)
	}
	for _, oid := range slices.Sorted(maps.Keys(c.Relations)) {
		was := c.Relations[oid]
		is, ok := now.Relations[oid]
		if !ok {
			return changed("%s was dropped", was.called())
		}
		if what := was.differs(is); what != "" {
			return changed("%s", what)
		}
	}
	return nil
}

func changed(format string, args ...any) error {
	return remediate.Refuse(remediate.ReasonChanged,
		"%s since the plan was made: nothing more was done; look at it, and plan again", fmt.Sprintf(format, args...))
}

func (r Relation) called() string {
	if r.Name != "" {
		return r.Name
	}
	return fmt.Sprintf("the table with the oid %d", r.OID)
}

// differs says in words how a relation is not as it was, "" where it is.
func (r Relation) differs(now Relation) string {
	if r.hash == now.hash {
		return ""
	}
	if r.Lines != nil && now.Lines != nil {
		return r.named(now)
	}
	for _, kind := range kinds() {
		if was, is := r.kinds[kind.name], now.kinds[kind.name]; was != is && r.kinds != nil {
			text := kind.all + " of " + now.called() + " changed"
			if names := now.names(kind.name); len(names) > 0 && kind.list {
				text += ", and now are " + strings.Join(names, ", ")
			}
			return text
		}
	}
	return "the definition of " + now.called() + " changed"
}

// named finds the first line that is not as it was.
func (r Relation) named(now Relation) string {
	for _, kind := range kinds() {
		was, is := r.of(kind.name), now.of(kind.name)
		for name, text := range is {
			old, had := was[name]
			switch {
			case had && old == text:
			case kind.name == "table" && name == "name":
				return fmt.Sprintf("%s was renamed to %s", old, text)
			case kind.name == "table", kind.name == "right", kind.name == "setting":
				return fmt.Sprintf("%s%s of %s changed", kind.one, name, now.called())
			case had:
				return fmt.Sprintf("%s%s of %s was changed", kind.one, name, now.called())
			default:
				return fmt.Sprintf("%s%s was added to %s", kind.one, name, now.called())
			}
		}
		for name := range was {
			if _, has := is[name]; !has {
				return fmt.Sprintf("%s%s of %s is gone", kind.one, name, now.called())
			}
		}
	}
	return "the definition of " + now.called() + " changed"
}

// of returns the lines of a kind by their names.
func (r Relation) of(kind string) map[string]string {
	all := make(map[string]string)
	for _, l := range r.Lines {
		if l.Kind == kind {
			all[l.Name] += l.Text + "\n"
		}
	}
	return all
}

func (r Relation) names(kind string) []string {
	return slices.Sorted(maps.Keys(r.of(kind)))
}

// A kind of lines, and its words.
type kind struct {
	name, one, all string
	list           bool // a difference lists what there is now
}

// kinds are in the order in which differences are named: what people have made
// before what follows from it.
func kinds() []kind {
	return []kind{
		{"setting", "the setting ", "the settings", false},
		{"column", "column ", "the columns", true},
		{"trigger", "trigger ", "the triggers", true},
		{"rule", "rule ", "the rules", true},
		{"policy", "row security policy ", "the row security policies", true},
		{"constraint", "constraint ", "the constraints", true},
		{"reference", "foreign key ", "the foreign keys", true},
		{"unique", "unique index ", "the unique indexes", true},
		{"publication", "publication ", "the publications", true},
		{"subscription", "subscription ", "the subscriptions", false},
		{"parent", "parent ", "the parents", true},
		{"key", "", "the partition key", false},
		{"extension", "extension ", "the extension", false},
		{"table", "the ", "the name, owner, kind, persistence, replica identity or row security", false},
		{"right", "the right ", "the rights", false},
	}
}

// OIDs lists the relations that the contract is about.
func (c Contract) OIDs() []int64 { return slices.Sorted(maps.Keys(c.Relations)) }
