package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

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
		text, err := os.ReadFile(file)
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

// ownToken reads the token that the upkeep of this machine has made. It is sent to this
// machine only. The hint says what to do where it is refused or cannot be read.
func ownToken(dataDir, base string) (token, hint string) {
	if !here(base) {
		return "", "give a token with --token-file or $UPKEEP_TOKEN"
	}
	file := filepath.Join(folder(dataDir), config.AdminTokenFile)
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "", file + " is readable by root and the user of upkeep only: run this command as one of them, or " +
			"give a token with --token-file"
	case err != nil:
		return "", fmt.Sprintf("%s cannot be read: say where data_dir is with --data-dir, or give a token with "+
			"--token-file", file)
	}
	return strings.TrimSpace(string(text)), "the token in " + file + " is of another upkeep: say where the data_dir " +
		"of this one is with --data-dir"
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
