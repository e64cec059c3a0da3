// Package dashboards holds what people see in Grafana: dashboards that are
// generated from internal/dev/gen/dashboards, committed and embedded.
package dashboards

import (
	"embed"
	"io/fs"
)

//go:embed *.json
var files embed.FS

// Files returns the dashboards, a JSON file each, for Grafana 9 and later.
func Files() fs.FS { return files }
