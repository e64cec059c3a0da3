package page

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/product/rights"
)

// RightsPath is where is shown what upkeep may not do on its targets.
const RightsPath = SettingsPath + "/rights"

// collectorsShown is how many collectors a page has, those that fail first. A target shows its own.
const collectorsShown = 150

// Settings is with what upkeep works.
type Settings struct {
	At     time.Time
	Server string // whose collectors are shown; "": all

	Targets    []Monitored
	Collectors []Collecting
	Config     string // as loaded, without secrets; "" where it is not for who looks
	Versions   [][2]string
}

// Monitored is a target as the settings show it.
type Monitored struct {
	Name  string
	Kinds []string
	State string // down, failing, up or unknown
	Why   string
	Since time.Time
	Total int // collectors
	Last  time.Time
}

// Collecting is a collector of a target, or one that is off.
type Collecting struct {
	Name, Server string
	Off          bool
	Every, Took  time.Duration
	Good         time.Time
	Asked        bool
	Err          string
}

// Nodes are the parts of the page.
func (s Settings) Nodes() []Node {
	return []Node{
		Section(ID("settings"), H1(Text("Settings")), P(Class("soft"), Text("What is shown here comes from the "+
			"configuration file of upkeep: change it there, then send SIGHUP or ask for a reload."))),
		s.targets(), s.rights(), s.collectors(), s.config(), s.versions(),
	}
}

// looks is the style of the state of a target, and what it is called.
func (m Monitored) looks() (class, text string) {
	switch m.State {
	case "down":
		return "bad", "down"
	case "failing":
		return "busy", "partly read"
	case "up":
		return "good", "answers"
	}
	return "", "not read yet"
}

func (s Settings) targets() Node {
	if len(s.Targets) == 0 {
		return Section(ID("targets"), H2(Text("Targets")), P(Class("soft"), Text("No target is configured.")))
	}
	return Section(ID("targets"), H2(Text("Targets")), Table(Class("wide"),
		heads("Target", "Kind", "State", "Since", "Error", "Last read", "Reads"),
		TBody(Map(s.Targets, func(m Monitored) Node {
			class, text := m.looks()
			return Tr(
				Td(Data("name", "Target"), Strong(Text(m.Name))),
				Td(Class("num"), Data("name", "Kind"), Text(strings.Join(m.Kinds, ", "))),
				Td(Data("name", "State"), pill(class, text)),
				Td(Class("num"), Data("name", "Since"), ago(s.At, m.Since)),
				Td(Data("name", "Error"), dash(m.Why)),
				Td(Class("num"), Data("name", "Last read"), ago(s.At, m.Last)),
				Td(Class("num"), Data("name", "Reads"), A(Href(s.of(m.Name)),
					Text(plural(int64(m.Total), "collector", "collectors")))),
			)
		}))))
}

// ago is a moment, or a dash where it is not known.
func ago(now, at time.Time) Node {
	if at.IsZero() {
		return Text("–")
	}
	return since(now, at)
}

// dash is a text, or a dash for an empty one.
func dash(text string) Node {
	if text == "" {
		return Text("–")
	}
	return Text(text)
}

// of leads to the collectors of a target.
func (s Settings) of(server string) string {
	query := url.Values{}
	if server != "" {
		query.Set(KeyServer, server)
	}
	return link(SettingsPath, query) + "#collectors"
}

func (s Settings) rights() Node {
	if !slices.ContainsFunc(s.Targets, func(m Monitored) bool { return hasRights(m.Kinds) }) {
		return nil
	}
	return Section(ID("rights"), H2(Text("Rights")), P(Text("What the roles may that upkeep logs in as is compared "+
		"with what the collectors and the configured actions need. The servers are asked anew; nothing is changed.")),
		P(A(Href(RightsPath), Text("Look for missing rights, with the SQL that grants them"))))
}

// hasRights reports whether a target knows rights.
func hasRights(kinds []string) bool {
	return slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(rights.Kinds(), rights.Kind(k)) })
}

