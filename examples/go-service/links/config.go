// SPDX-License-Identifier: Apache-2.0

// Package links keeps short names for long addresses and serves them over HTTP.
package links

import (
	"errors"
	"fmt"
	"os"

	"go.yaml.in/yaml/v4"
)

// Config is the service's configuration file.
type Config struct {
	Listen string            `yaml:"listen"` // "127.0.0.1:8080" by default
	Links  map[string]string `yaml:"links"`
}

// LoadConfig reads a configuration file. A key that it does not know is an error.
func LoadConfig(name string) (*Config, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	config := &Config{Listen: "127.0.0.1:8080"}
	if err := yaml.Load(data, config, yaml.WithKnownFields()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if config.Listen == "" {
		return nil, fmt.Errorf("%s: %w", name, errors.New("listen is empty"))
	}
	return config, nil
}
