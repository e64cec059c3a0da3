package packages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/internal/platform/files"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// listMost is more than any service's list of packages has.
const listMost = 32 << 20

// runAudit audits the packages of a folder. What is in the folder may be written by somebody who
// has no business with us: the tool works in a folder of ours on a list that we wrote, so
// that it finds no configuration, no script and no place to fetch from there.
func runAudit(ctx context.Context, t *target.Packages, folder fs.FileInfo) ([]byte, error) {
	name, prepare := "npm", stageNPM
	switch t.Kind {
	case "npm":
	case "pip":
		name, prepare = "pip-audit", stagePip
	default:
		how := map[string]string{"trivy": "trivy --format json --output", "grype": "grype --output json --file",
			"osv": "osv-scanner --all-packages --format json --output"}[t.Kind]
		return nil, fmt.Errorf("%s is a folder; a report was expected, as %s FILE writes it", t.Path, how)
	}
	program, err := child.Find(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed here; name a report that it has written instead of the folder",
			name)
	}
	stage, err := os.MkdirTemp("", "upkeep-audit-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(stage) }() // in the folder of temporary files
	service, err := os.OpenRoot(t.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = service.Close() }() // read only
	args, err := prepare(t, service, stage)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Path, err)
	}
	user, err := handOver(stage, folder)
	if err != nil {
		return nil, err
	}
	r, err := child.Run(ctx, child.Program{Path: program, Args: args, Dir: stage, User: user,
		Env: []string{"HOME=" + stage, "TMPDIR=" + stage}})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// Both end with an error where they have found something.
	if err != nil && !json.Valid(r.Out) {
		return nil, fmt.Errorf("%s: %w: %s", name, err, r.Complaint())
	}
	return r.Out, nil
}

// handOver gives the stage to the owner of the service's folder where we run as root, since
// then the tool runs as that user.
func handOver(stage string, folder fs.FileInfo) (*child.User, error) {
	owner, ok := folder.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || owner.Uid == 0 {
		return nil, nil
	}
	err := filepath.WalkDir(stage, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(owner.Uid), int(owner.Gid))) //nolint:gosec // the stage is ours alone until then
	})
	return &child.User{UID: owner.Uid, GID: owner.Gid}, err
}

// stagePip writes the requirements that are names and versions.
func stagePip(_ *target.Packages, service *os.Root, stage string) ([]string, error) {
	const name = "requirements.txt"
	text, err := files.ReadIn(service, name, listMost)
	if err != nil {
		return nil, err
	}
	pinned, err := requirements(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	list := filepath.Join(stage, name)
	// Without --no-deps and --disable-pip pip would be asked, which builds packages to see what they need.
	return []string{"--format=json", "--progress-spinner=off", "--no-deps", "--disable-pip", "--cache-dir=" + stage,
		"--requirement=" + list}, os.WriteFile(list, pinned, 0o600)
}

// stageNPM writes a lock file of names and versions, and the package.json that belongs to it.
func stageNPM(t *target.Packages, service *os.Root, stage string) ([]string, error) {
	text, err := files.ReadIn(service, "npm-shrinkwrap.json", listMost)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = files.ReadIn(service, "package-lock.json", listMost)
	}
	if err != nil {
		return nil, err
	}
	lock, root, err := locked(text)
	if err != nil {
		return nil, err
	}
	registry := t.Registry
	if registry == "" {
		registry = "https://registry.npmjs.org/"
	}
	args := []string{"audit", "--json", "--package-lock-only", "--ignore-scripts", "--git=/nonexistent",
		"--userconfig=" + filepath.Join(stage, "no-user"), "--globalconfig=" + filepath.Join(stage, "no-global"),
		"--cache=" + filepath.Join(stage, "cache"), "--registry=" + registry,
		"--no-update-notifier", "--workspaces=false"}
	return args, errors.Join(os.WriteFile(filepath.Join(stage, "package-lock.json"), lock, 0o600),
		os.WriteFile(filepath.Join(stage, "package.json"), root, 0o600))
}
