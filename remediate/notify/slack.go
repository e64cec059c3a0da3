package notify

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	slackTitle = 150  // letters of a header, as Slack takes them
	slackText  = 3000 // letters of a section, as Slack takes them
	slackCut   = "\n… (cut; the rest is in upkeep)"
)

// A Slack posts each message to an incoming webhook.
type Slack struct {
	URL    Secret       // is the secret, and is in no error
	Client *http.Client // http.DefaultClient where nil
}

// Notify implements Notifier. Titles and texts are plain text, in which Slack reads no
// markup; only our own links are written in its markup.
func (s Slack) Notify(ctx context.Context, m Message) error {
	blocks := []map[string]any{}
	titles := make([]string, len(m.Notifications))
	for i, n := range m.Notifications {
		title, text := n.shown()
		titles[i] = slackEscape(title)
		blocks = append(blocks, slackBlock("header", "plain_text", slackShort(title, slackTitle, "…")))
		if text != "" {
			blocks = append(blocks, slackBlock("section", "plain_text", slackShort(text, slackText, slackCut)))
		}
		if links := slackLinks(n); links != "" {
			blocks = append(blocks, slackBlock("section", "mrkdwn", links))
		}
	}
	return post(ctx, s.Client, s.URL, nil, map[string]any{
		"blocks": blocks,
		// what a telephone shows, where there is no room for blocks
		"text": strings.Join(titles, "\n"), "mrkdwn": false, "parse": "none", "link_names": false,
		"unfurl_links": false, "unfurl_media": false, // the links are for people
	})
}

// slackBlock is one block of a message.
func slackBlock(kind, format, text string) map[string]any {
	is := map[string]any{"type": format, "text": text}
	if format == "plain_text" {
		is["emoji"] = false // a table may be named :fire:
	}
	return map[string]any{"type": kind, "text": is}
}

// slackLinks are the links of a notification.
func slackLinks(n Item) string {
	var links []string
	if n.Approve != "" {
		links = append(links, slackLink(n.Approve, "Approve or reject"))
	}
	switch {
	case n.Open == "":
	case n.Run == 0:
		links = append(links, slackLink(n.Open, "upkeep"))
	default:
		links = append(links, slackLink(n.Open, fmt.Sprintf("Run %d", n.Run)))
	}
	return strings.Join(links, " · ")
}

// slackEscape writes a text so that nothing in it is a link or calls anybody: a
// table may be named <!channel>.
func slackEscape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// slackShort cuts what is longer than limit, at the end of a line where one is near.
func slackShort(text string, limit int, cut string) string {
	letters := []rune(text)
	if len(letters) <= limit {
		return text
	}
	kept := string(letters[:limit-utf8.RuneCountInString(cut)])
	if end := strings.LastIndexByte(kept, '\n'); end > len(kept)/2 {
		kept = kept[:end]
	}
	return kept + cut
}

// slackLink writes a link; the letters that would end it are written as a URL
// writes them.
func slackLink(to, text string) string {
	return "<" + strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C").Replace(to) + "|" + text + ">"
}
