package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

func passwordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "password USER",
		Short: "Hash a password for a web configuration file",
		Long: `Read a password from standard input and print the line of a web configuration file that lets
USER log in with it: of web.config_file, or of Prometheus' and Alertmanager's --web.config.file.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := readPassword(cmd.InOrStdin(), cmd.ErrOrStderr(), args[0])
			if err != nil {
				return err
			}
			hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
			if err != nil {
				return err // it is longer than bcrypt takes
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "basic_auth_users: {%q: %q}\n", args[0], hash)
			return err
		},
	}
}

// readPassword reads a line, which a terminal does not show.
func readPassword(in io.Reader, say io.Writer, user string) (string, error) {
	if file, ok := in.(*os.File); ok && terminal.Is(file) {
		fmt.Fprintf(say, "Password of %s: ", user)
		shown, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
		if err != nil {
			return "", err
		}
		hidden := *shown
		hidden.Lflag &^= unix.ECHO
		if err := unix.IoctlSetTermios(int(file.Fd()), unix.TCSETS, &hidden); err != nil {
			return "", err
		}
		defer func() {
			_ = unix.IoctlSetTermios(int(file.Fd()), unix.TCSETS, shown) // it worked a moment ago
			fmt.Fprintln(say)
		}()
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxToken)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", err
	case line == "":
		return "", usage.Errorf("no password on standard input")
	}
	return line, nil
}