func (s Settings) collectors() Node {
	shown := slices.DeleteFunc(slices.Clone(s.Collectors),
		func(c Collecting) bool { return s.Server != "" && c.Server != s.Server && !c.Off })
	left := len(shown) - collectorsShown
	if left > 0 {
		shown = shown[:collectorsShown]
	}
	title := "Collectors"
	if s.Server != "" {
		title += " of " + s.Server
	}
	if len(shown) == 0 {
		return Section(ID("collectors"), H2(Text(title)), P(Class("soft"), Text("The target has no collector.")),
			If(s.Server != "", P(A(Href(s.of("")), Text("Those of all targets")))))
	}
	return Section(ID("collectors"), H2(Text(title)),
		Table(Class("wide"), heads("Collector", "Target", "State", "Interval", "Last success", "Duration", "Error"),
			TBody(Map(shown, s.collector))),
		Div(Class("pages"), If(left > 0, Span(Class("soft"), Text(plural(int64(left), "more: choose", "more: choose")+
			" a target above."))),
			If(s.Server != "", A(Href(s.of("")), Text("Those of all targets")))))
}

func (s Settings) collector(c Collecting) Node {
	class, text := "good", "on"
	switch {
	case c.Off:
		class, text = "", "off"
	case c.Err != "":
		class, text = "bad", "failing"
	case !c.Asked:
		class, text = "", "not asked yet"
	}
	took := Text("–")
	if c.Asked {
		took = Text(c.Took.Round(100 * time.Microsecond).String())
	}
	every := Text("–")
	if c.Every > 0 {
		every = Text(interval(c.Every))
	}
	return Tr(
		Td(Class("num"), Data("name", "Collector"), Text(c.Name)),
		Td(Data("name", "Target"), dash(c.Server)),
		Td(Data("name", "State"), pill(class, text)),
		Td(Class("num"), Data("name", "Interval"), every),
		Td(Class("num"), Data("name", "Last success"), ago(s.At, c.Good)),
		Td(Class("num"), Data("name", "Duration"), took),
		Td(Data("name", "Error"), dash(c.Err)),
	)
}

// interval writes a duration in one unit where that is exact.
func interval(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	case d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d%time.Second == 0:
		return strconv.Itoa(int(d/time.Second)) + " s"
	}
	return d.String()
}

func (s Settings) config() Node {
	if s.Config == "" {
		return Section(ID("config"), H2(Text("Configuration")),
			P(Class("soft"), Text("To read it needs the role operate.")))
	}
	return Section(ID("config"), H2(Text("Configuration")), P(Class("soft"), Text("As it was loaded, with the "+
		"defaults that hold. Secrets, and where they are read, are not shown: "+redacted+".")),
		Details(ID("config-text"), Summary(Text("Show it")), Div(Class("card"), Pre(Text(s.Config)))))
}

// redacted is what is shown in the place of a secret.
const redacted = "<redacted>"

func (s Settings) versions() Node {
	return Section(ID("versions"), H2(Text("Versions")), Table(Class("facts"), TBody(Map(s.Versions,
		func(v [2]string) Node { return Tr(Th(Attr("scope", "row"), Text(v[0])), Td(Text(v[1]))) }))))
}

// Rights is what upkeep may not do on its targets, of what it needs.
type Rights struct {
	At      time.Time // when the servers were asked
	Servers []ServerRights
}

// ServerRights is what it may not do on one of them.
type ServerRights struct {
	rights.Missing
	Name string
	Kind rights.Kind
	Err  string // why it is not known
}

// Nodes are the parts of the page.
func (r Rights) Nodes() []Node {
	missing, unknown := 0, 0
	for _, s := range r.Servers {
		switch {
		case s.Err != "":
			unknown++
		case !s.Nothing():
			missing++
		}
	}
	title := "No right is missing"
	switch {
	case missing > 0:
		title = "Rights are missing on " + plural(int64(missing), "server", "servers")
	case unknown > 0 || len(r.Servers) == 0:
		title = "Missing rights"
	}
	nodes := []Node{Section(ID("sums"), H1(Text(title)),
		P(Text("These are the rights that the collectors and the actions of the configured policies and schedules "+
			"need. upkeep grants nothing: copy a block, and run it in psql as an owner or a superuser. A block is one "+
			"transaction: all of it holds, or nothing.")),
		P(Class("soft"), Text("The servers were asked at "), moment(r.At), Text(". "),
			A(Href(RightsPath), Text("Ask again")), Text(" · "), A(Href(SettingsPath), Text("Settings"))))}
	if len(r.Servers) == 0 {
		return append(nodes, P(Class("soft"), Text("No PostgreSQL or Redis server is configured.")))
	}
	for _, s := range r.Servers {
		nodes = append(nodes, s.node())
	}
	return nodes
}

