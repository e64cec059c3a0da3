package check

import (
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// parts checks the files and secrets in the parts that are in Prometheus' own syntax.
func (k *checker) parts() {
	for key, text := range map[string]config.Raw{"scrape_configs": k.config.Embedded.ScrapeConfigs,
		"remote_write": k.config.Embedded.RemoteWrite} {
		var n yaml.Node
		if text == "" || yaml.Unmarshal([]byte(text), &n) != nil || len(n.Content) == 0 {
			continue
		}
		k.part(n.Content[0], in("embedded", key), "")
		if key == "scrape_configs" {
			k.targetless(n.Content[0])
		}
	}
}

// targetless says which jobs have nothing that names their targets.
func (k *checker) targetless(jobs *yaml.Node) {
	for i, job := range jobs.Content {
		finds := false
		for j := 0; j+1 < len(job.Content); j += 2 {
			key := job.Content[j].Value
			finds = finds || len(job.Content[j+1].Content) > 0 && (key == "static_configs" ||
				strings.HasSuffix(key, "_sd_configs"))
		}
		if !finds {
			k.warn(in("embedded", "scrape_configs", i),
				"embedded.scrape_configs: entry %d scrapes nothing; name its targets in static_configs, or a file "+
					"with them in file_sd_configs", i+1)
		}
	}
}

func (k *checker) part(n *yaml.Node, at place, key string) {
	switch n.Kind {
	case yaml.SequenceNode:
		for i, c := range n.Content {
			k.part(c, at.in(i), key)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			k.part(n.Content[i+1], at.in(key), key)
		}
	case yaml.ScalarNode:
		k.partValue(n.Value, at, key)
	default: // a document, or an alias, whose anchor is checked at its own place
	}
}

func (k *checker) partValue(value string, at place, key string) {
	secrets := []string{"password", "credentials", "bearer_token", "client_secret", "secret_key"}
	path := value
	if !filepath.IsAbs(path) {
		path = filepath.Join(k.config.Embedded.Dir(), path)
	}
	switch {
	case value == "":
	case slices.Contains(secrets, key):
		k.warn(at, "%s is in the configuration file; write it into a file of its own and name that in %s_file",
			name(at), key)
	case strings.HasSuffix(key, "_file"):
		k.file(at, name(at), path)
	case key == "files":
		if found, err := filepath.Glob(path); err != nil || len(found) == 0 {
			k.warn(at, "%s: no file matches %s; its targets are scraped as soon as there is one", name(at), value)
		}
	}
}
