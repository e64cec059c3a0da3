package actions_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// place makes a folder for a server of a scenario, which goes with it.
func (h *harness) place() (string, error) {
	dir, err := servertest.Dir()
	if err == nil {
		h.remove(dir)
	}
	return dir, err
}

// copied copies a folder as it is, owners and all.
func copied(from, to string) error {
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("cp: %w\n%s", err, out)
	}
	return err
}

// settings of a server that holds nothing that matters.
func settings(args []string) map[string]string {
	all := map[string]string{"fsync": "off", "autovacuum": "off", "max_prepared_transactions": "4",
		"max_connections": "30", "shared_buffers": "16MB"}
	for _, arg := range args {
		k, v, _ := strings.Cut(arg, "=")
		all[k] = v
	}
	return all
}

// server [-dir DIR] [SETTING=VALUE]… gives the scenario a server of its own as main.
func server(_ *testscript.TestScript, h *harness, args []string) error {
	set, args := flags(args)
	dir := set["dir"]
	if dir == "" {
		var err error
		if dir, err = h.place(); err != nil {
			return err
		}
	}
	if err := h.serve("main", dir, settings(args)); err != nil {
		return err
	}
	return errors.Join(execute(context.Background(), h.servers["main"].URL,
		"create database "+h.database+" strategy file_copy", "create role "+h.role+" login"), h.configure(h.text))
}

// serve starts the server of a target.
func (h *harness) serve(name, dir string, settings map[string]string) error {
	p, err := servertest.StartPostgres(context.Background(), sandbox.PostgresOptions{Dir: dir, Settings: settings})
	if err != nil {
		return err
	}
	h.servers[name], h.settings[name] = p, settings
	h.cleanup = append(h.cleanup, func() error { return ignore(p.Stop()) })
	h.urls[name], err = at(p.URL, h.database)
	return err
}

// halt TARGET ends its server and the sessions on it.
func halt(_ *testscript.TestScript, h *harness, args []string) error {
	if c, ok := h.caches[args[0]]; ok {
		return c.Stop()
	}
	return h.servers[args[0]].Stop()
}

// start TARGET starts it again with its data, on another port.
func start(_ *testscript.TestScript, h *harness, args []string) error {
	if err := h.serve(args[0], h.servers[args[0]].Dir, h.settings[args[0]]); err != nil {
		return err
	}
	return h.configure(h.text)
}

// standby makes the target "standby", a read-only copy of main as it is now. Main is
// started again, on another port. With a name, the standby follows main through the
// slot of that name and tells it what it reads.
func standby(ts *testscript.TestScript, h *harness, args []string) error {
	dir, err := h.place()
	if err != nil {
		return err
	}
	main := h.servers["main"]
	if err := main.Stop(); err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if err := copied(filepath.Join(main.Dir, "data"), data); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644); err != nil {
		return err
	}
	if err := start(ts, h, []string{"main"}); err != nil {
		return err
	}
	set := maps.Clone(h.settings["main"])
	if len(args) == 1 {
		set["primary_conninfo"] = fmt.Sprintf("host=127.0.0.1 port=%d user=upkeep", h.servers["main"].Port)
		set["primary_slot_name"], set["hot_standby_feedback"], set["wal_receiver_status_interval"] = args[0], "on", "1s"
		if err := execute(context.Background(), h.servers["main"].URL,
			"select pg_create_physical_replication_slot('"+args[0]+"', true)"); err != nil {
			return err
		}
	}
	if err := h.serve("standby", dir, set); err != nil {
		return err
	}
	return h.configure(h.text)
}

// disk SIZE mounts a file system of that size at $DISK. A server whose folder it is owns
// it.
func disk(ts *testscript.TestScript, h *harness, args []string) error {
	dir, err := h.place()
	if err != nil {
		return err
	}
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	for _, command := range [][]string{
		{"truncate", "-s", args[0], image}, {"mkfs.ext4", "-q", "-m", "0", image}, {"mkdir", mount},
		{"mount", "-o", "loop", image, mount}, {"chmod", "755", dir},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
		if command[0] == "mount" {
			h.cleanup = append(h.cleanup, func() error { return syscall.Unmount(mount, syscall.MNT_DETACH) })
		}
	}
	ts.Setenv("DISK", mount)
	return nil
}

