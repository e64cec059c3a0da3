package embedded

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp/syntax"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"
)

// What is asked takes memory before it is evaluated: the parser's stack for each parenthesis, some
// forty bytes for each instruction of a regular expression, whatever the budget says later. The
// longest query of a dashboard has a tenth of each.
const (
	maxText         = 16 << 10
	maxTexts        = 64 << 10 // of all parameters of a request together
	maxTokens       = 5000
	maxNesting      = 100
	maxInstructions = 50_000 // of all regular expressions together
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
			return 0, fmt.Errorf("the expression is deeper or longer than the budget of your role allows (%d levels, %d "+
				"tokens)", maxNesting, maxTokens)
		}
	}
}

// weight is how many instructions a regular expression has, roughly; 0 where it is none.
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

// Frugal refuses requests to Alertmanager's API whose filters are too large to be read.
func Frugal(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, length, instructions := r.URL.Query(), 0, 0
		for _, name := range []string{"filter", "receiver"} {
			for _, text := range q[name] {
				length, instructions = length+len(text), instructions+weight(text)
			}
		}
		if length > maxText || instructions > maxInstructions {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode("the filters are larger than upkeep allows") // the client may have hung up
			return
		}
		api.ServeHTTP(w, r)
	})
}