func (s ServerRights) node() Node {
	class, text := "good", "nothing is missing"
	switch {
	case s.Err != "":
		class, text = "busy", "not known"
	case s.Superuser:
		class, text = "busy", "superuser"
	case !s.Nothing():
		class, text = "bad", "rights are missing"
	}
	return Section(H2(Text(s.Name+" ")), Div(Class("card "+class),
		Div(Class("row"), pill(class, text), Span(Text(string(s.Kind))),
			If(s.Role != "", Span(Text("logs in as "), Code(Text(s.Role))))),
		If(s.Err != "", P(Text("What it may is not known: "+s.Err))),
		If(s.Superuser, P(Text("It may do everything. A role with the rights that upkeep needs, and no more, does "+
			"less harm: the command "), Code(Text("upkeep rights")), Text(" writes them."))),
		If(len(s.Server) > 0, Group{
			P(Text("On the whole server, for " + needed(s.Server) + ":")), s.statements(s.Server)}),
		Map(s.Databases, func(w rights.Within) Node { return s.database(w) }),
		Map(s.Unread, func(why string) Node { return P(Class("busy"), Text("Not known of the database "+why)) }),
		If(len(s.Unseen) > 0, Details(Summary(Text("Rights that are not compared")),
			P(Text("The command "), Code(Text("upkeep rights")), Text(" writes the grants of these too.")),
			Ul(Map(s.Unseen, func(text string) Node { return Li(Code(Text(text))) }))))))
}

// statements are those that grant what is missing: one transaction on PostgreSQL, one command on Redis.
func (s ServerRights) statements(all []rights.Gap) Node {
	if s.Kind == rights.Redis {
		return Map(all, func(l rights.Gap) Node { return Pre(Class("copy"), Text(l.SQL)) })
	}
	if slices.ContainsFunc(all, rights.Gap.Grants) {
		return Pre(Class("copy"), Text(rights.SQL(all...)))
	}
	var said []string // a block of comments alone would grant nothing
	for _, l := range all {
		if text := strings.TrimPrefix(l.SQL, "-- "); !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	return Ul(Map(said, func(text string) Node { return Li(Text(text)) }))
}

func (s ServerRights) database(w rights.Within) Node {
	all := w.All()
	var tables int
	for _, one := range w.Schemas {
		tables += one.Tables
	}
	where := "on the database"
	if tables > 0 {
		where = "on " + plural(int64(tables), "table", "tables") + " in " +
			plural(int64(len(w.Schemas)+w.More), "schema", "schemas")
	}
	how := "Everything at once:"
	if !slices.ContainsFunc(all, rights.Gap.Grants) {
		how = "No statement grants it:"
	}
	return Group{
		H3(Text("Database "), Code(Text(w.Database))),
		P(Text("Missing " + where + ", for " + needed(all) + ". " + how)), s.statements(all),
		If(w.More > 0, P(Class("busy"), Text(plural(int64(w.More), "schema is", "schemas are")+
			" left out here: grant these first."))),
		If(len(w.Schemas) > 1, Group{P(Text("Or one schema:")), Map(w.Schemas, func(one rights.Schema) Node {
			return Details(Summary(Text(one.Name+": "+plural(int64(one.Tables), "table", "tables"))),
				s.statements(append(slices.Clone(w.Gaps), one.Gaps...)))
		})}),
	}
}

// needed names what needs some rights, each once.
func needed(all []rights.Gap) string {
	var names []string
	for _, l := range all {
		for name := range strings.SplitSeq(l.For, ", ") {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(some(names, 6), ", ")
}
