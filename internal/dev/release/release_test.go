// Package release_test tests what is released as who installs it has it: archives, packages and the
// image are built from this tree, installed, upgraded, run and removed.
package release_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	root    = "../../.."
	version = "v9.8.7-rc.1"
	debian  = "9.8.7~rc.1"
	commit  = "0123456789abcdef0123456789abcdef01234567"
	epoch   = "1767225600"
)

//nolint:gochecknoglobals // flags of the test
var (
	allArchs = flag.Bool("archs.all", false, "build for every architecture, the second time without Go's cache")
	already  = flag.String("dist", "", "folder in which these tests have built, while one works on them")
)

// archs are the architectures that are built for.
func archs() []string {
	if *allArchs {
		return []string{"amd64", "arm64"}
	}
	return []string{runtime.GOARCH}
}

// build builds what is released from a tree into a folder.
func build(tree, out string, env ...string) error {
	cmd := exec.Command(filepath.Join(tree, "tools", "release", "release.sh"), out)
	cmd.Env = append(append(os.Environ(), "VERSION="+version, "COMMIT="+commit, "SOURCE_DATE_EPOCH="+epoch,
		"ARCHS="+strings.Join(archs(), " ")), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("release.sh: %w\n%s", err, text)
	}
	return nil
}

// released builds what is released, once for all tests of the package.
//
//nolint:gochecknoglobals // once for all tests
var (
	folder   string
	released = sync.OnceValue(func() error { return build(root, folder) })
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := 2
	dir, err := os.MkdirTemp("", "upkeep-release-")
	if folder = dir; err == nil {
		if *already != "" {
			folder, released = *already, func() error { return nil }
		}
		code = m.Run()
		_ = os.RemoveAll(dir) // of these tests alone
	}
	os.Exit(code)
}

// dist is the folder of what is released.
func dist(t *testing.T) string {
	t.Helper()
	if err := released(); err != nil {
		t.Fatal(err)
	}
	return folder
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// run runs a program and returns what it wrote.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is missing: make test installs it", name)
	}
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// The folder has an archive, a package, a program and a bill of materials for each architecture, and
// the checksums of all of them and of nothing else.
func TestChecksums(t *testing.T) {
	t.Parallel()
	dir := dist(t)
	var want []string
	for _, arch := range archs() {
		want = append(want, "upkeep-9.8.7-rc.1-linux-"+arch+".cdx.json", "upkeep-9.8.7-rc.1-linux-"+arch+".tar.gz",
			"upkeep-linux-"+arch, "upkeep_"+debian+"-1_"+arch+".deb")
	}
	slices.Sort(want)
	var has []string
	for line := range strings.Lines(string(read(t, dir, "SHA256SUMS"))) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		has = append(has, name)
		if got := fmt.Sprintf("%x", sha256.Sum256(read(t, dir, name))); got != sum {
			t.Errorf("%s has the checksum %s, not %s", name, got, sum)
		}
	}
	slices.Sort(has)
	if !slices.Equal(has, want) {
		t.Errorf("the checksums are of %q, want %q", has, want)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want)+1 {
		t.Errorf("%v: %v", entries, err)
	}
}

// Another tree, in another folder and of another age, makes the same bytes.
func TestReproducible(t *testing.T) {
	t.Parallel()
	dir, tree, again := dist(t), filepath.Join(t.TempDir(), "another folder"), t.TempDir()
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	files := strings.Fields("go.mod go.sum README.md LICENSE CHANGELOG.md SECURITY.md upkeep.example.yaml docs tools cmd " +
		"internal collectors alerts remediate dashboards")
	for _, name := range files { // not the build folders, nor what git knows
		run(t, "cp", "-r", filepath.Join(root, name), tree)
	}
	env := []string{"TZ=Asia/Tokyo", "LANG=de_DE.UTF-8", "GOFLAGS=", "GOAMD64=v3"}
	if *allArchs {
		env = append(env, "GOCACHE="+t.TempDir())
	}
	if err := build(tree, again, env...); err != nil {
		t.Fatal(err)
	}
	if a, b := string(read(t, dir, "SHA256SUMS")), string(read(t, again, "SHA256SUMS")); a != b {
		t.Errorf("this tree makes\n%sand another\n%s", a, b)
	}
}

