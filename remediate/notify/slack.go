package notify

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	slackTitle = 150 // letters of a title
	// letters of one notification, as Slack takes them in a block; ten make less than the 40,000 of a message
	slackText = 3000
	slackCut  = "\n… (cut; the rest is in upkeep)"
)

// A Slack posts each message to an incoming webhook.
type Slack struct {
	URL    Secret       // is the secret, and is in no error
	Client *http.Client // http.DefaultClient where nil
}

// Notify implements Notifier.
func (s Slack) Notify(ctx context.Context, m Message) error {
	parts := make([]string, len(m.Notifications))
	for i, n := range m.Notifications {
		parts[i] = slackNotification(n)
	}
	return post(ctx, s.Client, s.URL, nil, map[string]any{
		"text": strings.Join(parts, "\n\n"), "mrkdwn": true,
		"unfurl_links": false, "unfurl_media": false, // the links are for people
	})
}

func slackNotification(n Item) string {
	var b strings.Builder
	title := strings.Join(strings.Fields(n.Title), " ")
	fmt.Fprintf(&b, "*%s*", slackEscape(title, slackTitle, "…"))
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
	line := strings.Join(links, " · ")
	room := slackText - utf8.RuneCountInString(b.String()) - utf8.RuneCountInString(line) - 2
	if text := strings.TrimSpace(n.Text); text != "" {
		b.WriteString("\n" + slackEscape(text, max(room, 0), slackCut))
	}
	if line != "" {
		b.WriteString("\n" + line)
	}
	return b.String()
}

// slackEscape writes a text so that nothing in it is a link or calls anybody: a
// table may be named <!channel>. What is longer than limit, as Slack counts it,
// is cut, at the end of a line where one is near.
func slackEscape(text string, limit int, cut string) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	if whole := escape.Replace(text); utf8.RuneCountInString(whole) <= limit {
		return whole
	}
	room := limit - utf8.RuneCountInString(cut)
	kept, length, lineEnd := 0, 0, 0
	for i, r := range text {
		length += utf8.RuneCountInString(escape.Replace(string(r)))
		if length > room {
			break
		}
		if r == '\n' {
			lineEnd = i
		}
		kept = i + utf8.RuneLen(r)
	}
	if lineEnd > kept/2 {
		kept = lineEnd
	}
	return escape.Replace(text[:kept]) + cut
}

// slackLink writes a link; the letters that would end it are written as a URL
// writes them.
func slackLink(to, text string) string {
	return "<" + strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C").Replace(to) + "|" + text + ">"
}
