// SPDX-License-Identifier: Apache-2.0

package links

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"sync"
)

// ErrInvalid is matched by the errors of links that cannot be kept.
var ErrInvalid = errors.New("invalid link")

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// Store keeps links. It is safe for concurrent use.
type Store struct {
	mu    sync.RWMutex
	links map[string]string
}

// NewStore returns a Store with the given links, each of which must be valid.
func NewStore(links map[string]string) (*Store, error) {
	s := &Store{links: map[string]string{}}
	for name, address := range links {
		if err := s.Set(name, address); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Set gives a name to an address. A name is lower case letters, digits and
// dashes; an address is absolute, http or https.
func (s *Store) Set(name, address string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%w: name %q", ErrInvalid, name)
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%w: address %q", ErrInvalid, address)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[name] = address
	return nil
}

// Get returns the address of a name.
func (s *Store) Get(name string) (address string, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	address, ok = s.links[name]
	return address, ok
}

// All returns a copy of all links.
func (s *Store) All() map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.links)
}
