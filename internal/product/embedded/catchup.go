package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	// atOnce is how much of the past is read at once, and mostAtOnce how many samples are
	// sent at once.
	atOnce     = 2 * time.Minute
	mostAtOnce = 2000

	// handOver is how near to now a queue takes over.
	handOver = 300 * time.Millisecond

	retryFirst, retryLast = 100 * time.Millisecond, 5 * time.Second
)

// begin sends what a process before has left, and then starts the queue.
func (w *writer) begin(ctx context.Context, r *promconfig.RemoteWriteConfig) {
	log := w.log.With("remote", id(r))
	from, known := w.marks.get(id(r))
	if !known {
		w.marks.set(id(r), time.Now().UnixMilli())
		if err := w.start(r); err != nil {
			log.Error("remote_write does not start", "err", hush(err))
		}
		return
	}
	client, err := writeClient(r)
	if err != nil {
		log.Error("remote_write does not start", "err", hush(err))
		return
	}
	c := &catchUp{writer: w, config: r, client: client, sent: make(map[uint64]int64), slack: w.slack().Milliseconds()}
	from -= c.slack
	for {
		to := min(time.Now().UnixMilli(), from+atOnce.Milliseconds())
		if err := c.send(ctx, from, to); err != nil {
			return // it is over, or another configuration is used
		}
		if from = to; time.Now().UnixMilli()-from < handOver.Milliseconds() {
			break // to send took no longer than that: little has come meanwhile
		}
		w.marks.set(id(r), from-c.slack)
	}
	if err := w.start(r); err != nil {
		log.Error("remote_write does not start", "err", hush(err))
		return
	}
	c.rest(ctx, from)
	log.Info("remote_write has sent the remaining samples", "samples", c.samples, "refused", c.refused)
}

// writeClient makes what sends to one remote storage.
func writeClient(r *promconfig.RemoteWriteConfig) (remote.WriteClient, error) {
	return remote.NewWriteClient("upkeep-"+id(r), &remote.ClientConfig{
		URL: r.URL, WriteProtoMsg: remoteapi.WriteV1MessageType, Timeout: r.RemoteTimeout,
		HTTPClientConfig: r.HTTPClientConfig, SigV4Config: r.SigV4Config,
		AzureADConfig: r.AzureADConfig, GoogleIAMConfig: r.GoogleIAMConfig, Headers: r.Headers,
		RoundRobinDNS: r.RoundRobinDNS, RetryOnRateLimit: true,
	})
}

// A catchUp sends what the storage has to one remote storage.
type catchUp struct {
	*writer
	config           *promconfig.RemoteWriteConfig
	client           remote.WriteClient
	sent             map[uint64]int64 // up to when, by series
	slack            int64
	samples, refused int
}

// rest sends what was stored between the last look and the start of the queue, and what
// was stored later with an earlier time. What the queue has sent too is refused or
// changes nothing.
func (c *catchUp) rest(ctx context.Context, from int64) {
	started := time.Now().Add(handOver).UnixMilli()
	for _, wait := range []time.Duration{0, handOver, time.Second, 10 * time.Second} {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := c.send(ctx, from-c.slack, started); err != nil {
			return
		}
	}
}

// send sends the samples of a time that were not sent, the oldest first.
func (c *catchUp) send(ctx context.Context, from, to int64) error {
	all, err := c.read(ctx, from, to)
	if err != nil {
		c.log.Error("samples for remote_write are not read", "err", err)
		return ctx.Err()
	}
	var batch []prompb.TimeSeries
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if len(batch)+len(all[at]) > mostAtOnce && len(batch) > 0 {
			if err := c.deliver(ctx, batch); err != nil {
				return err
			}
			batch = nil
		}
		batch = append(batch, all[at]...)
	}
	return c.deliver(ctx, batch)
}

