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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// DockerConfig says where a Docker engine is.
type DockerConfig struct {
	Name string // the server label
	Host string // unix:///var/run/docker.sock, or tcp://host:port
	TLS  DockerTLS
	Root string // where the engine's root file system is seen from, for its log files
	Logs LogFields

	// LogArchive is the folder that keeps what is cut off logs; "" where it is not kept.
	LogArchive string

	// Sightings is the file in which it is remembered when an image was first seen; ""
	// where that is known only while upkeep runs.
	Sightings string

	// LogState is the file in which it is remembered how far the logs were read, and what was
	// counted in them; "" where that begins anew with upkeep.
	LogState string
}

// LogFields are the names that the services' log lines give to what is counted.
type LogFields struct {
	Level, Message, Path, Duration string
	DurationUnit                   string        // of numbers: s, ms, us or ns; auto: as the name says
	Slow                           time.Duration // a request that takes longer is slow
}

// A Docker is one Docker engine, for reading alone: who may write to it is root on
// its machine. What changes something is in DockerChanges.
type Docker struct {
	Name string
	Root string
	Logs LogFields

	LogArchive string // keeps what is cut off logs; "" where it is not kept
	LogState   string // remembers how far the logs were read; "" where that begins anew with upkeep

	closed     chan struct{}
	closedOnce sync.Once

	host      string
	tls       DockerTLS
	transport *http.Transport
	seen      sightings

	mu     sync.Mutex
	client *client.Client // has agreed upon a version of the API with the engine; nil before
}

// maxAnswer is more than any engine has to say.
const maxAnswer = 256 << 20

// NewDocker returns an engine. It connects to nothing yet.
func NewDocker(c DockerConfig) (*Docker, error) {
	u, err := url.Parse(c.Host)
	if err != nil { // which would repeat the URL, and a password in it
		return nil, fmt.Errorf("docker %s: its host cannot be read; unix:///var/run/docker.sock or tcp://host:port "+
			"was expected", c.Name)
	}
	d := &Docker{Name: c.Name, Root: c.Root, Logs: c.Logs, LogArchive: c.LogArchive, LogState: c.LogState,
		closed: make(chan struct{}), host: c.Host, tls: c.TLS, seen: sightings{path: c.Sightings}}
	network, address := "tcp", u.Host
	if u.Scheme == "unix" {
		network, address = "unix", u.Path
	}
	if address == "" || u.Scheme != "unix" && u.Scheme != "tcp" {
		return nil, fmt.Errorf("docker %s: host is %q; unix:///var/run/docker.sock or tcp://host:port was expected",
			c.Name, u.Redacted())
	}
	if u.Scheme == "unix" && c.TLS.used() {
		return nil, fmt.Errorf("docker %s: a socket has no TLS: leave ca_file, cert_file and key_file out", c.Name)
	}
	if u.Scheme == "tcp" && !c.TLS.used() && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("docker %s: %s is without TLS: name ca_file, cert_file and key_file", c.Name,
			u.Redacted())
	}
	d.transport = &http.Transport{
		MaxIdleConns: 2, MaxConnsPerHost: 2, IdleConnTimeout: 2 * time.Minute,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		},
	}
	if c.TLS.used() {
		d.transport.DialTLSContext = c.TLS.dial
	}
	return d, nil
}

// Closed is closed when the engine is not used any more.
func (d *Docker) Closed() <-chan struct{} { return d.closed }

// Close closes every connection to the engine.
func (d *Docker) Close() {
	if d.closed != nil {
		d.closedOnce.Do(func() { close(d.closed) })
	}
	if d.transport != nil {
		d.transport.CloseIdleConnections()
	}
}

// noEngine reports whether an engine could not be connected to: its client says no more.
func noEngine(err error) bool { return client.IsErrConnectionFailed(err) }

// answers is the transport to an engine: an answer that is not a success is an error with its
// status, and none is larger than it may be.
type answers struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	// which is asked in another way then
	if res.StatusCode < http.StatusBadRequest || strings.HasSuffix(r.URL.Path, "/_ping") {
		res.Body = bounded{io.LimitReader(res.Body, maxAnswer), res.Body}
		return res, nil
	}
	var said struct{ Message string }
	_ = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&said) // what is no JSON says nothing
	_ = res.Body.Close()                                               // was read
	return nil, &DockerError{Status: res.StatusCode, Message: said.Message, Path: r.URL.Path}
}

