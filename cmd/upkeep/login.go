package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/ai-micro-service/upkeep/internal/product/portal"
)

func loginCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Print a link that logs a browser in once",
		Long: `Print a link that logs a browser in once, within 10 minutes, with the identity and role of the
token that this command uses. The session lasts for 12 hours, or until you log out.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var link portal.LoginLink
			if err := c.do(cmd.Context(), http.MethodPost, "/logins", nil, &link); err != nil {
				return err
			}
			if c.json {
				return c.print(cmd, link)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\nvalid once, until %s\n", link.URL, link.Until)
			return err
		},
	}
	c.flags(cmd)
	return cmd
}
