package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
)

// printTime is how long Chromium may take.
const printTime = 2 * time.Minute

// maxPDF is above what a report of a quarter takes.
const maxPDF = 32 << 20

// browsers are the names of the program, as distributions have it.
func browsers() []string {
	return []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}
}

// PDF prints a report by Chromium, from the file at path, or from PATH where it is empty.
func PDF(ctx context.Context, path string, r Report) (pdf []byte, err error) {
	if path, err = browser(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "upkeep-report-")
	if err != nil {
		return nil, fmt.Errorf("print: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	page, out := filepath.Join(dir, "report.html"), filepath.Join(dir, "report.pdf")
	if err := writeHTML(page, r); err != nil {
		return nil, fmt.Errorf("print: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, printTime, fmt.Errorf("no PDF within %s", printTime))
	defer cancel()
	result, err := child.Run(ctx, child.Program{Path: path, Args: printing(dir, page, out), Dir: dir,
		Env: []string{"HOME=" + dir, "TMPDIR=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_CACHE_HOME=" + dir}})
	if err != nil {
		return nil, fmt.Errorf("print by %s: %w: %s", path, err, result.Complaint())
	}
	info, err := os.Stat(out)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s has written no PDF: %s", path, result.Complaint())
	case info.Size() > maxPDF:
		return nil, fmt.Errorf("%s has written a PDF of %d bytes, more than %d", path, info.Size(), maxPDF)
	}
	if pdf, err = os.ReadFile(out); err == nil && !bytes.HasSuffix(bytes.TrimSpace(pdf), []byte("%%EOF")) {
		return nil, fmt.Errorf("%s has written a PDF without its end, as on a full disk (%s): %s", path,
			filepath.Dir(dir), result.Complaint())
	}
	return pdf, err
}

// browser returns where Chromium is.
func browser(path string) (string, error) {
	if path != "" {
		if !filepath.IsAbs(path) {
			return "", fmt.Errorf("chromium %q: want an absolute path", path)
		}
		return path, nil
	}
	for _, name := range browsers() {
		found, err := child.Find(name)
		if err == nil {
			return found, nil
		}
	}
	return "", errors.New("a PDF needs Chromium, and it is not in PATH: install it (Debian: apt-get install " +
		"chromium), or " +
		"name the program with --chromium; --format html makes a file that any browser prints")
}

// printing are the arguments: no network, no profile but one that goes with the folder.
func printing(dir, page, out string) []string {
	args := []string{"--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage",
		"--host-resolver-rules=MAP * ~NOTFOUND", "--user-data-dir=" + filepath.Join(dir, "profile"),
		"--no-pdf-header-footer", "--print-to-pdf=" + out, "file://" + page}
	if os.Geteuid() == 0 { // Chromium refuses to work as root with its sandbox
		args = append([]string{"--no-sandbox"}, args...)
	}
	return args
}

func writeHTML(path string, r Report) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // in a folder of our own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return Page(f, r)
}
