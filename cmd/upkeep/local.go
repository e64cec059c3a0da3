package main

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// configFiles are where the configuration is looked for that says where data_dir is.
func configFiles() []string { return []string{"upkeep.yaml", "/etc/upkeep/upkeep.yaml"} }

// folder returns where the upkeep of this machine keeps its data: as a flag or the environment
// says, as the configuration at hand says, or the default.
func folder(dataDir string) string {
	if dir := firstOf(dataDir, os.Getenv("UPKEEP_DATA_DIR")); dir != "" {
		return dir
	}
	for _, file := range configFiles() {
		text, info, err := files.Read(file, maxConfig)
		if err == nil && !files.Trusted(info) {
			continue // the working directory is another user's, who would choose which upkeep is believed
		}
		var said struct {
			DataDir string `yaml:"data_dir"`
		}
		if err != nil || yaml.Unmarshal(text, &said) != nil || said.DataDir == "" {
			continue
		}
		if !filepath.IsAbs(said.DataDir) {
			return filepath.Join(filepath.Dir(file), said.DataDir)
		}
		return said.DataDir
	}
	return config.DefaultDataDir()
}

// maxConfig is above what a configuration has.
const maxConfig = 4 << 20

// maxToken is above what a file with a token has.
const maxToken = 64 << 10

// ownLogin reads the token that the upkeep of this machine has made. It is sent to this machine
// only, and to an upkeep that knows it.
func ownLogin(dataDir, base string) login {
	if !here(base) {
		return login{hint: "give a token with --token-file or $UPKEEP_TOKEN"}
	}
	file := filepath.Join(folder(dataDir), config.AdminTokenFile)
	text, _, err := files.Read(file, maxToken)
	switch token := strings.TrimSpace(string(text)); {
	case errors.Is(err, fs.ErrPermission):
		return login{hint: file + " is readable by root and the user of upkeep only: run this command as one of " +
			"them, or give a token with --token-file"}
	case err != nil || token == "":
		return login{hint: file + " cannot be read: say where data_dir is with --data-dir, or give a token with " +
			"--token-file"}
	default:
		return login{token: token, file: file, hint: "the token in " + file + " is not accepted any more: try again"}
	}
}

// here reports whether a URL leads to this machine.
func here(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}