// The program is static, stripped and of the version and commit, and says nothing of the folder
// in which it was built.
func TestProgram(t *testing.T) {
	t.Parallel()
	dir := dist(t)
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range archs() {
		path := filepath.Join(dir, "upkeep-linux-"+arch)
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
		if libraries, err := f.ImportedLibraries(); f.Machine != machine || err != nil || len(libraries) > 0 ||
			f.Section(".interp") != nil || f.Section(".symtab") != nil {
			t.Errorf("%s is for %s, needs %v (%v)", path, f.Machine, libraries, err)
		}
		_ = f.Close() // read only
		text := read(t, path)
		if bytes.Contains(text, []byte(here)) || bytes.Contains(text, []byte(dir)) {
			t.Errorf("%s names the folder in which it was built", path)
		}
	}
	said := run(t, filepath.Join(dir, "upkeep-linux-"+runtime.GOARCH), "version")
	if !strings.HasPrefix(said, "upkeep "+version+"\n") || !strings.HasSuffix(said, "\ncommit "+commit+"\n") {
		t.Errorf("it is %s", said)
	}
}

// A material is what a bill of materials says of a module.
type material struct {
	Type, Name, Version, Purl string
	Components                []material
}

// The bill of materials is CycloneDX and lists exactly the modules that Go notes in the program, and
// Go's own library.
func TestBill(t *testing.T) {
	t.Parallel()
	dir := dist(t)
	for _, arch := range archs() {
		var bill struct {
			BomFormat, SpecVersion string
			Metadata               struct {
				Component material
				Timestamp string
			}
			SerialNumber string
			Components   []material
		}
		text := read(t, dir, "upkeep-9.8.7-rc.1-linux-"+arch+".cdx.json")
		if err := json.Unmarshal(text, &bill); err != nil {
			t.Fatal(err)
		}
		if bill.BomFormat != "CycloneDX" || bill.SpecVersion != "1.6" || bill.Metadata.Component.Version != version ||
			!strings.HasSuffix(bill.Metadata.Component.Name, "/upkeep") || bill.Metadata.Timestamp+bill.SerialNumber != "" {
			t.Errorf("%.1000s", text)
		}
		info, err := buildinfo.ReadFile(filepath.Join(dir, "upkeep-linux-"+arch))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"std " + info.GoVersion}
		for _, m := range info.Deps {
			want = append(want, m.Path+" "+m.Version)
		}
		var has []string
		for _, m := range bill.Components {
			has = append(has, m.Name+" "+m.Version)
			if !strings.HasPrefix(m.Purl, "pkg:golang/") || m.Type != "library" {
				t.Errorf("%+v", m)
			}
		}
		slices.Sort(want)
		slices.Sort(has)
		if !slices.Equal(has, want) || len(want) < 50 {
			t.Errorf("the bill has %d modules, the program %d:\n%q\n%q", len(has), len(want), has, want)
		}
	}
}

// The archive has one folder, with the program and what goes with it, owned by root.
func TestArchive(t *testing.T) {
	t.Parallel()
	dir := dist(t)
	for _, arch := range archs() {
		name := "upkeep-9.8.7-rc.1-linux-" + arch
		unzipped, err := gzip.NewReader(bytes.NewReader(read(t, dir, name+".tar.gz")))
		if err != nil {
			t.Fatal(err)
		}
		if !unzipped.ModTime.IsZero() {
			t.Errorf("%s says when it was packed", name)
		}
		has := make(map[string]*tar.Header)
		for files := tar.NewReader(unzipped); ; {
			h, err := files.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			inside, ok := strings.CutPrefix(h.Name, name+"/")
			if !ok || h.Uid+h.Gid != 0 || h.Mode&0o022 != 0 || fmt.Sprint(h.ModTime.Unix()) != epoch {
				t.Errorf("%+v", h)
			}
			has[inside] = h
			if inside == "upkeep" {
				sum := sha256.New()
				if _, err := io.Copy(sum, files); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(sum.Sum(nil), hash(read(t, dir, "upkeep-linux-"+arch))) {
					t.Error("the program in the archive is another one")
				}
			}
		}
		for _, want := range []string{"upkeep", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "upkeep.1",
			"upkeep.example.yaml", "systemd/upkeep.service", "completion/upkeep.bash"} {
			if h := has[want]; h == nil || h.Size == 0 {
				t.Errorf("%s has no %s", name, want)
			}
		}
		if h := has["upkeep"]; h != nil && h.Mode&0o111 != 0o111 {
			t.Errorf("the program has the mode %o", h.Mode)
		}
	}
}

func hash(text []byte) []byte {
	sum := sha256.Sum256(text)
	return sum[:]
}