// read returns what is stored between two moments and was not sent, by its time.
func (c *catchUp) read(ctx context.Context, from, to int64) (all map[int64][]prompb.TimeSeries, err error) {
	all = make(map[int64][]prompb.TimeSeries)
	q, err := c.db.Querier(from, to)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	found := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, ""))
	var it chunkenc.Iterator
	for found.Next() {
		series := found.At()
		hash := series.Labels().Hash()
		names, keep := c.relabelled(series.Labels())
		if !keep {
			continue
		}
		it = series.Iterator(it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind != chunkenc.ValFloat && !c.config.SendNativeHistograms {
				continue
			}
			one, at := sample(it, kind)
			if at <= c.sent[hash] || at < from || at > to {
				continue
			}
			one.Labels = names
			c.sent[hash] = at
			all[at] = append(all[at], one)
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	return all, found.Err()
}

// relabelled returns the labels as they are written, and whether the series is.
func (c *catchUp) relabelled(l labels.Labels) ([]prompb.Label, bool) {
	b := labels.NewBuilder(l)
	keep := relabel.ProcessBuilder(b, c.config.WriteRelabelConfigs...)
	l = b.Labels()
	return prompb.FromLabels(l, nil), keep && !l.IsEmpty()
}

func sample(it chunkenc.Iterator, kind chunkenc.ValueType) (one prompb.TimeSeries, at int64) {
	switch kind {
	case chunkenc.ValHistogram:
		t, h := it.AtHistogram(nil)
		one.Histograms, at = []prompb.Histogram{prompb.FromIntHistogram(t, h)}, t
	case chunkenc.ValFloatHistogram:
		t, h := it.AtFloatHistogram(nil)
		one.Histograms, at = []prompb.Histogram{prompb.FromFloatHistogram(t, h)}, t
	case chunkenc.ValFloat:
		t, v := it.At()
		one.Samples, at = []prompb.Sample{{Timestamp: t, Value: v}}, t
	default:
		at = math.MinInt64 // a kind that is not known here
	}
	return one, at
}

// deliver sends samples until they have arrived. Where the other side refuses some, they
// may be there already, and then it refuses all: they are sent in halves, down to those
// that it does not take. An answer that is not about the samples, as to a wrong password
// or path, is waited out: somebody sets it right, and nothing is lost meanwhile.
func (c *catchUp) deliver(ctx context.Context, batch []prompb.TimeSeries) error {
	if len(batch) == 0 {
		return ctx.Err()
	}
	request := prompb.WriteRequest{Timeseries: batch}
	text, err := request.Marshal()
	if err == nil {
		text, err = compression.Encode(compression.Snappy, text, nil)
	}
	if err != nil {
		return err
	}
	for pause, try := retryFirst, 0; ; pause, try = min(2*pause, retryLast), try+1 {
		_, err := c.client.Store(ctx, text, try)
		switch status := refusal(err); {
		case err == nil:
			c.samples += len(batch)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case status == http.StatusUnsupportedMediaType, slices.Contains(ofSamples(), status) && len(batch) == 1:
			c.refused += len(batch)
			return nil
		case slices.Contains(ofSamples(), status):
			half := len(batch) / 2
			if err := c.deliver(ctx, batch[:half]); err != nil {
				return err
			}
			return c.deliver(ctx, batch[half:])
		case try == 0:
			c.log.Warn("remote_write cannot send the remaining samples; retrying", "err", hush(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// ofSamples are the answers that say that samples are not taken.
func ofSamples() []int {
	return []int{http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge,
		http.StatusUnprocessableEntity}
}

// refusal returns the status of an answer that is final, or 0: the
// client tells it in words alone.
func refusal(err error) int {
	var again remote.RecoverableError
	if err == nil || errors.As(err, &again) {
		return 0
	}
	m := regexp.MustCompile(`^server returned HTTP status (\d{3})`).FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	status, _ := strconv.Atoi(m[1]) // digits
	return status
}

// connectable reports whether what scrapes and writes by a configuration can be made: a
// certificate that cannot be read is found before anything is changed.
func connectable(c *promconfig.Config) error {
	scrapes, err := c.GetScrapeConfigs()
	if err != nil {
		return fmt.Errorf("scrape_configs: %w", hush(err))
	}
	for _, s := range scrapes {
		if _, err := config.NewClientFromConfig(s.HTTPClientConfig, s.JobName); err != nil {
			return fmt.Errorf("scrape_configs: job_name %q: %w", s.JobName, hush(err))
		}
	}
	for n, r := range c.RemoteWriteConfigs {
		if _, err := writeClient(r); err != nil {
			return fmt.Errorf("remote_write: entry %d: %w", n+1, hush(err))
		}
	}
	return nil
}
