package session

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Pin changes the environment of one of PostgreSQL's own programs so that it connects
// to the very address that a session is connected to: a name may be of several
// servers, or of another one a moment later.
func Pin(ctx context.Context, c *pgx.Conn, env []string) ([]string, error) {
	all := make(map[string]string)
	var order []string
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		all[name], order = value, append(order, name)
	}
	set := func(name, value string) {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
		all[name] = value
	}
	switch a := c.PgConn().Conn().RemoteAddr().(type) {
	case *net.UnixAddr:
		set("PGHOST", filepath.Dir(a.Name))
		set("PGPORT", strings.TrimPrefix(filepath.Ext(a.Name), "."))
	case *net.TCPAddr:
		// The name stays, since a certificate is of it.
		set("PGHOST", nameOf(ctx, all["PGHOST"], all["PGPORT"], a))
		set("PGHOSTADDR", a.IP.String())
		set("PGPORT", strconv.Itoa(a.Port))
	default:
		return nil, fmt.Errorf("a connection by %s: PostgreSQL's own programs cannot connect the same way", a.Network())
	}
	pinned := make([]string, len(order))
	for i, name := range order {
		pinned[i] = name + "=" + all[name]
	}
	return pinned, nil
}

// nameOf returns which of several hosts has an address.
func nameOf(ctx context.Context, hosts, ports string, a *net.TCPAddr) string {
	if !strings.Contains(hosts, ",") {
		return hosts
	}
	port := strings.Split(ports, ",")
	for i, host := range strings.Split(hosts, ",") {
		if i < len(port) && port[i] != strconv.Itoa(a.Port) {
			continue
		}
		found, _ := net.DefaultResolver.LookupIPAddr(ctx, host) // an unknown name does not match
		if slices.ContainsFunc(found, func(ip net.IPAddr) bool { return ip.IP.Equal(a.IP) }) {
			return host
		}
	}
	return a.IP.String()
}
