package page

import (
	"maps"
	"net/url"
	"slices"
	"strconv"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"
)

// KeyBefore has in an address the number before which a part of a list begins.
const KeyBefore = "before"

// choice is a part of a filter with what may be chosen; what was chosen stays, though it is not there any more.
func choice(query url.Values, text, key string, all []string) Node {
	chosen := query.Get(key)
	if chosen != "" && !slices.Contains(all, chosen) { // a policy that is gone has runs still
		all = append(slices.Clone(all), chosen)
	}
	return Label(Text(text), Select(Name(key), Option(Value(""), Text("any")), Map(all, func(s string) Node {
		return Option(Value(s), If(s == chosen, Selected()), Text(s))
	})))
}

// field is a part of a filter that is filled in.
func field(query url.Values, text, key, kind string) Node {
	return Label(Text(text), Input(Type(kind), Name(key), Value(query.Get(key)), AutoComplete("off")))
}

// parts lead to the newest part of a list and to the one before, which begins before next; 0: this is the last.
func parts(path string, query url.Values, next int64, older string) Node {
	at := func(before int64) string {
		query := url.Values(maps.Collect(maps.All(query))) // not a clone, which is nil where there is no query
		query.Del(KeyBefore)
		if before > 0 {
			query.Set(KeyBefore, strconv.FormatInt(before, 10))
		}
		return link(path, query)
	}
	return Nav(Class("pages"), Aria("label", "Parts of the list"),
		If(query.Get(KeyBefore) != "", A(Href(at(0)), Text("The newest"))),
		If(next > 0, A(Href(at(next)), Rel("next"), Text(older))))
}
