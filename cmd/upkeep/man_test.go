package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// roff writes a text so that man(1) shows it as it is.
func roff(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "’", `\(cq`, "…", "...").Replace(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		b.WriteString(line)
	}
	return b.String()
}

// literal is a text whose lines stay as they are.
func literal(text string) string { return ".nf\n" + roff(strings.TrimSpace(text)) + "\n.fi\n" }

// manual is upkeep(1), written of the help of every command.
func manual(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(".\\\" Written of the help of every command; make generate writes it anew.\n.TH UPKEEP 1 \"\" upkeep \"User Commands\"\n" +
		".SH NAME\nupkeep \\- exporter, rules and remediator for PostgreSQL, Redis, Docker and hosts\n" +
		".SH SYNOPSIS\n.B upkeep\n.I command\n[\\fIargument\\fR ...] [\\fIflag\\fR ...]\n.SH DESCRIPTION\n")
	about, _, _ := strings.Cut(root.Long, "The exit status says")
	b.WriteString(literal(about))
	b.WriteString(".SH COMMANDS\n")
	var write func(c *cobra.Command)
	write = func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		if c.Runnable() {
			fmt.Fprintf(&b, ".SS %s\n%s.PP\n%s", roff(c.CommandPath()),
				literal(c.Short+"\n\n"+strings.TrimPrefix(c.Long, c.Short)), literal(c.UsageString()))
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" {
				write(sub)
			}
		}
	}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			write(c)
		}
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, s := range exits() {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", s.status, roff(s.meaning))
	}
	b.WriteString(`.SH ENVIRONMENT
.TP
.B UPKEEP_URL
URL of the running upkeep that the commands ask
.TP
.B UPKEEP_TOKEN
token of web.tokens that they log in with
.TP
.B UPKEEP_DATA_DIR
data_dir of the upkeep on this machine
.TP
.B NO_COLOR
write no colours to a terminal
.TP
.BR NOTIFY_SOCKET ", " WATCHDOG_USEC ", " WATCHDOG_PID
set by systemd for a service: upkeep serve notifies it that it is ready, alive, reloads and stops
.SH FILES
.TP
.I /etc/upkeep/upkeep.yaml
configuration
.TP
.I /var/lib/upkeep
data_dir of the service: the store with the journal, the metrics of the embedded Prometheus, admin\-token
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.BR systemd.service (5);
the pages of a running upkeep below /docs
`)
	return b.String()
}

// docs/upkeep.1 is what the commands say of themselves, and man(1) formats it without a warning.
func TestReferenceManual(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "upkeep.1")
	want := manual(command())
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/upkeep.1 is old; run make generate\n%s", diff)
	}
	man := exec.CommandContext(t.Context(), "groff", "-man", "-Tutf8", "-ww", "-b", file)
	var warnings strings.Builder
	man.Stderr = &warnings
	shown, err := man.Output()
	if err != nil || warnings.String() != "" {
		t.Errorf("groff (make test installs groff-base): %v\n%s", err, &warnings)
	}
	for _, want := range []string{"upkeep serve", "upkeep journal verify", "--config", "UPKEEP_TOKEN"} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
}
