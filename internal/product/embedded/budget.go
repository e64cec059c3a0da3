package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/strutil"
)

// A Budget is what the queries of a role may use.
type Budget int

// The budgets.
const (
	// ViewBudget is enough for a dashboard: 30 days of 1,000 points of 700 series, or of one in each
	// half minute. A sample takes
	// 16 bytes, its text twice that, and what is collected later as much again.
	ViewBudget Budget = iota

	// OperateBudget is for who could do more harm in other ways.
	OperateBudget

	budgets
)

// QueryTimeout is the longest that any query may take.
const QueryTimeout = 2 * time.Minute

// limits are the amounts of a budget.
type limits struct {
	samples int
	steps   int64 // of a subquery
	timeout time.Duration
	atOnce  int
	waiting int // for their turn
}

func (b Budget) limits() limits {
	if b == ViewBudget {
		return limits{samples: 1_000_000, steps: 100_000, timeout: 20 * time.Second, atOnce: 2, waiting: 16}
	}
	return limits{samples: 5_000_000, steps: 1_000_000, timeout: time.Minute, atOnce: 2, waiting: 16}
}

// budgeted is the stock API within a budget.
type budgeted struct {
	limits
	api    http.Handler
	places chan struct{} // of those that are answered or wait
	turns  chan struct{}
}

// ServeHTTP answers a request when it is its turn. The turn lasts until the answer is written:
// its text takes more memory than the samples.
func (b *budgeted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	default:
		b.busy(w)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/v1/admin/") { // the library has it off, and answers 500
		answerError(w, http.StatusForbidden, "unavailable", "the admin API is off: upkeep keeps its own storage")
		return
	}
	if err := frugalText(r, "query", "match[]", "match_target"); err != nil {
		answerError(w, http.StatusBadRequest, "bad_data", err.Error())
		return
	}
	if b.steps < OperateBudget.limits().steps && strings.HasSuffix(r.URL.Path, "/read") {
		answerError(w, http.StatusForbidden, "bad_data", "remote read needs the role operate")
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), b.timeout,
		fmt.Errorf("the query took longer than %s", b.timeout))
	defer cancel()
	select {
	case b.turns <- struct{}{}:
		defer func() { <-b.turns }()
	case <-ctx.Done():
		b.busy(w)
		return
	}
	// Not every connection has a deadline.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(b.timeout + lastWrite))
	b.api.ServeHTTP(w, r.WithContext(ctx))
}

// lastWrite is how long a client may take to read an answer.
const lastWrite = 10 * time.Second

func (b *budgeted) busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	answerError(w, http.StatusServiceUnavailable, "unavailable", fmt.Sprintf("more than %d queries wait for their "+
		"turn, or one waited for longer than %s", b.waiting, b.timeout))
}

// answerError answers in the form of the stock API.
func answerError(w http.ResponseWriter, status int, kind, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": kind, // the client may have hung up
		"error": why})
}

// A frugal engine refuses queries whose subqueries have more steps than the budget allows: the
// library takes memory for each step before it counts the first sample.
type frugal struct {
	promql.QueryEngine
	steps int64
}

// NewInstantQuery implements promql.QueryEngine.
func (f frugal) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, text string,
	at time.Time) (promql.Query, error) {
	if err := f.check(text, 0); err != nil {
		return nil, err
	}
	return f.QueryEngine.NewInstantQuery(ctx, q, opts, text, at)
}

// NewRangeQuery implements promql.QueryEngine.
func (f frugal) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, text string,
	start, end time.Time, interval time.Duration) (promql.Query, error) {
	if err := f.check(text, end.Sub(start)); err != nil {
		return nil, err
	}
	return f.QueryEngine.NewRangeQuery(ctx, q, opts, text, start, end, interval)
}

// check refuses an expression that is evaluated over a time.
func (f frugal) check(text string, over time.Duration) error {
	expr, err := promqlParser().ParseExpr(text)
	if err != nil {
		return nil // the engine says so
	}
	if bytes, _ := added(expr); bytes > maxAdded {
		return fmt.Errorf("label_replace, label_join and count_values may add %d bytes to the labels of a series, "+
			"and the budget of your role allows %d: use fewer of them, fewer source labels or references, or "+
			"shorter texts", bytes, maxAdded)
	}
	return f.walk(expr, over)
}

// added returns how many bytes the functions of an expression may add to the labels of a series, and how long
// a label may become: a reference of label_replace repeats what it names, and so does each source label of
// label_join. What they write themselves counts too. No sample counts for any of it.
func added(n parser.Node) (bytes, longest int) {
	longest = usualLabel
	for child := range parser.ChildrenIter(n) {
		more, long := added(child)
		bytes, longest = bytes+more, max(longest, long)
	}
	size := 0
	switch n := n.(type) {
	case *parser.AggregateExpr:
		if n.Op == parser.COUNT_VALUES {
			size = len(literal(n.Param)) + usualLabel
		}
	case *parser.Call:
		text := func(i int) string {
			if i < len(n.Args) {
				return literal(n.Args[i])
			}
			return ""
		}
		switch n.Func.Name {
		case "label_replace":
			size = len(text(1)) + len(text(2)) + strings.Count(text(2), "$")*longest
		case "label_join":
			size = len(text(1)) + max(0, len(n.Args)-3)*(longest+len(text(2)))
		}
	}
	return bytes + size, max(longest, size)
}

