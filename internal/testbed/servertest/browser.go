package servertest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A Browser is a Chromium with one tab, driven over a pipe by the Chrome DevTools Protocol.
type Browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	session string
	last    int
	events  []browserEvent
}

// A browserEvent is what the browser says by itself, or its answer to a command.
type browserEvent struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// StartBrowser starts a Chromium, which ends with the test.
func StartBrowser(t *testing.T) *Browser {
	t.Helper()
	dir := t.TempDir()
	commands, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--hide-scrollbars",
		"--remote-debugging-pipe", "--user-data-dir="+filepath.Join(dir, "profile"))
	cmd.ExtraFiles = []*os.File{commands, answers}
	cmd.Env = append(cmd.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (the tests need Debian's packages; make test installs them)", err)
	}
	_, _ = commands.Close(), answers.Close() // the child has its own
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()                                      // by that signal
		_, _ = in.Close(), out.Close()
	})
	b := &Browser{t: t, in: in, out: bufio.NewReader(out)}
	var made struct{ TargetID, SessionID string }
	b.Do("Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	b.Do("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &made)
	b.session = made.SessionID
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		b.Do(domain+".enable", nil, nil)
	}
	return b
}

// Do sends a command and waits for its answer.
func (b *Browser) Do(method string, params map[string]any, into any) {
	b.t.Helper()
	b.last++
	if params == nil {
		params = map[string]any{}
	}
	message := map[string]any{"id": b.last, "method": method, "params": params}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	e := b.until(func(e browserEvent) bool { return e.ID == b.last })
	if e.Error != nil {
		b.t.Fatalf("%s: %s", method, e.Error.Message)
	}
	if into != nil {
		if err := json.Unmarshal(e.Result, into); err != nil {
			b.t.Fatal(err)
		}
	}
}

// until reads events up to one, and keeps all.
func (b *Browser) until(is func(browserEvent) bool) browserEvent {
	b.t.Helper()
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatal(err)
		}
		var e browserEvent
		if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &e); err != nil {
			b.t.Fatal(err)
		}
		b.events = append(b.events, e)
		if is(e) {
			return e
		}
	}
}

// Open opens a page, and waits until it is loaded.
func (b *Browser) Open(url string) {
	b.t.Helper()
	b.settled(func() { b.Do("Page.navigate", map[string]any{"url": url}, nil) })
}

// settled waits until the page is loaded that act leads to.
func (b *Browser) settled(act func()) {
	b.t.Helper()
	from := len(b.events)
	act()
	for _, e := range b.events[from:] {
		if e.Method == "Page.loadEventFired" {
			return
		}
	}
	b.until(func(e browserEvent) bool { return e.Method == "Page.loadEventFired" })
}

// Wrong returns what has gone wrong since it was last called: messages of the console, and requests to
// anything that does not begin with one of the addresses.
func (b *Browser) Wrong(addresses ...string) (wrong []string) {
	b.t.Helper()
	for _, e := range b.events {
		switch e.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			wrong = append(wrong, e.Method+" "+string(e.Params))
		case "Network.requestWillBeSent":
			var sent struct{ Request struct{ URL string } }
			ours := json.Unmarshal(e.Params, &sent) == nil
			known := strings.HasPrefix(sent.Request.URL, "data:") // it goes to no host
			for _, address := range addresses {
				known = known || strings.HasPrefix(sent.Request.URL, address)
			}
			if !ours || !known {
				wrong = append(wrong, "request of "+sent.Request.URL)
			}
		}
	}
	b.events = nil
	return wrong
}

// Value evaluates an expression in the page. That of a promise is what comes of it.
func (b *Browser) Value(expr string) string {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.Do("Runtime.evaluate", map[string]any{"expression": expr, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%.200s: %s", expr, answer.ExceptionDetails.Exception.Description)
	}
	return fmt.Sprint(answer.Result.Value)
}

// Window makes the window so wide and high, in the colour scheme "light" or "dark".
func (b *Browser) Window(width, height int, scheme string) {
	b.t.Helper()
	b.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1,
		"mobile": false}, nil)
	b.Do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Scripts lets pages run scripts, or none.
func (b *Browser) Scripts(on bool) {
	b.t.Helper()
	b.Do("Emulation.setScriptExecutionDisabled", map[string]any{"value": !on}, nil)
}

// Fill types into the field that a selector finds, as a person does.
func (b *Browser) Fill(selector, text string) {
	b.t.Helper()
	if found := b.Value(fmt.Sprintf("(e => { if (!e) return 'no'; e.focus(); e.select(); return 'yes' })"+
		"(document.querySelector(%q))", selector)); found != "yes" {
		b.t.Fatalf("no field %s in %s", selector, b.Value("document.body.innerText"))
	}
	b.Do("Input.insertText", map[string]any{"text": text}, nil)
}

// Click clicks what a selector finds with the mouse, and waits for the page that it leads to.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	place := b.Value(fmt.Sprintf("(e => { if (!e) return 'no'; "+
		"e.scrollIntoView({block: 'center', behavior: 'instant'}); const r = e.getBoundingClientRect(); "+
		"return (r.x + r.width / 2) + ' ' + (r.y + r.height / 2) })"+
		"(document.querySelector(%q))", selector))
	var x, y float64
	if _, err := fmt.Sscan(place, &x, &y); err != nil {
		b.t.Fatalf("nothing to click at %s in %s", selector, b.Value("document.body.innerText"))
	}
	b.settled(func() {
		for _, kind := range []string{"mousePressed", "mouseReleased"} {
			b.Do("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": x, "y": y, "button": "left",
				"clickCount": 1}, nil)
		}
	})
}

// Shot returns a picture of the whole page as PNG.
func (b *Browser) Shot() []byte {
	b.t.Helper()
	var size struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	b.Do("Page.getLayoutMetrics", nil, &size)
	var shot struct{ Data string }
	b.Do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "clip": map[string]any{"x": 0, "y": 0,
		"width": size.CSSContentSize.Width, "height": size.CSSContentSize.Height, "scale": 1}}, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	return picture
}

// axe is the version of axe-core that tools/install-deps.sh fetches.
const axe = "4.14.1"

// Axe returns what axe-core finds wrong with the page for people who see little, or use no mouse: each rule
// with where it is broken.
func (b *Browser) Axe() string {
	b.t.Helper()
	var script []byte
	err := os.ErrNotExist
	for _, folder := range caches() {
		if err != nil {
			script, err = os.ReadFile(filepath.Join(folder, "axe-core-"+axe, "axe.min.js"))
		}
	}
	if err != nil {
		b.t.Fatalf("%v (the tests need axe-core; make test fetches it)", err)
	}
	b.Do("Runtime.evaluate", map[string]any{"expression": string(script)}, nil)
	return b.Value(`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": " +
		v.nodes.map(n => n.target.join(" ") + " " + n.failureSummary).slice(0, 5).join("; ")).join("\n"))`)
}

// Press presses keys, one after the other, and waits for the page that the last one leads to where it
// leads to one.
func (b *Browser) Press(leads bool, keys ...string) {
	b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13}
	for n, key := range keys {
		press := func() {
			down := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
			if key == "Enter" {
				down["text"] = "\r"
			}
			b.Do("Input.dispatchKeyEvent", down, nil)
			b.Do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key}, nil)
		}
		if leads && n == len(keys)-1 {
			b.settled(press)
		} else {
			press()
		}
	}
}
