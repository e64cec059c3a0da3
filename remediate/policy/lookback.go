package policy

import (
	"math"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// LookBack returns how far an expression looks back: so long it may hold after its
// cause is gone. It adds up what is nested (a range within a subquery, a range and
// its offset) and takes the longest of what is side by side. Of an expression that
// Prometheus' parser does not take whole, what it has read counts.
func LookBack(expr string) time.Duration {
	read, _ := parser.NewParser(parser.Options{EnableExperimentalFunctions: true, EnableBinopFillModifiers: true,
		EnableUnquotedUTF8Names: true}).ParseExpr(expr)
	if read == nil {
		return 0
	}
	return lookBack(read)
}

func lookBack(node parser.Node) (d time.Duration) {
	switch n := node.(type) {
	case nil, *parser.DurationExpr:
	case *parser.VectorSelector:
		d = max(n.OriginalOffset, 0) // an offset with a minus looks ahead
	case *parser.MatrixSelector:
		d = sum(n.Range, lookBack(n.VectorSelector))
	case *parser.SubqueryExpr:
		d = sum(sum(n.Range, max(n.OriginalOffset, 0)), lookBack(n.Expr))
	default:
		for child := range parser.ChildrenIter(n) {
			if child != nil {
				d = max(d, lookBack(child))
			}
		}
	}
	return d
}

// sum adds two lengths and stops at the maximum duration.
func sum(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
