package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// heldTimeout is how long each Alertmanager may take to return the status of an alert: a
	// run is waiting.
	heldTimeout = 5 * time.Second

	// own is who makes the silences that hold while a run works.
	own = "upkeep"

	// longestComment is how much of a silence's comment is repeated.
	longestComment = 200
)

// A Delivery tells whether Alertmanager would deliver an alert now.
type Delivery struct {
	Inbox        *Inbox
	Alertmanager Alertmanager

	routings sync.Map // text of a configuration → *routing
}

// Held returns why Alertmanager would not deliver the alert of an incident now: it is
// silenced, inhibited or muted; "" where nothing keeps it. A silence that a run of ours
// holds does not count. Where one of several peers holds the alert back it is held: the
// others have not heard of it yet. An error says that none of them can be asked.
func (d *Delivery) Held(ctx context.Context, id int64) (why string, err error) {
	incident, err := d.Inbox.Incident(ctx, id)
	if err != nil || incident.Alert.Source != d.Alertmanager.Source || !incident.Closed.IsZero() {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, heldTimeout, fmt.Errorf("no answer within %s", heldTimeout))
	defer cancel()
	am := d.Alertmanager
	whys, errs := make([]string, len(am.URLs)), make([]error, len(am.URLs))
	var peers sync.WaitGroup
	for n, peer := range am.URLs {
		peers.Go(func() {
			whys[n], errs[n] = d.ask(ctx, prom.Alertmanager{URL: peer, Client: am.Client}, incident.Alert)
		})
	}
	peers.Wait()
	answered := false
	for n := range am.URLs {
		if whys[n] != "" {
			return whys[n], nil
		}
		answered = answered || errs[n] == nil
	}
	if answered {
		return "", nil
	}
	return "", errors.Join(errs...)
}

