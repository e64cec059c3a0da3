package page

import (
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/docs"
)

// Bar returns the entries of the navigation that are served.
func Bar(served func(path string) bool) []Entry {
	all := []Entry{{"Now", "/"}, {"Look", LookPath}, {"Runs", RunsPath}, {"Policies", PoliciesPath},
		{"Calendar", CalendarPath}, {"Reports", ReportsPath}, {"Inbox", InboxPath}, {"Journal", JournalPath},
		{"Settings", SettingsPath}, {"Docs", strings.TrimSuffix(docs.Path, "/")}}
	return slices.DeleteFunc(all, func(e Entry) bool { return !served(e.Path) })
}
