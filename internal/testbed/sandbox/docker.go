package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Docker is a running private Docker engine. It has no network, and containers are
// made with --network none; or one that the machine does not see.
type Docker struct {
	Host string // of its socket, unix:///…
	Dir  string

	child  *child
	client string
}

// StartDocker starts an engine that keeps everything in the folder. Only root can.
func StartDocker(ctx context.Context, dir string) (*Docker, error) {
	return startDocker(ctx, dir, nil, "--iptables=false", "--ip6tables=false", "--bridge=none")
}

// StartDockerInNetwork starts one with a network of its own, in which containers have their bridges and
// published ports: the machine has none of them, and nothing in it leads out. Dial reaches it.
func StartDockerInNetwork(ctx context.Context, dir string) (*Docker, error) {
	apart, err := binary("unshare", "util-linux")
	if err != nil {
		return nil, err
	}
	// The engine takes the place of the shell, and is ended as ever.
	return startDocker(ctx, dir, []string{apart, "--net", "sh", "-euc", `ip link set lo up; exec "$@"`, "sh"})
}

// startDocker starts an engine by a command before it, with arguments of its own.
func startDocker(ctx context.Context, dir string, by []string, args ...string) (*Docker, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("docker: only root can start an engine; " +
			"run as root, or in a container that is privileged")
	}
	engine, err := binary("dockerd", "docker.io")
	if err != nil {
		return nil, err
	}
	d := &Docker{Dir: dir, Host: "unix://" + filepath.Join(dir, "docker.sock")}
	if d.client, err = binary("docker", "docker.io"); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	// The machine's own configuration is for the machine's own engine.
	own := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(own, []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	logFile := filepath.Join(dir, "dockerd.log")
	logTo, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logTo.Close() }() // the child has its own
	all := slices.Concat(by, []string{engine, "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "docker.pid"),
		"--host", d.Host, "--storage-driver=vfs", "--config-file", own}, args)
	d.child, err = startAsRoot(all[0], dir, logTo, all[1:]...)
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return d, d.child.wait(ctx, logFile, func(ctx context.Context) error {
		_, err := d.Run(ctx, nil, "version")
		return err
	})
}

// Run runs Docker's own client against the engine and returns what it printed.
func (d *Docker) Run(ctx context.Context, stdin []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.client, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+d.Host, "DOCKER_CONFIG="+d.Dir)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Dial connects to an address of the engine's network. The host is an IP address.
func (d *Docker) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is in another network, and ends with the goroutine
		space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", d.child.cmd.Process.Pid))
		if err != nil {
			done <- dialed{nil, err}
			return
		}
		defer func() { _ = space.Close() }() // only read
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- dialed{nil, err}
			return
		}
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		done <- dialed{c, err}
	}()
	is := <-done
	return is.conn, is.err
}

// Stop ends every container and the engine. A second time it does nothing.
func (d *Docker) Stop() error {
	select {
	case <-d.child.done:
		return nil
	default:
	}
	ctx := context.Background()
	all, err := d.Run(ctx, nil, "ps", "--all", "--quiet")
	if err == nil && all != "" {
		_, err = d.Run(ctx, nil, append([]string{"rm", "--force", "--volumes"}, strings.Fields(all)...)...)
	}
	return errors.Join(err, d.child.end(syscall.SIGTERM))
}

// Tar is an archive of programs and files by their paths, as an engine imports it.
func Tar(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name]))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