type bounded struct {
	io.Reader
	io.Closer
}

// ask puts one question to the engine, in an API version that both support.
func (d *Docker) ask(ctx context.Context, question func(*client.Client) error) error {
	if d.transport == nil {
		return errors.New("target: an engine without a configuration")
	}
	d.mu.Lock()
	c := d.client
	d.mu.Unlock()
	var err error
	if c == nil {
		c, err = d.connect(ctx)
	}
	if err == nil {
		err = question(c)
	}
	if err != nil && ctx.Err() == nil {
		c = nil // it may be another engine by now
	}
	d.mu.Lock()
	d.client = c
	d.mu.Unlock()
	if said, ok := errors.AsType[*DockerError](err); ok {
		return said
	}
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}

// oldestAPI is the oldest version of the API whose answers are understood.
const oldestAPI = "1.24"

// connect agrees upon a version of the API: the newest that both know.
func (d *Docker) connect(ctx context.Context) (*client.Client, error) {
	scheme := "http"
	if d.tls.used() {
		scheme = "https"
	}
	c, err := client.NewClientWithOpts(client.WithHost(d.host), client.WithScheme(scheme),
		client.WithHTTPClient(&http.Client{Transport: answers{d.transport}}), client.WithUserAgent("upkeep"))
	if err != nil {
		return nil, err
	}
	ping, err := c.Ping(ctx)
	if err != nil {
		return nil, err
	}
	if ping.APIVersion == "" || versions.LessThan(ping.APIVersion, oldestAPI) {
		return nil, fmt.Errorf("the engine has API version %q; %s or later is required", ping.APIVersion, oldestAPI)
	}
	c.NegotiateAPIVersionPing(ping)
	return c, nil
}

// asked is ask for a question that is answered with a value.
func asked[T any](ctx context.Context, d *Docker, question func(*client.Client) (T, error)) (v T, err error) {
	err = d.ask(ctx, func(c *client.Client) (err error) {
		v, err = question(c)
		return err
	})
	return v, err
}

// plain refuses what is no name and no ID: it becomes a part of a path.
func plain(name string) error {
	stem := strings.TrimPrefix(name, "sha256:")
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' ||
			r == '-')
	}
	if stem == "" || stem[0] == '.' || strings.ContainsFunc(stem, odd) {
		return fmt.Errorf("docker: %q is no name or ID", name)
	}
	return nil
}

// Supports reports whether the API version used with the engine is a given one,
// like 1.39, or in a later one. What a parameter of a later version forbids, an engine
// that does not know it does.
func (d *Docker) Supports(ctx context.Context, version string) (bool, error) {
	return asked(ctx, d, func(c *client.Client) (bool, error) {
		return versions.GreaterThanOrEqualTo(c.ClientVersion(), version), nil
	})
}

// Version returns the engine's own version, like 20.10.24.
func (d *Docker) Version(ctx context.Context) (string, error) {
	v, err := asked(ctx, d, func(c *client.Client) (types.Version, error) { return c.ServerVersion(ctx) })
	return v.Version, err
}

// info is what the engine says of itself.
func (d *Docker) info(ctx context.Context) (system.Info, error) {
	return asked(ctx, d, func(c *client.Client) (system.Info, error) { return c.Info(ctx) })
}

// ImageList lists the images of the engine; those too that are only a stage of a build
// where all is set.
func (d *Docker) ImageList(ctx context.Context, all bool) ([]image.Summary, error) {
	return asked(ctx, d, func(c *client.Client) ([]image.Summary, error) {
		return c.ImageList(ctx, image.ListOptions{All: all})
	})
}

// ImageTagged returns when an image was last given a name; zero where the engine does
// not say.
func (d *Docker) ImageTagged(ctx context.Context, id string) (time.Time, error) {
	if err := plain(id); err != nil {
		return time.Time{}, err
	}
	i, err := asked(ctx, d, func(c *client.Client) (image.InspectResponse, error) { return c.ImageInspect(ctx, id) })
	return i.Metadata.LastTagTime, err
}

