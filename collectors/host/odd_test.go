package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// Who is asked for the truth, all three with a question of a column or an option and a mount point.
const (
	df      = "df"
	stat    = "stat"
	findmnt = "findmnt"
	hand    = collectortest.Hand
	absent  = collectortest.Absent
)

// odd is a mount point with every sign that the kernel writes as a number, and some that it does not.
const odd = "a\tb\nc\\040d#é😀\""

// oddMounts is what people have mounted, by what oddlyMounted makes of it. The series are without the device, the type
// and the folder of the test.
func oddMounts() []collectortest.Oddity {
	row := func(name, metric, point, source, question string) collectortest.Oddity {
		label := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(point)
		return collectortest.Row(name, fmt.Sprintf("%s{mountpoint=\"%s\"}", metric, label), source, question, 1e-9)
	}
	figure := func(name, metric, point, column string) collectortest.Oddity {
		return row(name, metric, point, df, column+" "+point)
	}
	none := func(name, metric, point string) collectortest.Oddity { return row(name, metric, point, hand, absent) }
	unread := func(name, point, reason string) collectortest.Oddity {
		return collectortest.Row(name, fmt.Sprintf("unread{mountpoint=%q,reason=%q}", point, reason), hand, "1", 0)
	}
	return []collectortest.Oddity{
		figure("a mount point with a space", "size_bytes", "/my disk", "size"),
		row("it takes writes", "readonly", "/my disk", findmnt, "ro /my disk"),
		figure("a mount point with every odd sign", "size_bytes", "/"+odd, "size"),
		figure("what is used there", "used_bytes", "/"+odd, "used"),
		figure("and can be written", "available_bytes", "/"+odd, "avail"),
		row("by its blocks", "size_bytes", "/"+odd, stat, "%b*%S /"+odd),
		row("by its inodes", "inodes_used_ratio", "/"+odd, stat, "(%c-%d)/%c /"+odd),

		row("mounted read-only", "readonly", "/readonly", findmnt, "ro /readonly"),
		figure("it has figures all the same", "used_ratio", "/readonly", "ratio"),
		row("made read-only later", "readonly", "/remounted", findmnt, "ro /remounted"),
		row("bound onto itself read-only", "readonly", "/view", findmnt, "ro /view"),
		figure("how full that is", "used_ratio", "/view", "ratio"),
		row("seen by a shorter path that is read-only", "readonly", "/v", findmnt, "ro /v"),
		figure("it is one file system", "used_bytes", "/v", "used"),
		none("and exported once", "used_bytes", "/a longer path"),
		row("below it, read-only too", "readonly", "/v/below", findmnt, "ro /v/below"),
		figure("another file system", "size_bytes", "/v/below", "size"),
		none("that one once too", "size_bytes", "/a longer path/below"),
		figure("a folder of a file system, mounted at a shorter path", "size_bytes", "/part", "size"),
		none("the whole of it", "size_bytes", "/whole of it"),

		figure("two on one mount point: the upper one", "size_bytes", "/twice", "size"),
		figure("its inodes", "inodes_used_ratio", "/twice", "iratio"),
		none("a file system under another one in memory", "size_bytes", "/covered"),
		none("one below a folder that is covered", "size_bytes", "/above/deep"),
		none("a file system in memory", "size_bytes", "/memory"),
		none("nor is that one unread", "unread", "/memory"),
		none("an overlay", "size_bytes", "/overlay"),

		figure("full for users, with blocks for root", "used_ratio", "/full", "ratio"),
		collectortest.Row("which is all but some blocks", `used_ratio{mountpoint="/full"}`, hand, "1", 0.02),
		figure("blocks for root are not used", "used_bytes", "/full", "used"),
		figure("nor free for users", "available_bytes", "/full", "avail"),
		figure("without inodes", "inodes_used_ratio", "/no inodes", "iratio"),
		row("which is all of them", "inodes_used_ratio", "/no inodes", hand, "1"),
		figure("it has room", "available_bytes", "/no inodes", "avail"),

		unread("in a folder that is closed", "/closed/disk", forbidden),
		none("it has no size", "size_bytes", "/closed/disk"),
		unread("in user space, and hangs", "/hangs", hanging),
		none("that has no size", "size_bytes", "/hangs"),
		unread("in user space, and has ended", "/ended", failing),
		none("nor that", "readonly", "/ended"),
	}
}

