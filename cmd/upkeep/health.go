package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

func healthCommand() *cobra.Command {
	var address string
	var ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running upkeep whether it answers, without a login; for health checks",
		Long: `Ask /-/healthy, or with --ready /-/ready, of a running upkeep. The exit status is 0 where the answer is yes,
and 3 otherwise. No token is sent. At a loopback address the certificate is not verified.`,
		Example: "  upkeep health --ready",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base := strings.TrimSuffix(firstOf(address, os.Getenv("UPKEEP_URL"), defaultURL), "/")
			u, err := url.Parse(base)
			if err != nil || u.Host == "" {
				return usage.Errorf("--url %q: want something like %s", base, defaultURL)
			}
			path := "/-/healthy"
			if ready {
				path = "/-/ready"
			}
			status, err := web.Health(cmd.Context(), u, path)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%s%s answers %d %s", base, path, status, http.StatusText(status))
			}
			if err != nil {
				return fail(exitAway, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s%s answers 200 OK\n", base, path)
			return err
		},
	}
	cmd.Flags().StringVar(&address, "url", "", "URL of the running upkeep (default $UPKEEP_URL, else "+defaultURL+")")
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether it takes alerts, and not only whether it answers")
	return cmd
}