// dockerEngine NAME starts a Docker engine as a target.
func dockerEngine(_ *testscript.TestScript, h *harness, args []string) error {
	dir, err := h.place()
	if err != nil {
		return err
	}
	d, err := sandbox.StartDocker(context.Background(), filepath.Join(dir, "docker"))
	if err != nil {
		return err
	}
	h.cleanup = append(h.cleanup, d.Stop)
	h.engines[args[0]] = d
	return h.configure(h.text)
}

// dockerImage NAME IMAGE makes an image of a megabyte that is like no other.
func dockerImage(_ *testscript.TestScript, h *harness, args []string) error {
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise) // never fails
	image, err := sandbox.Tar(map[string][]byte{"noise": noise})
	if err == nil {
		_, err = h.engines[args[0]].Run(context.Background(), image, "import", "-", args[1])
	}
	return err
}

// dockerHas NAME IMAGE is true while the engine has the image.
func dockerHas(_ *testscript.TestScript, h *harness, args []string) error {
	_, err := h.engines[args[0]].Run(context.Background(), nil, "image", "inspect", args[1])
	return err
}

// redisServer NAME ARG… starts a Redis server as a target. "redis NAME -dir DIR" keeps
// its data elsewhere.
func redisServer(_ *testscript.TestScript, h *harness, args []string) (err error) {
	name := args[0]
	set, args := map[string]string{}, args[1:]
	if len(args) > 1 && args[0] == "-dir" {
		set["dir"], args = args[1], args[2:]
	}
	dir := set["dir"]
	if dir == "" {
		if dir, err = h.place(); err != nil {
			return err
		}
	}
	r, err := sandbox.StartRedis(context.Background(), sandbox.RedisOptions{Dir: dir, Args: args})
	if err != nil {
		return err
	}
	h.caches[name] = r
	h.cleanup = append(h.cleanup, func() error { return ignore(r.Stop()) })
	h.urls[name] = r.URL
	return h.configure(h.text)
}

// redisCLI [-is WANT] NAME COMMAND… asks a Redis server; with -is until it says that.
func redisCLI(_ *testscript.TestScript, h *harness, args []string) error {
	set, args := flags(args)
	o, err := redis.ParseURL(h.urls[args[0]])
	if err != nil {
		return err
	}
	o.DisableIdentity = true
	o.Username = ""
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }() // nothing is left to be written
	command := make([]any, len(args)-1)
	for i, arg := range args[1:] {
		command[i] = arg
	}
	is, wants := set["is"]
	ask := func() error {
		got, err := c.Do(context.Background(), command...).Result()
		if text := fmt.Sprint(got); err == nil && wants && text != is && !strings.Contains(text, is) {
			err = fmt.Errorf("%v: %s, want %s", args, text, is)
		}
		return err
	}
	if wants {
		return until(ask)
	}
	return ask()
}

// psqlFile FILE [NAME=VALUE]… runs a script by psql on main, as the superuser.
func psqlFile(ts *testscript.TestScript, h *harness, args []string) error {
	u, err := h.url(nil)
	if err != nil {
		return err
	}
	cmd := []string{"--no-psqlrc", "--quiet", "-d", u, "-f", args[0]}
	for _, v := range slices.Sorted(slices.Values(args[1:])) {
		cmd = append(cmd, "-v", v)
	}
	return ts.Exec(servertest.Client("psql"), cmd...)
}

// close undoes what was made, the last first, after the engine has stopped.
func (h *harness) close() error {
	err := h.stop()
	for _, name := range slices.Sorted(maps.Keys(h.sessions)) {
		_ = h.sessions[name].Close(context.Background()) // its server may be gone
	}
	h.set.Close()
	for _, undo := range slices.Backward(h.cleanup) {
		err = errors.Join(err, undo())
	}
	return err
}
