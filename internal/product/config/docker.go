package config

import (
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/logs/pattern"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Target returns what the collectors of a machine's logs need. State is the folder of their state.
func (l HostLogs) Target(root, state string) target.HostLogs {
	all := target.HostLogs{Units: l.Journal.Units, Folder: l.Journal.Directory, Fields: target.LogFields(l.Fields),
		State: state}
	if all.Folder == "" && filepath.Clean(root) != "/" {
		all.Folder = filepath.Join(root, "var/log/journal")
	}
	for _, f := range l.Files {
		all.Files = append(all.Files, target.HostLog{Service: f.Service, Path: f.Path})
	}
	return all
}

// hostLogs checks the logs of a machine. No two of its services may have the same labels.
func (d *decoder) hostLogs(n *yaml.Node, h Host, engines []Docker) {
	logs := at(n, "logs")
	for i, f := range h.Logs.Files {
		if err := pattern.Check(f.Path); err != nil && f.Path != "" {
			d.fault(at(logs, "files", i, "path"), "path is %q: %v", f.Path, err)
		}
		switch {
		case f.Service == collectors.Other:
			d.fault(at(logs, "files", i, "service"), "service is %q, which is what is beyond the limit; another name "+
				"was expected", f.Service)
		case slices.Contains(h.Logs.Journal.Units, f.Service):
			d.fault(at(logs, "files", i, "service"), "service is %q, which is a unit of the journal too: its lines "+
				"would have the same labels; another name was expected", f.Service)
		}
	}
	for i, unit := range h.Logs.Journal.Units {
		switch {
		case !target.UnitName(unit):
			d.fault(at(logs, "journal", "units", i), "%q is no name of a service; one like nginx.service was "+
				"expected", unit)
		case slices.Contains(h.Logs.Journal.Units[:i], unit):
			d.fault(at(logs, "journal", "units", i), "%s is listed twice; once was expected", unit)
		}
	}
	if folder := h.Logs.Journal.Directory; folder != "" && !filepath.IsAbs(folder) {
		d.fault(at(logs, "journal", "directory"), "directory is %q; an absolute path was expected", folder)
	}
	used := len(h.Logs.Files) > 0 || len(h.Logs.Journal.Units) > 0
	if used && slices.ContainsFunc(engines, func(e Docker) bool { return e.Name == h.Name }) {
		d.fault(logs, "host %s has logs, and a docker target has the same name: their services may have the same "+
			"labels; another name was expected for one of them", h.Name)
	}
}

// TLS returns the files by which upkeep and the engine know each other.
func (d Docker) TLS() target.DockerTLS {
	return target.DockerTLS{CAFile: d.CAFile, CertFile: d.CertFile, KeyFile: d.KeyFile}
}
