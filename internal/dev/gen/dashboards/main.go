// Command dashboards writes the Grafana dashboards into the folder dashboards.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ai-micro-service/upkeep/alerts"
)

func main() {
	dashboards, err := all()
	if err != nil {
		log.Fatal(err)
	}
	for name, d := range dashboards {
		text, err := render(d)
		if err == nil {
			err = os.WriteFile(filepath.Join("dashboards", name), text, 0o644)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

// all returns the dashboards by the name of their file.
func all() (map[string]dashboard, error) {
	rules, err := alerts.Parse(alerts.Files())
	if err != nil {
		return nil, err
	}
	limits := make(map[string]float64)
	for _, r := range rules {
		if limits[r.Name], err = strconv.ParseFloat(r.Annotations["limit"], 64); err != nil {
			return nil, fmt.Errorf("%s: limit: %w", r.Name, err)
		}
	}
	return map[string]dashboard{
		"overview.json": overview(limits), "databases.json": databases(limits), "services.json": services(limits),
		"remediation.json": remediation(limits), "host.json": machine(limits),
		"capacity.json": planning(limits),
	}, nil
}

func render(d dashboard) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return b.Bytes(), err
}
