package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/remediate"
)

// AlertLimits bound how many alerts Alertmanager's API takes, as incidents are bounded.
type AlertLimits struct {
	All, PerName int // live ones, the rules' own among them; 0: no limit

	// Refused notes that alerts found no room; may be nil.
	Refused func(ctx context.Context, names []string, why string) error
}

// census counts the alerts that Alertmanager has, by their names.
type census struct {
	mu     sync.Mutex
	all    int
	byName map[string]int
}

// PreStore lets each alert in: who sends it is answered before.
func (c *census) PreStore(*alert.Alert, bool) error { return nil }

// PostStore counts an alert that is new.
func (c *census) PostStore(a *alert.Alert, existing bool) {
	if existing {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	c.byName[a.Name()]++
}

// PostDelete counts an alert no more.
func (c *census) PostDelete(a *alert.Alert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.byName[a.Name()]--; c.byName[a.Name()] <= 0 {
		delete(c.byName, a.Name())
	}
}

// PostGC is called after all of them.
func (c *census) PostGC(model.Fingerprints) {}

// posted is what upkeep reads of an alert that the API is sent.
type posted struct {
	Labels, Annotations map[string]string
	GeneratorURL        string
}

func (p posted) labels() model.LabelSet {
	set := make(model.LabelSet, len(p.Labels))
	for name, value := range p.Labels {
		if value != "" { // an empty label is the same as no label
			set[model.LabelName(name)] = model.LabelValue(value)
		}
	}
	return set
}

// bounded has the API take no alert that is larger than those of the webhooks, and none beyond the limits:
// the others of a request are taken, and the answer is 503. A body is decoded here and by the API again,
// since the library takes alerts as a request only: what it does between its decoding and the
// store is not exported.
func (a *alertmanager) bounded(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/alerts") {
			api.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			answerText(w, http.StatusBadRequest, "body: "+err.Error())
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var all []posted
		if json.Unmarshal(body, &all) != nil {
			api.ServeHTTP(w, r) // it says what is wrong
			return
		}
		if err := frugalAlerts(all); err != nil {
			answerText(w, http.StatusBadRequest, err.Error())
			return
		}
		a.posting.Lock() // so that no two requests find the same room
		defer a.posting.Unlock()
		names, why, left := a.room(all)
		if len(names) == 0 {
			api.ServeHTTP(w, r)
			return
		}
		part(r, api, body, left)
		text := fmt.Sprintf("%d of %d alerts found no room: %s; send them again later", len(names), len(all), why)
		if err := a.refused(r.Context(), names, why); err != nil {
			a.log.Error("a flood of alerts could not be noted", "err", err)
		}
		w.Header().Set("Retry-After", "60")
		answerText(w, http.StatusServiceUnavailable, text)
	})
}

func (a *alertmanager) refused(ctx context.Context, names []string, why string) error {
	if a.config.Limits.Refused == nil {
		return nil
	}
	return a.config.Limits.Refused(ctx, names, why)
}

// part has the API take some of the alerts of a request. What it says of them is in its log: the answer is
// about the others.
func part(r *http.Request, api http.Handler, body []byte, taken []int) {
	var all, some []json.RawMessage
	if len(taken) == 0 || json.Unmarshal(body, &all) != nil {
		return
	}
	for _, i := range taken {
		some = append(some, all[i])
	}
	text, err := json.Marshal(some)
	if err != nil {
		return // they were decoded
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	api.ServeHTTP(&heldResponse{header: make(http.Header)}, r)
}

// room returns the names of the alerts that find none and why, and which of the alerts are left.
func (a *alertmanager) room(all []posted) (refused []string, why string, left []int) {
	limits := a.config.Limits
	a.census.mu.Lock()
	total, byName := a.census.all, maps.Clone(a.census.byName)
	a.census.mu.Unlock()
	fresh := make(map[model.Fingerprint]bool)
	for i, p := range all {
		set := p.labels()
		name, print := p.Labels[model.AlertNameLabel], set.Fingerprint()
		if _, err := a.alerts.Get(print); err == nil || fresh[print] {
			left = append(left, i)
			continue
		}
		switch {
		case limits.PerName > 0 && byName[name] >= limits.PerName:
			why = fmt.Sprintf("%d alerts of one name are live (engine.max_incidents_per_alert)", limits.PerName)
		case limits.All > 0 && total >= limits.All:
			why = fmt.Sprintf("%d alerts are live (engine.max_incidents)", limits.All)
		default:
			fresh[print] = true
			total++
			byName[name]++
			left = append(left, i)
			continue
		}
		refused = append(refused, name)
	}
	return refused, why, left
}

func answerText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(text) // the client may have hung up
}

// frugalAlerts refuses alerts that are larger than those that the webhooks take.
func frugalAlerts(all []posted) error {
	for i, a := range all {
		kept, err := remediate.Alert{Labels: a.Labels, Annotations: a.Annotations}.Bounded()
		switch {
		case len(a.GeneratorURL) > maxGenerator:
			return fmt.Errorf("alert %d: its generatorURL has %d bytes, %d are allowed", i, len(a.GeneratorURL),
				maxGenerator)
		case err != nil:
			return fmt.Errorf("alert %d: %w", i, err)
		case !maps.Equal(kept.Annotations, a.Annotations):
			return fmt.Errorf("alert %d: its annotations are more or longer than upkeep keeps", i)
		}
	}
	return nil
}