// oddlyMounted mounts file systems in every odd way below the folder.
// Its last result ends what hangs: no thread of ours may wait for it when the user changes, which is done in all of them.
func oddlyMounted(t *testing.T, dir string) (with func(name, point string, options ...string), end func()) {
	t.Helper()
	on := func(point string) string {
		point = filepath.Join(dir, point)
		must(t, os.MkdirAll(point, 0o755))
		return point
	}
	made := func(name string, args ...string) string {
		image := filepath.Join(dir, name+".img")
		run(t, "truncate", "-s", "8M", image)
		run(t, append([]string{"mkfs.ext4", "-q", image}, args...)...)
		return image
	}
	mount := func(image, point string, options ...string) {
		run(t, "mount", "-n", "-o", strings.Join(append([]string{"loop"}, options...), ","), image, on(point))
	}
	with = func(name, point string, options ...string) { mount(made(name), point, options...) }
	bind := func(from, to string) { must(t, unix.Mount(on(from), on(to), "", unix.MS_BIND|unix.MS_REC, "")) }

	with("space", "my disk")
	with("odd", odd)
	with("readonly", "readonly", "ro")
	with("remounted", "remounted")
	run(t, "mount", "-n", "-o", "remount,ro", on("remounted"))
	with("view", "view")
	bind("view", "view")
	must(t, unix.Mount("", on("view"), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	with("long", "a longer path")
	with("below", "a longer path/below")
	bind("a longer path", "v")
	must(t, unix.MountSetattr(unix.AT_FDCWD, on("v"), unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
	with("whole", "whole of it")
	bind("whole of it/folder", "part")
	with("first", "twice")
	mount(made("second", "-N", "64"), "twice")
	with("lower", "covered")
	must(t, unix.Mount("tmpfs", on("covered"), "tmpfs", 0, "size=1m"))
	with("deep", "above/deep")
	must(t, unix.Mount("tmpfs", on("above"), "tmpfs", 0, "size=1m"))
	must(t, unix.Mount("tmpfs", on("memory"), "tmpfs", 0, "size=1m"))
	must(t, unix.Mount("overlay", on("overlay"), "overlay", 0,
		fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", on("memory/lower"), on("memory/upper"), on("memory/work"))))
	mount(made("full", "-m", "20"), "full")
	mount(made("no-inodes", "-N", "16"), "no inodes")
	with("closed", "closed/disk")
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0o700))
	for _, point := range []string{on("full"), on("no inodes")} {
		must(t, os.Chmod(point, 0o777))
	}
	as(t, 65534, func() {
		fill(t, on("full"), make([]byte, 1<<16))
		fill(t, on("no inodes"), nil)
	})
	for point, ends := range map[string]bool{"hangs": false, "ended": true} {
		device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0) // what is asked there no one reads
		must(t, err)
		must(t, unix.Mount("fuse", on(point), "fuse", unix.MS_NOSUID|unix.MS_NODEV,
			fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device)))
		if ends {
			must(t, unix.Close(device))
		} else {
			end = func() { must(t, unix.Close(device)) }
		}
	}
	return with, end
}

// as does something as another user, in all threads.
func as(t *testing.T, user int, do func()) {
	t.Helper()
	must(t, syscall.Setresuid(-1, user, -1))
	defer func() { must(t, syscall.Setresuid(-1, 0, -1)) }()
	do()
}

// fill makes files with a text until the file system has no more room for one.
func fill(t *testing.T, folder string, text []byte) {
	t.Helper()
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(folder, strconv.Itoa(i)), text, 0o600); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%s is never full", folder)
}

// oddlyRead compares what is exported with the table.
func oddlyRead(t *testing.T, dir string) {
	t.Helper()
	c := Filesystem(&target.Host{Name: "s", Root: "/"})
	text := ""
	servertest.Eventually(t, "what answers has answered", func() bool {
		// The first time what hangs is waited for, as long as a collection may take.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := collectors.NewWriter(c)
		if err := c.Collect(ctx, w); err != nil {
			t.Fatal(err)
		}
		text = string(w.Text())
		return strings.Count(text, `reason="`+hanging) == 1
	})
	text = regexp.MustCompile(`device="[^"]*",mountpoint="`+regexp.QuoteMeta(dir)).ReplaceAllString(text, `mountpoint="`)
	text = regexp.MustCompile(`,fstype="[^"]*"`).ReplaceAllString(text, "")
	if err := collectortest.Odd("upkeep_host_filesystem_", text, map[string]collectortest.Source{
		df: byDF(t, dir), stat: byStat(t, dir), findmnt: byFindmnt(t, dir)}, oddMounts()); err != nil {
		t.Error(err)
	}
}

func output(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output()
	if err != nil {
		return "", fmt.Errorf("%q: %w", args, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// byDF asks df for all mount points at once. The shares are those of its columns.
func byDF(t *testing.T, dir string) collectortest.Source {
	t.Helper()
	return func(questions []string) (answers []string, err error) {
		args := []string{"df", "--block-size=1", "--output=size,used,avail,itotal,iused"}
		for _, q := range questions {
			_, point, _ := strings.Cut(q, " ")
			args = append(args, dir+point)
		}
		out, err := output(t, args...)
		if err != nil {
			return nil, err
		}
		for i, line := range strings.Split(out, "\n")[1:] {
			var n [5]float64
			for j, field := range strings.Fields(line) {
				if n[j], err = strconv.ParseFloat(field, 64); err != nil {
					return nil, err
				}
			}
			column, _, _ := strings.Cut(questions[i], " ")
			answers = append(answers, fmt.Sprint(map[string]float64{"size": n[0], "used": n[1], "avail": n[2],
				"ratio": n[1] / (n[1] + n[2]), "iratio": n[4] / n[3]}[column]))
		}
		return answers, nil
	}
}

// byStat asks stat what the file system says of itself, and computes with it.
func byStat(t *testing.T, dir string) collectortest.Source {
	t.Helper()
	return func(questions []string) (answers []string, err error) {
		for _, q := range questions {
			format, point, _ := strings.Cut(q, " ")
			term, err := output(t, "stat", "--file-system", "--format="+format, dir+point)
			if err != nil {
				return nil, err
			}
			number, err := output(t, "awk", "BEGIN { printf \"%.17g\", "+term+" }")
			if err != nil {
				return nil, err
			}
			answers = append(answers, number)
		}
		return answers, nil
	}
}

// byFindmnt asks findmnt for the options of the file system, not of the mount.
func byFindmnt(t *testing.T, dir string) collectortest.Source {
	t.Helper()
	return func(questions []string) (answers []string, err error) {
		for _, q := range questions {
			option, point, _ := strings.Cut(q, " ")
			out, err := output(t, "findmnt", "--noheadings", "--output=FS-OPTIONS", "--mountpoint", dir+point)
			if err != nil {
				return nil, err
			}
			is := "0"
			lines := strings.Split(out, "\n")
			if slices.Contains(strings.Split(lines[len(lines)-1], ","), option) {
				is = "1"
			}
			answers = append(answers, is)
		}
		return answers, nil
	}
}
