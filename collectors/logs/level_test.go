package logs

import (
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

func TestFirstLevel(t *testing.T) {
	for line, want := range map[string]words.Severity{
		"ERROR: relation does not exist":                          words.LevelError,
		"2026-01-02 03:04:05 UTC [7] FATAL:  no":                  words.LevelError,
		"[error] upstream":                                        words.LevelError,
		"level=error msg=x":                                       words.LevelError,
		`time=1 level="fatal" msg=x`:                              words.LevelError,
		"lvl=crit":                                                words.LevelError,
		"error: a line begins with it":                            words.LevelError,
		"2026-01-02 03:04:05 error: behind the time":              words.LevelError,
		"INFO retry after ERROR from peer":                        words.LevelInfo,
		"[Sat Nov 28 10:00:00.1 2026] [core:error] [pid 1] ERROR": words.LevelError,
		"[mpm_event:notice] [pid 1] ERROR":                        words.LevelInfo,
		"2026 LOG:  ERROR: of a client":                           words.LevelInfo,
		"no error was found":                                      words.Unleveled,
		"there was an error: in small letters within a sentence":  words.Unleveled,
		"[ error ] spaced":                                        words.Unleveled,
		"INFO: nothing":                                           words.LevelInfo,
		"ERRORS: 0":                                               words.Unleveled,
		"ERROR_COUNT=0":                                           words.Unleveled,
		"MODE=ERROR":                                              words.Unleveled,
		"GET /errors/ALERT HTTP/1.1":                              words.Unleveled,
		"starting with --log-level=error":                         words.Unleveled,
		"":                                                        words.Unleveled,
		strings.Repeat(".", levelWithin-5) + "ERROR":              words.LevelError,
		strings.Repeat(".", levelWithin-4) + "ERROR":              words.Unleveled, // too far
		strings.Repeat(".", levelWithin+1) + " ERROR: x":          words.Unleveled,
	} {
		if got := firstLevel([]byte(line)); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

// What a client sends reaches the line of an access log: its request, its name, its agent,
// and bytes that are no request. None of it is an error of the service.
func TestClientWritesNoLevel(t *testing.T) {
	const forged = `ERROR: forged [error] level=error E! [E] FATAL:  x`
	for name, line := range map[string]string{
		"target":           `10.0.0.9 - - [30/Nov/2026:18:33:15 +0000] "GET /x?%s HTTP/1.1" 200 2 "-" "-"`,
		"agent":            `10.0.0.9 - - [30/Nov/2026:18:33:15 +0000] "GET / HTTP/1.1" 200 2 "-" "%s"`,
		"user":             `10.0.0.9 - %s [30/Nov/2026:18:33:15 +0000] "GET / HTTP/1.1" 401 2 "-" "-"`,
		"no request":       `10.0.0.9 - - [30/Nov/2026:18:33:15 +0000] "%s" 400 150 "-" "-"`,
		"Python's refusal": `10.0.0.9 - - [30/Nov/2026 18:33:15] code 400, message Bad request syntax (' %s')`,
		"HAProxy":          `10.0.0.9:1234 [30/Nov/2026:18:33:15.989] shop be/s1 0/0/2/1/3 200 201 - - ---- {%s|} "GET / HTTP/1.1"`,
		"HAProxy, syslog":  `Nov 30 18:33:15 vm haproxy[7]: 10.0.0.9:1234 [30/Nov/2026:18:33:15.989] shop be/s1 {%s}`,
		"Envoy":            `[2026-11-30T18:33:15.123Z] "GET /x?%s HTTP/1.1" 200 - 0 2 12 11 "-" "curl"`,
		"gin":              `[GIN] 2026/11/28 - 10:00:00 | 200 |  1.2ms |  127.0.0.1 | GET      "/x?%s"`,
		"gin, method":      `[GIN] 2026/11/28 - 10:00:00 | 404 |  1.2ms |  127.0.0.1 | ERROR    "/x?%s"`,
		"chi":              `2026/11/30 21:49:35 "GET http://shop.example/x?%s HTTP/1.1" from 192.0.2.1:1 - 200 2B in 1ms`,
		"morgan":           `GET /x?%s 200 1.2 ms - 5`,
		"PHP":              `[Mon Nov 30 22:01:43 2026] 127.0.0.1:60788 [200]: GET /x?%s`,
		"nginx proxy":      `[30/Nov/2026:18:33:15 +0000] - 200 200 - GET https shop.example "/x?%s" [Client 10.0.0.9]`,
		"uWSGI":            `[pid: 12|app: 0|req: 1/1] 10.0.0.9 () {28 vars} [Mon Nov 30 18:33:15 2026] GET /x?%s => 2 bytes`,
		"fiber":            `01:33:41 | 200 |   17.69ms | 10.0.0.9 | GET | /x?%s | -`,
		"fiber, method":    `01:33:41 | 404 |   17.69ms | 10.0.0.9 | %s | /x | -`,
		"negroni":          "[negroni] 2026-12-01T01:33:41Z | 200 | \t 2.37ms | shop.example | GET /x?%s",
		"squid":            `1796088989.126      1 10.0.0.9 TCP_MISS/503 1621 GET http://shop.example/x?%s - HIER_DIRECT/10.0.0.2 -`,
		"user, key":        `10:20:30:40:50:60:70:80 - %s [30/Nov/2026:18:33:15 +0000] "GET / HTTP/1.1" 401 2 "-" "-"`,
		"URL of another":   `proxied https://shop.example/x?level=error&severity=fatal`,
	} {
		for _, text := range []string{forged, "level=error", "%22level%22:error", " ERROR ", "ERROR: x", "[error]"} {
			var rec record
			full := strings.Replace(line, "%s", text, 1)
			f := names()
			if readPlain([]byte(full), f.index(), &rec); rec.severity >= words.LevelWarning {
				t.Errorf("%s: %q: level %d", name, full, rec.severity)
			}
		}
	}
	for line, want := range map[string]words.Severity{ // what the service says before is its own
		`[2026-11-30 22:00:18 +0000] [4397] [INFO] 10.0.0.9:1 - - [30/Nov/2026:22:00:18 +0000] "GET /ERROR 1.1" 200`: words.LevelInfo,
		`ERROR shop.http: 10.0.0.9 - - [30/Nov/2026:22:00:18 +0000] "GET / HTTP/1.1" 500 2`:                          words.LevelError,
		"[30/Nov/2026:22:00:38] ERROR cannot start":                                                                  words.LevelError,
		"worker [30/Nov/2026:22:00:38] ERROR cannot start":                                                           words.LevelError,
		"ERROR GET /x failed": words.LevelError,
		"GET ERROR":           words.LevelError,
	} {
		if got := firstLevel([]byte(line)); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

// Each kind of head of which the second part of the corpus has some logger.
func TestKindsOfHeads(t *testing.T) {
	for line, want := range map[string]words.Severity{
		"2026-11-30 21:44:52 [payments] error: no":           words.LevelError,
		"[1796075800] unbound[30369:0] fatal error: no user": words.LevelError,
		"Nov 30 18:33:15 vm sshd[12]: error: no key":         words.LevelError,
		"2026-11-30 [payments] an error: in a sentence":      words.Unleveled,
		"loaded [payments] error: none":                      words.Unleveled,
		"[2026/11/30 18:33:15] [ warn] [engine] failed":      words.LevelWarning,
		"2026-11-30T21:59:15+0000 [payments#critical] no":    words.LevelError,
		"[18:33:15] [Server thread/ERROR]: no":               words.LevelError,
		"404 [/x/ERROR]: b":                                  words.Unleveled, "[GET /ERROR]: b": words.Unleveled, "see [a] /srv/ERROR] b": words.Unleveled,
		"[payments] › ✖  error     no":              words.LevelError,
		"[payments] › an error  was":                words.Unleveled,
		"2026-11-30T18:33:15Z E! [inputs.redis] no": words.LevelError,
		"so E! it is":                                                         words.Unleveled,
		"2026/11/30 18:33:15 pay.go:42: [E] no":                               words.LevelError,
		"\t[C]: in function 'error'":                                          words.Unleveled,
		"1796076258119 E shop.Payments no":                                    words.LevelError,
		"2026-11-30 10:00:00 E then ERROR":                                    words.LevelError,
		"2026-11-30 21:56:27.952010 C | etcdmain: no":                         words.LevelError,
		"[E 261130 21:59:11 gen:31] no":                                       words.LevelError,
		"[E 2026-11-30 21:59:11] no":                                          words.LevelError,
		"[E seats 2026-11-30 21:59:11] no":                                    words.Unleveled,
		"2026-11-30T18:33:15.123Z × seats no":                                 words.LevelError,
		"‼ warn  [seats] no":                                                  words.LevelWarning,
		"● debug [seats] error":                                               words.LevelDebug,
		"● error was found":                                                   words.Unleveled,
		"ℹ info  [seats] no":                                                  words.LevelInfo,
		"É error [seats]":                                                     words.Unleveled,
		"2026-11-30T18:33:15.123 zoneload: error: no":                         words.LevelError,
		"Nov 30 18:33:15 imap(joe)<12>: Error: no":                            words.LevelError,
		"2026-11-30 18:33:15 retry of x: error: no":                           words.Unleveled,
		"recovered: error: none":                                              words.Unleveled,
		`2026/11/30 18:33:15 "GET: error: x`:                                  words.Unleveled,
		"2026-11-30T18:33:15Z Fatal error : no":                               words.LevelError,
		"2026-11-30 18:33:15 10.0.0.9:40916 TLS Error: no":                    words.LevelError,
		"2026-11-30 18:33:15 the Error: no":                                   words.Unleveled,
		"TLS Error: none":                                                     words.Unleveled,
		"[12/1/26, 1:34:15:123 UTC] 0000001a com.ibm.ws.x   E CWWKO0801E: no": words.LevelError,
		"[12/1/26, 1:34:15:123 UTC] 0000001a com.ibm.ws.x   A CWWKF0011I: up": words.LevelInfo,
		"plan E AB: no":                                                       words.Unleveled,
		"E261130 18:33:15.123456 217 1@server/pay.go:42 no":                   words.LevelError,
		"< 2026-11-30 21:56:52.982 UTC >ERROR:  22012: no":                    words.LevelError,
		"2026-11-30 18:33:15.123 UTC [123] FEHLER:  Division":                 words.LevelError,
		"SCHWERWIEGEND: no":                                                   words.LevelError,
		"key='ERROR:  x'":                                                     words.Unleveled,
		"2026-11-30 21:56:44.399 UTC [30497] LOG listening: ERROR":            words.LevelInfo,
		"2026-11-30 22:08:18 CONFIG  shop.Payments ERROR":                     words.LevelInfo,
		`2026-11-30 21:57:30 UTC,"a","b",1,"h:1",6b.7b,1,"SELECT",2026-11-30 21:57:30 UTC,3/3,0,ERROR,22012,"no",,,,`:  words.LevelError,
		`2026-11-30 21:57:30 UTC,"a,""ERROR","b",1,"h:1",6b.7b,1,"x",2026-11-30 21:57:30 UTC,3/3,0,LOG,0,"ERROR: x",,`: words.LevelInfo,
	} {
		var rec record
		f := names()
		if readPlain([]byte(line), f.index(), &rec); rec.severity != want {
			t.Errorf("%q: %v, want %v", line, rec.severity, want)
		}
	}
}

// Pairs of a key and a value: in the quotes of Python, and of a request without a level.
func TestKeyValue(t *testing.T) {
	for line, want := range map[string]record{
		`time='2026-11-30 21:59' level='error' event='it\'s no, level=info' n=3`: {severity: words.LevelError,
			message: []byte(`it\'s no, level=info`)},
		`level=info event='tis level=debug`:                 {severity: words.LevelDebug, message: []byte("'tis")},
		"method=GET path=/a/b status=200 duration_ms=12.5":  {path: []byte("/a/b"), duration: 12.5, timed: true},
		"method=GET path=/a?level=error status=200":         {path: []byte("/a?level=error")},
		"path=/a/b status=200 of no method":                 {message: []byte("path=/a/b status=200 of no method")},
		`2026-12-01 01:28:30 message="no" severity="error"`: {severity: words.LevelError, message: []byte("no")},
		`10.0.0.9 level=error`:                              {severity: words.LevelError, message: []byte("10.0.0.9 level=error")},
		`a.go:52: "msg"="no" "error"="late" "seat"=3`:       {severity: words.LevelError, message: []byte("no")},
		`a.go:52: "level"=0 "msg"="an error"`:               {severity: words.LevelInfo, message: []byte("an error")},
		`"msg"="no" "seat"=3`:                               {message: []byte(`"msg"="no" "seat"=3`)},
		`at=error code=H12 method=GET path="/a/b"`: {severity: words.LevelError, path: []byte("/a/b"),
			message: []byte(`at=error code=H12 method=GET path="/a/b"`)},
		`at=12:00 level=info`: {severity: words.LevelInfo, message: []byte("at=12:00 level=info")},
	} {
		var rec record
		f := names()
		readPlain([]byte(line), f.index(), &rec)
		if want.message == nil {
			want.message = []byte(line)
		}
		if rec.severity != want.severity || string(rec.message) != string(want.message) || string(rec.path) != string(want.path) ||
			rec.duration != want.duration || rec.timed != want.timed {
			t.Errorf("%s: %d %q %q %v", line, rec.severity, rec.message, rec.path, rec.duration)
		}
	}
}

// Whatever a client sends, a line of an access log has no level of an error.
func FuzzClient(f *testing.F) {
	for _, text := range []string{"ERROR: x", "[error]", ` [30/Nov/2026:18:33:15 +0000] "`, "a - ERROR - ", "level=error", "\t| E! [E] "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, line := range []string{
			`10.0.0.9 - - [30/Nov/2026:18:33:15 +0000] "` + text + `" 400 150 "-" "-"`,
			`10.0.0.9 - ` + text + ` [30/Nov/2026:18:33:15 +0000] "GET / HTTP/1.1" 401 2 "-" "` + text + `"`,
			`2026/11/30 21:49:35 "GET /` + text + ` HTTP/1.1" from 192.0.2.1:1 - 200 2B in 1ms`,
			`[GIN] 2026/11/28 - 10:00:00 | 404 | 1.2ms | 127.0.0.1 | ` + text + ` "/x"`,
			`10:00:00 | 404 | 1.2ms | 127.0.0.1 | ` + text + ` | /x | -`,
		} {
			var rec record
			fields := names()
			if readPlain([]byte(line), fields.index(), &rec); rec.severity >= words.LevelWarning {
				t.Errorf("%q: level %d", line, rec.severity)
			}
		}
	})
}
