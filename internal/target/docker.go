package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DockerConfig says where a Docker engine is.
type DockerConfig struct {
	Name string // the server label
	Host string // unix:///var/run/docker.sock, or tcp://host:port without TLS
	Root string // where the engine's root file system is seen from, for its log files
	Logs LogFields

	// LogArchive is the folder that keeps what is cut off logs; "" where it is not kept.
	LogArchive string

	// Sightings is the file in which it is remembered when an image was first seen; ""
	// where that is known only while upkeep runs.
	Sightings string
}

// LogFields are the names that the services' log lines give to what is counted.
type LogFields struct {
	Level, Message, Path, Duration string
	Slow                           time.Duration // a request that takes longer is slow
}

// A Docker is one Docker engine. Collectors only read it: whoever may write to it
// is root on its machine.
type Docker struct {
	Name string
	Root string
	Logs LogFields

	LogArchive string // keeps what is cut off logs; "" where it is not kept

	base   string
	client *http.Client
	seen   sightings

	mu      sync.Mutex
	version string // of the API, agreed upon with the engine; "" before the first question
}

// The versions of the API whose answers are understood. An engine that speaks
// another is asked in the nearest one that it speaks.
const (
	oldestAPI = "1.24"
	newestAPI = "1.47"
)

// maxAnswer is more than any engine has to say.
const maxAnswer = 256 << 20

// NewDocker returns an engine. It connects to nothing yet.
func NewDocker(c DockerConfig) (*Docker, error) {
	u, err := url.Parse(c.Host)
	if err != nil {
		return nil, fmt.Errorf("docker %s: %w", c.Name, err)
	}
	transport := &http.Transport{MaxIdleConns: 2, MaxConnsPerHost: 2, IdleConnTimeout: 2 * time.Minute, ResponseHeaderTimeout: 0}
	d := &Docker{Name: c.Name, Root: c.Root, Logs: c.Logs, LogArchive: c.LogArchive, client: &http.Client{Transport: transport}, seen: sightings{path: c.Sightings}}
	switch {
	case u.Scheme == "unix" && u.Path != "":
		d.base = "http://docker"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", u.Path)
		}
	case u.Scheme == "tcp" && u.Host != "":
		d.base = "http://" + u.Host
		transport.DialContext = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	default:
		return nil, fmt.Errorf("docker %s: host is %q; unix:///var/run/docker.sock or tcp://host:port was expected", c.Name, c.Host)
	}
	return d, nil
}

// Get asks the engine and reads its answer into what is given. The parts of path
// are escaped.
func (d *Docker) Get(ctx context.Context, into any, query url.Values, path ...string) error {
	if d.client == nil {
		return errors.New("target: an engine without a configuration")
	}
	return d.call(ctx, http.MethodGet, into, query, path...)
}

// Post has the engine do something. A proxy that lets only GET through refuses it,
// with 403 or 405.
func (d *Docker) Post(ctx context.Context, query url.Values, path ...string) error {
	if d.client == nil {
		return errors.New("target: an engine without a configuration")
	}
	return d.call(ctx, http.MethodPost, nil, query, path...)
}

// Delete has the engine remove something. A proxy that lets only GET through refuses
// it too.
func (d *Docker) Delete(ctx context.Context, query url.Values, path ...string) error {
	if d.client == nil {
		return errors.New("target: an engine without a configuration")
	}
	return d.call(ctx, http.MethodDelete, nil, query, path...)
}

// Speaks reports whether questions are put to the engine in a version of the API,
// like 1.39, or in a later one. What a parameter of a later version forbids, an engine
// that does not know it does.
func (d *Docker) Speaks(ctx context.Context, version string) (bool, error) {
	theirs, err := d.agree(ctx)
	return err == nil && !before(theirs, version), err
}

func (d *Docker) call(ctx context.Context, method string, into any, query url.Values, path ...string) error {
	version, err := d.agree(ctx)
	if err != nil {
		return err
	}
	err = d.send(ctx, method, into, query, append([]string{"v" + version}, path...)...)
	if err != nil && ctx.Err() == nil {
		d.mu.Lock()
		d.version = "" // it may be another engine by now
		d.mu.Unlock()
	}
	return err
}

// agree returns the version in which the engine is asked.
func (d *Docker) agree(ctx context.Context) (string, error) {
	d.mu.Lock()
	version := d.version
	d.mu.Unlock()
	if version != "" {
		return version, nil
	}
	var theirs struct{ APIVersion, MinAPIVersion string }
	if err := d.send(ctx, http.MethodGet, &theirs, nil, "version"); err != nil {
		return "", err
	}
	version = newestAPI
	if before(theirs.APIVersion, version) {
		version = theirs.APIVersion
	}
	if before(version, theirs.MinAPIVersion) {
		version = theirs.MinAPIVersion
	}
	if before(version, oldestAPI) {
		return "", fmt.Errorf("the engine speaks version %q of the API; %s or later was expected", theirs.APIVersion, oldestAPI)
	}
	d.mu.Lock()
	d.version = version
	d.mu.Unlock()
	return version, nil
}

// before reports whether a version of the API is older than another.
func before(a, b string) bool {
	x, y := parts(a), parts(b)
	return x[0] < y[0] || x[0] == y[0] && x[1] < y[1]
}

func parts(version string) (n [2]int) {
	major, minor, _ := strings.Cut(version, ".")
	n[0], _ = strconv.Atoi(major) // 0 is older than any
	n[1], _ = strconv.Atoi(minor)
	return n
}

// send asks, and reads the answer into what is given; into nothing where that is nil.
func (d *Docker) send(ctx context.Context, method string, into any, query url.Values, path ...string) error {
	u, err := url.Parse(d.base)
	if err != nil {
		return err
	}
	u = u.JoinPath(escaped(path)...)
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "upkeep")
	res, err := d.client.Do(r)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // the address says nothing: it is a socket's
		}
		return fmt.Errorf("docker: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // read only
	body := io.LimitReader(res.Body, maxAnswer)
	if res.StatusCode != http.StatusOK && !(into == nil && res.StatusCode == http.StatusNoContent) {
		var said struct{ Message string }
		_ = json.NewDecoder(body).Decode(&said) // what is no JSON says nothing
		return &DockerError{Status: res.StatusCode, Message: said.Message, Path: strings.Join(path, "/")}
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("docker: %s: %w", strings.Join(path, "/"), err)
	}
	return nil
}

func escaped(path []string) []string {
	all := make([]string, len(path))
	for i, p := range path {
		all[i] = url.PathEscape(p)
	}
	return all
}

// A DockerError is what the engine answered instead of what was asked for.
type DockerError struct {
	Status        int
	Message, Path string
}

// Error implements error.
func (e *DockerError) Error() string {
	return fmt.Sprintf("docker: %s: %d %s", e.Path, e.Status, e.Message)
}

// Gone reports whether an engine answered that there is no such thing.
func Gone(err error) bool {
	var e *DockerError
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Close closes every connection to the engine.
func (d *Docker) Close() {
	if d.client != nil {
		d.client.CloseIdleConnections()
	}
}
