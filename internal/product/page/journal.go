package page

import (
	"net/url"
	"strconv"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/remediate"
)

// The keys of the query of the journal, and where it is verified.
const (
	KeyKind, KeyRun = "kind", "run"

	VerifyPath = JournalPath + "/verify"
)

// Journal is a part of the journal.
type Journal struct {
	At    time.Time
	May   May
	Query url.Values // as it was asked for; what is in it filters
	Wrong string     // what of it could not be understood

	Kinds    []string
	Entries  []remediate.Entry
	Next     int64 // the part before begins before this entry; 0: this is the last
	Verified *Verified
}

// Verified is what reading the whole journal has shown.
type Verified struct {
	Entries, Deleted int64
	Checkpoint       string // that takes the place of what retention has deleted; "" where there is no such
	Wrong            []string
}

// Nodes are the parts of the page.
func (j Journal) Nodes() []Node {
	return []Node{
		Section(ID("filter"), H1(Text("Journal")),
			P(Class("soft"), Text("Everything that upkeep and people decided and did, in order. It is appended and "+
				"never changed: each entry carries the hash of the one before.")),
			j.verify(), j.form(), If(j.Wrong != "", P(Class("bad"), Role("alert"), Text(j.Wrong)))),
		Section(ID("entries"), j.table(), j.parts()),
	}
}

// verify has what was found, and the button.
func (j Journal) verify() Node {
	return Group{
		Iff(j.Verified != nil, func() Node { return j.Verified.node() }),
		If(j.May.Operate, Form(Class("line"), Method("post"), Action(VerifyPath),
			Button(Type("submit"), Text("Verify the journal")),
			Small(Text("Reads it from the first entry to the last and compares the hashes. One at a time; a long "+
				"journal takes minutes.")))),
		If(!j.May.Operate, P(Class("soft"), Text("To verify it needs the role operate."))),
	}
}

func (v Verified) node() Node {
	if len(v.Wrong) > 0 {
		return Div(Class("card bad"), Role("alert"), P(Strong(Text("The journal is not as it was written:"))),
			Ul(Map(v.Wrong, func(text string) Node { return Li(Text(text)) })))
	}
	return Div(Class("card good"), Role("status"), P(Strong(Text("journal OK: "+
		plural(v.Entries, "entry", "entries")+" verified"))),
		If(v.Deleted > 0, P(Text(plural(v.Deleted, "older entry was", "older entries were")+
			" deleted by retention. "+v.Checkpoint))))
}

func (j Journal) form() Node {
	return Form(Class("filter"), Method("get"), Action(JournalPath), Role("search"),
		choice(j.Query, "Kind", KeyKind, j.Kinds), field(j.Query, "Run", KeyRun, "text"),
		field(j.Query, "Text: who, why", KeyText, "search"),
		Button(Type("submit"), Text("Filter")), A(Href(JournalPath), Text("Clear")))
}

func (j Journal) table() Node {
	if len(j.Entries) == 0 {
		text := "No entry matches."
		if j.Next > 0 {
			text = "No entry matches among those that were looked at."
		}
		return P(Class("soft"), Text(text))
	}
	return Table(Class("wide"), heads("Entry", "At", "Who", "What", "Run", "Why"), TBody(Map(j.Entries, entry)))
}

// entry is one line of the journal.
func entry(e remediate.Entry) Node {
	who := e.By
	if who == "" {
		who = "upkeep"
	}
	why := e.Why
	run := Text("–")
	if e.Run > 0 {
		run = runLink(e.Run)
	}
	return Tr(
		Td(Class("num"), Data("name", "Entry"), Text(strconv.FormatInt(e.Seq, 10))),
		Td(Class("num"), Data("name", "At"), moment(e.At)),
		Td(Data("name", "Who"), Text(who)),
		Td(Data("name", "What"), happened(e)),
		Td(Class("num"), Data("name", "Run"), run),
		Td(Data("name", "Why"), dash(why)),
	)
}

func (j Journal) parts() Node {
	older := "Older entries"
	if len(j.Entries) == 0 {
		older = "Look among older entries"
	}
	return parts(JournalPath, j.Query, j.Next, older)
}
