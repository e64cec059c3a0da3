package main

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

func forecastCommand() *cobra.Command {
	var c client
	var resource string
	var all bool
	cmd := &cobra.Command{
		Use:   "forecast",
		Short: "Show what grows, by how much a day, and when it reaches its limit",
		Long: `Show what grows, by how much a day, and when it reaches its limit.

The growth is the median of the weekly changes of four weeks. The first of the two times is at the pace of the
fastest weeks, the second at the median. Without a trend, or with less than seven days of data, no growth
and no time is shown. docs/promql.md has the queries.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := forecast.Known(resource); err != nil {
				return usage.Errorf("--%w", err)
			}
			var rows []forecast.Row
			if err := c.do(cmd.Context(), http.MethodGet, "/forecast?resource="+url.QueryEscape(resource), nil,
				&rows); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, rows)
			}
			return text.Forecast(cmd.OutOrStdout(), rows, all, time.Now())
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&resource, "resource", "", "only of one kind: "+
		strings.Join(forecast.Resources(), ", "))
	cmd.Flags().BoolVar(&all, "all", false, "also what does not grow and has no limit")
	return cmd
}
