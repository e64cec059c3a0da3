// Package docker asks a Docker engine. Each file asks one question. The engine is
// only read; what its log files hold is read by package logs.
package docker

import "github.com/ai-micro-service/upkeep/collectors"

func gauge(name, help string, labels ...string) *collectors.Metric {
	return &collectors.Metric{Name: "upkeep_docker_" + name, Type: collectors.Gauge, Help: help,
		Labels: append([]string{"server"}, labels...)}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