func literal(e parser.Expr) string {
	if t, ok := e.(*parser.StringLiteral); ok {
		return t.Val
	}
	return ""
}

func (f frugal) walk(n parser.Node, over time.Duration) error {
	if sub, ok := n.(*parser.SubqueryExpr); ok {
		over += sub.Range
		step := sub.Step
		if step <= 0 {
			step = subqueryStep
		}
		if steps := int64(over / step); steps > f.steps {
			return fmt.Errorf("the subquery [%s:%s] has %d steps, and the budget of your role allows %d: choose a "+
				"longer step or a shorter range", model.Duration(sub.Range), model.Duration(step), steps, f.steps)
		}
	}
	for child := range parser.ChildrenIter(n) {
		if err := f.walk(child, over); err != nil {
			return err
		}
	}
	return nil
}

func noStep(int64) int64 { return subqueryStep.Milliseconds() }

// subqueryStep is the step of a subquery that names none, as Prometheus has it by default.
const subqueryStep = time.Minute

func promqlParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// What is asked takes memory before it is evaluated: the parser's stack for each parenthesis, some
// forty bytes for each instruction of a regular expression, whatever the budget says later. The
// longest query of a dashboard has half of the text, and a tenth of the others.
const (
	maxText         = 16 << 10
	maxTexts        = 64 << 10 // of all parameters of a request together
	maxTokens       = 5000
	maxNesting      = 100
	maxInstructions = 50_000 // of all regular expressions together

	maxGenerator = 4 << 10 // of an alert

	maxAdded   = 2 << 10 // bytes, to the labels of a series
	usualLabel = 64      // bytes
)

// frugalText refuses a request whose expressions or matchers are too large to be read.
func frugalText(r *http.Request, names ...string) error {
	_ = r.FormValue("") // reads the form as the handlers do; what is wrong with it they say
	length, instructions := 0, 0
	for _, name := range names {
		for _, text := range r.Form[name] {
			if length += len(text); len(text) > maxText || length > maxTexts {
				return fmt.Errorf("%s is longer than the budget of your role allows (%d bytes)", name, maxText)
			}
			n, err := weigh(text)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if instructions += n; instructions > maxInstructions {
				return fmt.Errorf("%s: the regular expressions are larger than the budget of your role allows: choose "+
					"smaller repeat counts, or shorter ones", name)
			}
		}
	}
	return nil
}

// weigh returns how large the regular expressions in an expression may be: each text of it may be
// one. It refuses an expression that is too deep.
func weigh(text string) (instructions int, err error) {
	depth, tokens, signs := 0, 0, 0
	lexer := parser.Lex(text)
	for {
		var item parser.Item
		lexer.NextItem(&item)
		if item.Typ == parser.EOF || item.Typ == parser.ERROR {
			return instructions, nil // the parser says what is wrong
		}
		tokens++
		switch item.Typ {
		case parser.LEFT_PAREN, parser.LEFT_BRACE, parser.LEFT_BRACKET:
			depth++
		case parser.RIGHT_PAREN, parser.RIGHT_BRACE, parser.RIGHT_BRACKET:
			depth--
		case parser.STRING:
			if plain, err := strutil.Unquote(item.Val); err == nil {
				instructions += weight(plain)
			}
		}
		if signs++; item.Typ != parser.SUB && item.Typ != parser.ADD {
			signs = 0
		}
		if depth > maxNesting || signs > maxNesting || tokens > maxTokens {
			return 0, fmt.Errorf("the expression is deeper or longer than the budget of your role allows (%d levels, "+
				"%d tokens)", maxNesting, maxTokens)
		}
	}
}

// weight is how many instructions a regular expression has, roughly; 0 where it does not parse.
func weight(text string) int {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0
	}
	return sizeOf(re)
}

func sizeOf(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/2
	for _, sub := range re.Sub {
		n += sizeOf(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min+1, re.Max, 1)
	}
	return n
}

// Frugal refuses requests to Alertmanager's API whose filters are too large to be read. The size of a body
// is bounded by its route.
func Frugal(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, length, instructions := r.URL.Query(), 0, 0
		for _, name := range []string{"filter", "receiver"} {
			for _, text := range q[name] {
				length, instructions = length+len(text), instructions+weight(text)
			}
		}
		if length > maxText || instructions > maxInstructions {
			answerText(w, http.StatusBadRequest, "the filters are larger than upkeep allows")
			return
		}
		api.ServeHTTP(w, r)
	})
}
