package config

import "github.com/ai-micro-service/upkeep/internal/platform/target"

// TLS returns the files by which upkeep and the engine know each other.
func (d Docker) TLS() target.DockerTLS {
	return target.DockerTLS{CAFile: d.CAFile, CertFile: d.CertFile, KeyFile: d.KeyFile}
}
