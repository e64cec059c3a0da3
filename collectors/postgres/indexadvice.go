package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// IndexAdvice reports how old the list of index advice is.
func IndexAdvice(t *target.Postgres) collectors.Collector {
	c := indexAdvice{target: t, age: gauge("index_advice_age_seconds",
		"Age of the list of index advice of the server; absent if no list exists.")}
	return collectors.Collector{
		Name:   "postgres/indexadvice",
		Target: t.Name,
		Doc: `IndexAdvice reports how old the list of index advice of a server is.

Looks at the file in the folder "advice" of data_dir, of the upkeep that answers; the
action postgres/advise_indexes writes it. Rights: none on the server. Cost: one look at a file.
A server whose list was never written has no age.`,
		Metrics: []*collectors.Metric{c.age},
		Every:   time.Minute,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type indexAdvice struct {
	target *target.Postgres
	age    *collectors.Metric
}

func (c indexAdvice) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	age, there, err := ReadIndexAdvice(c.target)
	if err == nil && there {
		w.Set(c.age, age.Seconds(), c.target.Name)
	}
	return err
}

// AdviceFile is where the list of index advice of a server is; "" where upkeep has
// no folder for it. The name of the server cannot lead out of the folder.
func AdviceFile(t *target.Postgres) string {
	if t.Advice == "" {
		return ""
	}
	return filepath.Join(t.Advice, "indexes-"+url.PathEscape(t.Name)+".md")
}

// ReadIndexAdvice returns how old the list of a server is, if there is one.
func ReadIndexAdvice(t *target.Postgres) (age time.Duration, there bool, err error) {
	file := AdviceFile(t)
	if file == "" {
		return 0, false, nil
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("the list of index advice: %w", err)
	}
	return max(time.Since(info.ModTime()), 0), true, nil
}
