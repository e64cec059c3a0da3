package config

import (
	"errors"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// query checks that a schedule's query is PromQL that gives series.
func (d *decoder) query(n *yaml.Node, who, text string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	var faults parser.ParseErrors
	switch {
	case errors.As(err, &faults) && len(faults) > 0:
		at := *n
		at.Line = lineIn(n, int(faults[0].PositionRange.Start))
		d.fault(&at, "%s: the query does not parse: %s; PromQL was expected, as upkeep's /api/v1/query takes it", who,
			strings.Join(strings.Fields(faults[0].Err.Error()), " "))
	case err != nil:
		d.fault(n, "%s: the query does not parse: %v; PromQL was expected", who, err)
	case expr.Type() != parser.ValueTypeVector && expr.Type() != parser.ValueTypeScalar:
		d.fault(n, "%s: the query gives a %s; an instant vector was expected, like rate(x[5m]) instead of x[5m]", who,
			parser.DocumentedType(expr.Type()))
	}
}
