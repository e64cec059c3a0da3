package redis

import (
	"context"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Clients reports how many clients there are and what they do to the server.
func Clients(t *target.Redis) collectors.Collector {
	c := clients{
		target: t,
		ratio: gauge("clients_used_ratio",
			"Used share of maxclients; absent before Redis 7.0, which does not report the limit."),
		fields: []field{
			{"connected_clients", gauge("clients", "Number of connected clients, without replicas.")},
			{"blocked_clients", gauge("clients_blocked", "Number of clients that wait in a blocking command.")},
			{"maxclients",
				gauge("clients_max", "Maximum number of connections (maxclients).").WithoutPanel(collectors.AdHoc)},
			{"client_recent_max_output_buffer", gauge("client_output_buffer_max_bytes",
				"The largest of the clients' output buffers.").WithoutPanel(collectors.AdHoc)},
			{"total_connections_received", counter("connections_total",
				"Connections that were accepted.").WithoutPanel(collectors.AdHoc)},
			{"rejected_connections", counter("connections_rejected_total",
				"Connections that were refused because maxclients was reached.")},
			{"total_commands_processed", counter("commands_total",
				"Commands that were processed.").WithoutPanel(collectors.AdHoc)},
			{"total_net_input_bytes", counter("network_received_bytes_total",
				"Bytes that clients sent.")},
			{"total_net_output_bytes", counter("network_sent_bytes_total",
				"Bytes that were sent to clients.")},
			{"total_error_replies", counter("error_replies_total",
				"Commands that were answered with an error.")},
		},
	}
	return collectors.Collector{
		Name:   "redis/clients",
		Target: t.Name,
		Doc: `Clients reports how many clients there are, how near that is to the limit, and what they ask.

Reads INFO clients and stats. Rights: +info. Cost: one INFO.
Our own connection is one of the clients.`,
		Metrics: declared(c.fields, c.ratio),
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type clients struct {
	target *target.Redis
	ratio  *collectors.Metric
	fields []field
}

func (c clients) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target, "clients", "stats")
	if err != nil {
		return err
	}
	i.write(w, c.target.Name, c.fields)
	n, _ := i.number("connected_clients")
	if limit, known := i.number("maxclients"); known && limit > 0 {
		w.Set(c.ratio, n/limit, c.target.Name)
	}
	return nil
}
