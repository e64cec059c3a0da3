package servertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Hook is a server that is notified over HTTP. It takes everything, unless Answer says
// otherwise.
type Hook struct {
	URL string

	mu     sync.Mutex
	bodies []string
	answer func(w http.ResponseWriter, r *http.Request, body string) bool
}

// NewHook starts one.
func NewHook(t testing.TB) *Hook {
	t.Helper()
	h := new(Hook)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	h.URL = s.URL
	return h
}

// Answer sets what is asked before a body is taken: false when it has answered itself.
func (h *Hook) Answer(answer func(w http.ResponseWriter, r *http.Request, body string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

// ServeHTTP answers as every service does that Alertmanager knows, in one.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	h.mu.Lock()
	answer := h.answer
	h.mu.Unlock()
	if answer != nil && !answer(w, r, string(text)) {
		return
	}
	h.mu.Lock()
	h.bodies = append(h.bodies, string(text))
	h.mu.Unlock()
	if strings.Contains(string(text), "Action=Publish") { // of Amazon's notification service
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprint(w, `<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>`)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"ok":true,"success":true,"access_token":"t","errcode":0,`+
		`"result":{"message_id":1,"date":1,"chat":{"id":1,"type":"group"}},`+
		`"issues":[],"key":"A-1","ts":"1","channel":"C"}`)
}

// Bodies returns what was taken, in its order.
func (h *Hook) Bodies() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.bodies...)
}

// Alerts returns "status alertname" for each alert that Alertmanager has posted here, and
// "kind title" for each notification of upkeep's own form.
func (h *Hook) Alerts(t testing.TB) (all []string) {
	t.Helper()
	for _, body := range h.Bodies() {
		var m struct {
			Alerts []struct {
				Status string
				Labels map[string]string
			}
			Notifications []struct{ Kind, Title string }
		}
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		for _, a := range m.Alerts {
			all = append(all, a.Status+" "+a.Labels["alertname"])
		}
		for _, n := range m.Notifications {
			all = append(all, n.Kind+" "+n.Title)
		}
	}
	return all
}

// A Mail is a mail server that keeps what it is given.
type Mail struct {
	Address string // host:port

	mu    sync.Mutex
	mails []string
}

// NewMail starts one.
func NewMail(t testing.TB) *Mail {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nothing is left to be written
	m := &Mail{Address: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			go m.serve(c)
		}
	}()
	return m
}

// Mails returns what was taken, in its order.
func (m *Mail) Mails() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.mails...)
}

func (m *Mail) serve(c net.Conn) {
	defer func() { _ = c.Close() }() // it was read
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	in := bufio.NewReader(c)
	say := func(line string) { fmt.Fprintf(c, "%s\r\n", line) }
	say("220 mail.example ready")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.TrimSpace(line)); {
		case strings.HasPrefix(verb, "QUIT"):
			say("221 bye")
			return
		case strings.HasPrefix(verb, "DATA"):
			say("354 go on")
			var mail strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				mail.WriteString(line)
			}
			m.mu.Lock()
			m.mails = append(m.mails, mail.String())
			m.mu.Unlock()
			say("250 taken")
		default:
			say("250 ok")
		}
	}
}
