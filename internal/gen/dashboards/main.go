// Command dashboards writes the Grafana dashboards into the folder dashboards.
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
)

func main() {
	for name, d := range all() {
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
func all() map[string]dashboard {
	return map[string]dashboard{"overview.json": overview()}
}

func render(d dashboard) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return b.Bytes(), err
}
