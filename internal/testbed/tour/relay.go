package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

// projectLabel is the label by which docker compose knows the containers of a project.
const projectLabel = "com.docker.compose.project"

// headerWithin is longer than a client on the same machine takes for a header.
const headerWithin = 5 * time.Second

// answerMost is more than the description of a container has.
const answerMost = 8 << 20

// A relay is before the engine's socket, which is as good as being root. It passes on what upkeep asks to
// see, about the containers of one compose project, and nothing else: no files, no logs, no terminals of containers,
// and nothing that changes something. Environments, which have passwords in them, are left out.
type relay struct {
	project string
	proxy   httputil.ReverseProxy
}

func newRelay(engine, project string) *relay {
	r := &relay{project: project}
	r.proxy = httputil.ReverseProxy{
		Rewrite: r.rewrite,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", engine)
		}},
		ModifyResponse: r.ours,
	}
	return r
}

// ServeHTTP implements http.Handler.
func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	passes := regexp.MustCompile(`^(/v1\.[0-9]{1,3})?/(_ping|version|images/json|containers/json` +
		`|containers/[A-Za-z0-9][A-Za-z0-9_.-]{0,127}/json)$`)
	reads := q.Method == http.MethodGet || q.Method == http.MethodHead && q.URL.Path == "/_ping"
	if !reads || q.URL.RawPath != "" || !passes.MatchString(q.URL.Path) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"message":"the relay of the tour passes on what upkeep reads, and nothing else"}`)
		return
	}
	r.proxy.ServeHTTP(w, q)
}

// rewrite asks for the containers of the project alone, and passes no body and no header on.
func (r *relay) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "docker", "docker"
	p.Out.Body, p.Out.ContentLength, p.Out.Header = http.NoBody, 0, http.Header{}
	query := url.Values{}
	if part(p.In.URL.Path) == "containers/json" {
		filter, _ := json.Marshal(map[string][]string{"label": {projectLabel + "=" + r.project}}) // strings can be
		query.Set("filters", string(filter))
		query.Set("all", "1")
	}
	p.Out.URL.RawQuery = query.Encode()
}

// part is a path without the version of the API.
func part(path string) string {
	return regexp.MustCompile(`^(/v1\.[0-9]+)?/`).ReplaceAllString(path, "")
}

// ours lets the description of a container through if it belongs to the project, without its environment.
func (r *relay) ours(res *http.Response) error {
	what := part(res.Request.URL.Path)
	if res.StatusCode != http.StatusOK || what == "containers/json" || !strings.HasPrefix(what, "containers/") {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, answerMost))
	_ = res.Body.Close() // was read
	if err != nil {
		return err
	}
	var all, config map[string]json.RawMessage
	var labels map[string]string
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	if err := json.Unmarshal(all["Config"], &config); err != nil {
		return err
	}
	if err := json.Unmarshal(config["Labels"], &labels); err != nil {
		return err
	}
	if labels[projectLabel] != r.project {
		text, res.StatusCode = []byte(`{"message":"no such container in this project"}`), http.StatusNotFound
	} else {
		delete(config, "Env")
		if all["Config"], err = json.Marshal(config); err == nil {
			text, err = json.Marshal(all)
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	res.Header.Set("Content-Length", fmt.Sprint(len(text)))
	return err
}

// listenAndRelay relays until the context ends.
func listenAndRelay(ctx context.Context, engine, listen, project string) error {
	if err := os.Remove(listen); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a relay that was killed
		return err
	}
	listener, err := net.Listen("unix", listen)
	if err != nil {
		return err
	}
	// Who has the folder of the socket may ask: upkeep, which may be another user.
	if err := os.Chmod(listen, 0o666); err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: newRelay(engine, project), ReadHeaderTimeout: headerWithin}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		err := server.Close()
		<-ended
		return err
	}
}