// Quiet returns for which of some incidents a silence or a time interval of Alertmanager keeps
// notifications back now, and why. One that is not there is not kept back, as far as the first peer
// that answers knows. Silences of ours do not count. It asks twice, however many incidents there are, and not
// what inhibits an alert.
func (d *Delivery) Quiet(ctx context.Context, all []remediate.Incident) (map[int64]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quietTimeout, fmt.Errorf("no answer within %s", quietTimeout))
	defer cancel()
	var errs []error
	for _, peer := range d.Alertmanager.URLs {
		quiet, err := d.quiet(ctx, prom.Alertmanager{URL: peer, Client: d.Alertmanager.Client}, all)
		if err == nil {
			return quiet, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// quietTimeout is how long Alertmanager may take for it: a person waits for a page.
const quietTimeout = 2 * time.Second

func (d *Delivery) quiet(ctx context.Context, am prom.Alertmanager,
	all []remediate.Incident) (map[int64]string, error) {
	silences, err := am.Silences(ctx)
	if err != nil {
		return nil, err
	}
	text, err := am.Configuration(ctx)
	if err != nil {
		return nil, err
	}
	r, err := d.routing(text)
	if err != nil {
		r = nil // later versions of Alertmanager have what this one does not understand
	}
	quiet := make(map[int64]string)
	for _, e := range all {
		if e.Alert.Source != d.Alertmanager.Source {
			continue
		}
		why := silencedBy(silences, e.Alert.Labels)
		if why == "" && r != nil {
			if interval := r.mutes(e.Alert.Labels, d.receiver(e.Alert), d.Inbox.now()); interval != "" {
				why = "muted by " + interval
			}
		}
		if why != "" {
			quiet[e.ID] = why
		}
	}
	return quiet, nil
}

// A Silence is one of Alertmanager's. Run is the run of ours that it is held for; 0 where people made it.
type Silence struct {
	prom.Silence
	Run int64 `json:"run,omitempty"`
}

// Silences returns the silences that hold or begin later, as the first peer that answers has them: those that end
// first come first.
func (d *Delivery) Silences(ctx context.Context) ([]Silence, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quietTimeout, fmt.Errorf("no answer within %s", quietTimeout))
	defer cancel()
	var errs []error
	for _, peer := range d.Alertmanager.URLs {
		all, err := prom.Alertmanager{URL: peer, Client: d.Alertmanager.Client}.Silences(ctx)
		if err == nil {
			return d.Inbox.held(ctx, all)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// held says which silences are ours. Anyone can make one in the name of upkeep: the store knows those that are.
func (i *Inbox) held(ctx context.Context, all []prom.Silence) (held []Silence, err error) {
	rows, err := i.store.Query(ctx, "select id, run from silences")
	if err != nil {
		return nil, fmt.Errorf("silences of runs: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	runs := make(map[string]int64)
	for rows.Next() {
		var id string
		var run int64
		if err := rows.Scan(&id, &run); err != nil {
			return nil, err
		}
		runs[id] = run
	}
	for _, s := range all {
		if s.State != prom.SilenceExpired {
			held = append(held, Silence{s, runs[s.ID]})
		}
	}
	slices.SortFunc(held, func(a, b Silence) int { return cmp.Or(a.EndsAt.Compare(b.EndsAt), cmp.Compare(a.ID, b.ID)) })
	return held, rows.Err()
}

func silencedBy(all []prom.Silence, have map[string]string) string {
	for _, s := range all {
		if s.State == prom.SilenceActive && s.CreatedBy != own && matches(s.Matchers, have) {
			return silencedText(s)
		}
	}
	return ""
}

// ask asks one peer.
func (d *Delivery) ask(ctx context.Context, am prom.Alertmanager, a remediate.Alert) (string, error) {
	receiver := d.receiver(a)
	all, err := am.AlertStatuses(ctx, receiver, d.filter(a.Labels)...)
	if err != nil {
		return "", err
	}
	key := d.Inbox.key(a)
	why, known := "", false
	for _, s := range all {
		if d.Inbox.key(remediate.Alert{Source: a.Source, Labels: s.Labels}) != key {
			continue
		}
		known = true
		// Several are members of a highly available pair, or groups of several routes:
		// the alert is delivered where one of them is.
		if why, err = d.keeps(ctx, am, s); err != nil || why == "" {
			break
		}
	}
	if err == nil && !known {
		why, err = d.silenced(ctx, am, a.Labels)
	}
	if err != nil || why != "" {
		return why, err
	}
	return d.muted(ctx, am, a.Labels, receiver)
}

// silenced looks for a silence of an alert that a peer does not list. Alertmanager keeps
// silences over a restart, and no alerts.
func (d *Delivery) silenced(ctx context.Context, am prom.Alertmanager, have map[string]string) (string, error) {
	all, err := am.Silences(ctx)
	return silencedBy(all, have), err
}

// matches reports whether all matchers fit. One that cannot be read fits: who made the
// silence meant something by it.
func matches(all []prom.Matcher, have map[string]string) bool {
	for _, one := range all {
		kind := map[[2]bool]labels.MatchType{{true, false}: labels.MatchEqual, {false, false}: labels.MatchNotEqual,
			{true, true}: labels.MatchRegexp, {false, true}: labels.MatchNotRegexp}[[2]bool{one.IsEqual, one.IsRegex}]
		if m, err := labels.NewMatcher(kind, one.Name, one.Value); err == nil && !m.Matches(have[one.Name]) {
			return false
		}
	}
	return len(all) > 0
}

func silencedText(s prom.Silence) string {
	comment := s.Comment
	if len(comment) > longestComment {
		comment = strings.ToValidUTF8(comment[:longestComment], "") + "…"
	}
	return fmt.Sprintf("silenced by %s until %s: %s", s.CreatedBy, s.EndsAt.Format(time.RFC3339), comment)
}

// receiver returns the pattern of the receivers that count: the one that the
// configuration names, or else the one that the alert was delivered to.
func (d *Delivery) receiver(a remediate.Alert) string {
	if named := d.Alertmanager.pattern(); named != "" {
		return named
	}
	return a.Receiver
}

// filter returns matchers for those labels that every Alertmanager's parser reads alike;
// the others are compared here.
func (d *Delivery) filter(have map[string]string) (all []prom.Matcher) {
	for name, value := range have {
		plain := model.LegacyValidation.IsValidLabelName(name) && !strings.HasPrefix(name, "__") &&
			!d.Inbox.replica(name)
		if plain && value != "" && !strings.ContainsFunc(value,
			func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			all = append(all, prom.Equal(name, value))
		}
	}
	return all
}

// keeps returns what keeps an alert of a group from being delivered.
func (d *Delivery) keeps(ctx context.Context, am prom.Alertmanager, s prom.AlertStatus) (string, error) {
	for _, id := range s.SilencedBy {
		silence, err := am.Silence(ctx, id)
		switch {
		case prom.NotFound(err):
		case err != nil:
			return "", err
		case silence.State == prom.SilenceActive && silence.CreatedBy != own:
			return silencedText(silence), nil
		}
	}
	if len(s.InhibitedBy) > 0 {
		return "inhibited by another alert, " + strings.Join(s.InhibitedBy, ", "), nil
	}
	if len(s.MutedBy) > 0 {
		return "muted by the time interval " + strings.Join(s.MutedBy, ", "), nil
	}
	return "", nil
}

// muted asks the configuration of a peer what its time intervals mute. One that cannot
// be understood says nothing: later versions tell what is muted by themselves.
func (d *Delivery) muted(ctx context.Context, am prom.Alertmanager, have map[string]string,
	receiver string) (string, error) {
	text, err := am.Configuration(ctx)
	if err != nil {
		return "", err
	}
	r, err := d.routing(text)
	if err != nil {
		d.Alertmanager.Logger.Warn("cannot read what alertmanager mutes", "err", err)
		return "", nil
	}
	if by := r.mutes(have, receiver, d.Inbox.now()); by != "" {
		return "muted by " + by, nil
	}
	return "", nil
}

// routing parses a configuration, once for each text.
func (d *Delivery) routing(text string) (*routing, error) {
	if known, ok := d.routings.Load(text); ok {
		return known.(*routing), nil
	}
	r, err := parseRouting(text)
	if err != nil {
		return nil, err
	}
	d.routings.Clear() // of the configuration before
	d.routings.Store(text, r)
	return r, nil
}