// ImageLayers returns the layers of an image, the lowest first, by the digests of what is in them, and their size.
func (d *Docker) ImageLayers(ctx context.Context, id string) (layers []string, size int64, err error) {
	if err := plain(id); err != nil {
		return nil, 0, err
	}
	i, err := asked(ctx, d, func(c *client.Client) (image.InspectResponse, error) { return c.ImageInspect(ctx, id) })
	return i.RootFS.Layers, i.Size, err
}

// ImagesInUse returns the IDs of the images that containers have, running or not.
func (d *Docker) ImagesInUse(ctx context.Context) ([]string, error) {
	list, err := d.list(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i, c := range list {
		ids[i] = c.ImageID
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// DiskUsage returns what the engine keeps on disk, of the kinds that are named: image,
// container, volume, build-cache. One before API 1.42 looks at everything each time.
func (d *Docker) DiskUsage(ctx context.Context, kinds ...types.DiskUsageObject) (types.DiskUsage, error) {
	return asked(ctx, d, func(c *client.Client) (types.DiskUsage, error) {
		return c.DiskUsage(ctx, types.DiskUsageOptions{Types: kinds})
	})
}

// list lists all containers.
func (d *Docker) list(ctx context.Context) ([]container.Summary, error) {
	return asked(ctx, d, func(c *client.Client) ([]container.Summary, error) {
		return c.ContainerList(ctx, container.ListOptions{All: true})
	})
}

// inspect describes one container.
func (d *Docker) inspect(ctx context.Context, name string) (i container.InspectResponse, err error) {
	if err := plain(name); err != nil {
		return i, err
	}
	i, err = asked(ctx, d, func(c *client.Client) (container.InspectResponse,
		error) {
		return c.ContainerInspect(ctx, name)
	})
	if err == nil && (i.ContainerJSONBase == nil || i.State == nil || i.HostConfig == nil || i.Config == nil) {
		err = fmt.Errorf("docker: the engine's description of container %s has no state or no configuration", name)
	}
	return i, err
}

// volume describes one volume.
func (d *Docker) volume(ctx context.Context, name string) (v volume.Volume, err error) {
	if err := plain(name); err != nil {
		return v, err
	}
	return asked(ctx, d, func(c *client.Client) (volume.Volume, error) { return c.VolumeInspect(ctx, name) })
}

// DockerChanges is what actions change on an engine. A proxy that lets only GET through
// refuses all of it, with 403 or 405.
type DockerChanges struct{ *Docker }

// Changes returns what changes something on the engine.
func (d *Docker) Changes() DockerChanges { return DockerChanges{d} }

// RemoveImage has the engine remove one image by its ID, without force, and none of
// those that it was built from.
func (d DockerChanges) RemoveImage(ctx context.Context, id string) error {
	if err := plain(id); err != nil {
		return err
	}
	return d.ask(ctx, func(c *client.Client) error {
		_, err := c.ImageRemove(ctx, id, image.RemoveOptions{})
		return err
	})
}

// PruneBuildCache has the engine remove what of its build cache was not used for a
// time, as Go writes it.
func (d DockerChanges) PruneBuildCache(ctx context.Context, until string) error {
	return d.ask(ctx, func(c *client.Client) error {
		_, err := c.BuildCachePrune(ctx, build.CachePruneOptions{Filters: filters.NewArgs(filters.Arg("until", until))})
		return err
	})
}

// RestartContainer has the engine restart a container, which may take so many seconds
// to stop before it is killed, and waits until it has been started.
func (d DockerChanges) RestartContainer(ctx context.Context, name string, seconds int) error {
	if err := plain(name); err != nil {
		return err
	}
	return d.ask(ctx, func(c *client.Client) error {
		return c.ContainerRestart(ctx, name, container.StopOptions{Timeout: &seconds})
	})
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

// Gone reports whether an engine answered "not found".
func Gone(err error) bool {
	var e *DockerError
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Refused reports whether an engine, or a proxy before it, answered with one of these statuses.
func Refused(err error, statuses ...int) bool {
	var e *DockerError
	return errors.As(err, &e) && slices.Contains(statuses, e.Status)
}
