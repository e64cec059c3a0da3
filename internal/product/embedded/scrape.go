package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/dns"  // dns_sd_configs
	_ "github.com/prometheus/prometheus/discovery/file" // file_sd_configs
	_ "github.com/prometheus/prometheus/discovery/http" // http_sd_configs
	"go.yaml.in/yaml/v3"
)

const (
	// job is that of upkeep's own metrics.
	job = "upkeep"

	// ownAddress is where upkeep's own metrics are scraped: within the process. No name
	// below .invalid is anybody's.
	ownAddress = "upkeep.invalid:80"
)

// dial uses the pipe for upkeep's own metrics, and over the network for all
// others.
func (p *pipe) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address == ownAddress {
		return p.DialContext(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// promConfig is what prometheus.yml would say: this process, and what the configuration
// adds in the same syntax.
func promConfig(c Config) (*promconfig.Config, error) {
	text := fmt.Sprintf(`global:
  scrape_interval: %s
  scrape_timeout: %s
  evaluation_interval: %s
storage:
  tsdb:
    retention: {time: %s%s}
scrape_configs:
  - job_name: %s
    enable_compression: false
    static_configs: [{targets: ['%s'], labels: {instance: upkeep}}]
`, model.Duration(c.ScrapeInterval), model.Duration(min(c.ScrapeInterval, 10*time.Second)), model.Duration(c.EvaluationInterval),
		model.Duration(c.Retention), size(c.RetentionSize), job, ownAddress)
	text += indented(c.ScrapeConfigs)
	if c.RemoteWrite != "" {
		text += "remote_write:\n" + indented(c.RemoteWrite)
	}
	made, err := promconfig.Load(text, c.Logger)
	if err != nil {
		return nil, fmt.Errorf("scrape_configs or remote_write: %w", hush(err))
	}
	made.SetDirectory(c.ConfigDir)
	made.StorageConfig.ExemplarsConfig = new(promconfig.ExemplarsConfig) // kept only where they are sent on
	if slices.ContainsFunc(made.RemoteWriteConfigs,
		func(r *promconfig.RemoteWriteConfig) bool { return r.SendExemplars }) {
		*made.StorageConfig.ExemplarsConfig = promconfig.DefaultExemplarsConfig
	}
	return made, nil
}

func size(text string) string {
	if text == "" || text == "0" {
		return "" // no limit
	}
	return ", size: " + text
}

func indented(list string) string {
	if strings.TrimSpace(list) == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimRight(list, "\n"), "\n", "\n  ") + "\n"
}

// discoverers are what finds the targets of each job.
func discoverers(c *promconfig.Config) (map[string]discovery.Configs, error) {
	all := make(map[string]discovery.Configs)
	scrapes, err := c.GetScrapeConfigs()
	for _, s := range scrapes {
		all[s.JobName] = s.ServiceDiscoveryConfigs
	}
	return all, err
}

// A Fault is what Prometheus does not take of a part of its configuration.
type Fault struct {
	Line int // of the text, from 1
	Text string
}

// CheckPart returns what Prometheus does not take of scrape_configs or remote_write, a
// list as YAML whose relative paths begin at a folder.
func CheckPart(part, text, _ string) (faults []Fault) {
	var items []yaml.Node
	if err := yaml.Unmarshal([]byte(text), &items); err != nil {
		return []Fault{{1, hush(err).Error()}}
	}
	seen, remotes := make(map[string]int), make(map[string]int)
	for i := range items {
		one, err := yaml.Marshal([]*yaml.Node{&items[i]})
		if err != nil {
			return []Fault{{items[i].Line, hush(err).Error()}}
		}
		made, found := checkItem(part, string(one))
		for _, f := range found {
			faults = append(faults, Fault{items[i].Line + max(f.Line-1, 0), f.Text})
		}
		if made != nil && part == "remote_write" {
			if scheme := made.RemoteWriteConfigs[0].URL.Scheme; scheme != "http" && scheme != "https" {
				faults = append(faults, Fault{items[i].Line,
					fmt.Sprintf("its url begins with %q; http:// or https:// was expected", scheme+":")})
			}
			if first, twice := remotes[made.String()]; twice {
				faults = append(faults, Fault{items[i].Line,
					fmt.Sprintf("it writes to the same place as entry %d and in the same way; remove one of them",
						first)})
			} else {
				remotes[made.String()] = i + 1
			}
		}
		name := nameOf(&items[i], map[string]string{"scrape_configs": "job_name", "remote_write": "name"}[part])
		switch first, twice := seen[name]; {
		case name == "":
		case part == "scrape_configs" && name == job:
			faults = append(faults, Fault{items[i].Line,
				fmt.Sprintf("job_name %q is that of upkeep's own metrics, which are scraped by themselves; choose "+
					"another name", name)})
		case twice:
			faults = append(faults, Fault{items[i].Line,
				fmt.Sprintf("a second entry is called %q, the first is entry %d; each needs a name of its own", name,
					first)})
		default:
			seen[name] = i + 1
		}
	}
	return faults
}

func nameOf(n *yaml.Node, key string) string {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// checkItem loads a configuration with one entry. The lines of its faults are those of the
// entry.
func checkItem(part, item string) (made *promconfig.Config, faults []Fault) {
	made, err := promconfig.Load(part+":\n"+item, quietLog())
	if err == nil {
		return made, nil
	}
	line := regexp.MustCompile(`^\s*line (\d+): (.*)$`)
	for text := range strings.SplitSeq(strings.TrimPrefix(err.Error(), "yaml: "), "\n") {
		m := line.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1]) // it is digits
		faults = append(faults, Fault{n - 1, explain(m[2])})
	}
	if len(faults) == 0 {
		faults = []Fault{{1, explain(err.Error())}}
	}
	return nil, faults
}

// explain says what Prometheus says, in words that name no type of its code and no value:
// it may be a password.
func explain(text string) string {
	text = hush(fmt.Errorf("%s", text)).Error()
	if m := regexp.MustCompile(`^field (\S+) not found in type`).FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("unknown key %q", m[1])
		if strings.HasSuffix(m[1], "_sd_configs") {
			known := slices.DeleteFunc(discovery.RegisteredConfigNames(), func(n string) bool { return n == "static" })
			return text + "; upkeep finds targets by static_configs and by the sd_configs of " + strings.Join(known,
				", ")
		}
	}
	return text + "; Prometheus' own syntax was expected (promtool check config takes the same)"
}

// hush leaves out the values that YAML's errors quote.
func hush(err error) error {
	text := regexp.MustCompile("`[^`]*`").ReplaceAllString(err.Error(), "a value")
	return fmt.Errorf("%s", strings.Join(strings.Fields(strings.TrimPrefix(text, "yaml: ")), " "))
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
