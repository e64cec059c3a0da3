package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
)

// A Restart is the way to restart a server: a Docker engine, systemd, or none.
type Restart struct {
	Docker    *Docker // nil: not Docker
	Container string  // its name in the engine
	Unit      string  // of systemd on this machine; "": not systemd
}

// ErrNobodyRestarts says that no way to restart a server is configured.
var ErrNobodyRestarts = errors.New("no way to restart the server is configured")

// UnitName reports whether a text is a name of a systemd service, written out.
func UnitName(text string) bool {
	return len(text) <= 255 && regexp.MustCompile(`^[A-Za-z0-9:_\\][A-Za-z0-9:_.\\@-]*\.service$`).MatchString(text)
}

// Configured reports whether there is somebody who restarts the server.
func (r Restart) Configured() bool { return r.Docker != nil && r.Container != "" || r.Unit != "" }

// String says who restarts the server and what, as a person would type it.
func (r Restart) String() string {
	switch {
	case r.Docker != nil && r.Container != "":
		return "docker restart " + r.Container
	case r.Unit != "":
		return "systemctl restart " + r.Unit
	}
	return "none"
}

// Look asks Docker or systemd for the state of the server, and changes nothing.
func (r Restart) Look(ctx context.Context) (s Supervised, err error) {
	switch {
	case r.Docker != nil && r.Container != "":
		return r.container(ctx)
	case r.Unit != "":
		return r.unit(ctx)
	}
	return s, ErrNobodyRestarts
}

func (r Restart) container(ctx context.Context) (s Supervised, err error) {
	i, err := r.Docker.inspect(ctx, r.Container)
	if err != nil {
		return s, err
	}
	started, err := time.Parse(time.RFC3339Nano, i.State.StartedAt)
	if err != nil {
		return s, fmt.Errorf("docker: when container %s was started: %w", r.Container, err)
	}
	s = Supervised{Running: i.State.Running, PID: i.State.Pid, Started: started, Grace: 10 * time.Second,
		Args: append([]string{i.Path}, i.Args...), WorkDir: cmp.Or(i.Config.WorkingDir, "/")}
	if t := i.Config.StopTimeout; t != nil {
		s.Grace = time.Duration(*t) * time.Second
	}
	s.Addresses = addresses(i.NetworkSettings)
	s.Folders, err = r.Docker.folders(ctx, i)
	return s, err
}

// addresses are those of a container in its networks; none where it has the machine's, or
// another container's.
func addresses(of *container.NetworkSettings) (all []netip.Addr) {
	if of == nil {
		return nil
	}
	for _, one := range of.Networks {
		if one == nil {
			continue
		}
		for _, text := range []string{one.IPAddress, one.GlobalIPv6Address} {
			if a, err := netip.ParseAddr(text); err == nil {
				all = append(all, a)
			}
		}
	}
	return all
}

// unitProperties are what is asked of systemd.
const unitProperties = "LoadState,ActiveState,MainPID,TimeoutStopUSec,ExecStart,WorkingDirectory," +
	"RuntimeDirectory,RuntimeDirectoryPreserve,PrivateTmp,DynamicUser,TemporaryFileSystem,ProtectHome"

func (r Restart) unit(ctx context.Context) (s Supervised, err error) {
	text, err := systemctl(ctx, "show", "--no-pager", "--property="+unitProperties, "--", r.Unit)
	if err != nil {
		return s, err
	}
	said := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[name] += value // one that is there twice, ExecStart, is not understood then
	}
	if said["LoadState"] != "loaded" {
		return s, fmt.Errorf("systemd: %s is %s", r.Unit, said["LoadState"])
	}
	s.Running = said["ActiveState"] == "active"
	s.PID, _ = strconv.Atoi(said["MainPID"]) // 0 is not known
	s.Args, s.WorkDir, s.Folders = started(said["ExecStart"]),
		strings.TrimPrefix(cmp.Or(said["WorkingDirectory"], "/"), "!"), unitFolders(said)
	if s.Grace, err = timespan(said["TimeoutStopUSec"]); err != nil {
		return s, fmt.Errorf("systemd: %s: TimeoutStopUSec: %w", r.Unit, err)
	}
	return s, nil
}

// timespan reads a span of time as systemd writes it, like "1min 30s" or "1.500000s"; infinity
// is negative. A month and a year are as long as systemd takes them to be.
func timespan(text string) (d time.Duration, err error) {
	if text == "infinity" {
		return -1, nil
	}
	units := map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
		"month": 2_629_800 * time.Second, "y": 31_557_600 * time.Second}
	fields := strings.Fields(text)
	for _, f := range fields {
		end := strings.IndexFunc(f, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if end <= 0 || units[f[end:]] == 0 {
			return 0, fmt.Errorf("%q is not understood", text)
		}
		const most = 100 * 365 * 24 * time.Hour // two of them are a Duration
		n, err := strconv.ParseFloat(f[:end], 64)
		span := math.Round(n * float64(units[f[end:]]))
		if err != nil || span > float64(most) || d > most {
			return 0, fmt.Errorf("%q is not understood", text)
		}
		d += time.Duration(span)
	}
	if len(fields) == 0 {
		return 0, errors.New("nothing is said")
	}
	return d, nil
}

// Do restarts the server and waits until it has been started. The server may take
// grace to stop before it is killed; systemd knows that by itself.
func (r Restart) Do(ctx context.Context, grace time.Duration) error {
	switch {
	case r.Docker != nil && r.Container != "":
		return r.Docker.Changes().RestartContainer(ctx, r.Container, int(grace.Round(time.Second)/time.Second))
	case r.Unit != "":
		_, err := systemctl(ctx, "restart", "--no-ask-password", "--", r.Unit)
		return err
	}
	return ErrNobodyRestarts
}

// ErrMayNotRestart says that Docker or systemd denied the restart.
var ErrMayNotRestart = errors.New("that is not allowed")

// systemctl runs systemd's own program.
func systemctl(ctx context.Context, args ...string) (string, error) {
	program, err := child.Find("systemctl")
	if err != nil {
		return "", err
	}
	env := []string{"LC_ALL=C", "SYSTEMD_COLORS=0"}
	for _, name := range []string{"DBUS_SYSTEM_BUS_ADDRESS", "XDG_RUNTIME_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	r, err := child.Run(ctx, child.Program{Path: program, Args: args, Env: env})
	if err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("systemctl %s: %w", args[0], context.Cause(ctx))
		}
		text := strings.TrimSpace(string(r.Said))
		if strings.Contains(text, "authentication required") || strings.Contains(text, "Access denied") {
			err = fmt.Errorf("%w: %w", ErrMayNotRestart, err)
		}
		return "", fmt.Errorf("systemctl %s: %w: %s", args[0], err, text)
	}
	return string(r.Out), nil
}
