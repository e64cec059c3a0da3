// Command dashboards writes the Grafana dashboards into the folder dashboards, and the list of
// them into docs/dashboards.md.
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
	boards, err := all()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("docs", "dashboards.md"), []byte(reference(boards)), 0o644); err != nil {
		log.Fatal(err)
	}
	for _, b := range boards {
		text, err := render(b.dashboard)
		if err == nil {
			err = os.WriteFile(filepath.Join("dashboards", b.file), text, 0o644)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

// all returns the boards in the order in which people read them.
func all() ([]file, error) {
	parsed, err := alerts.Parse(alerts.Files())
	if err != nil {
		return nil, err
	}
	rules := make(map[string]rule)
	for _, r := range parsed {
		limit, err := strconv.ParseFloat(r.Annotations["limit"], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: limit: %w", r.Name, err)
		}
		rules[r.Name] = rule{limit, r.Labels["severity"]}
	}
	return []file{
		{overview(rules), "overview.json"},
		{postgres(rules), "postgres.json"},
		{server(rules), "postgres-server.json"},
		{database(rules), "postgres-database.json"},
		{table(rules), "postgres-table.json"},
		{index(rules), "postgres-index.json"},
		{statement(rules), "postgres-statement.json"},
		{redis(rules), "redis.json"},
		{docker(rules), "docker.json"},
		{machine(rules), "host.json"},
		{planning(rules), "capacity.json"},
		{remediation(rules), "remediation.json"},
		{review(rules), "review.json"},
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
