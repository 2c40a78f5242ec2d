// SPDX-License-Identifier: Apache-2.0

package links_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/links/links"
)

func TestHandler(t *testing.T) {
	store, err := links.NewStore(map[string]string{"docs": "https://example.org/docs"})
	if err != nil {
		t.Fatal(err)
	}
	handler := links.Handler(store)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		location                 string
	}{
		{"redirect", "GET", "/go/docs", "", http.StatusFound, "https://example.org/docs"},
		{"unknown name", "GET", "/go/nothing", "", http.StatusNotFound, ""},
		{"set", "PUT", "/links/home", "http://example.org/", http.StatusNoContent, ""},
		{"redirect to what was set", "GET", "/go/home", "", http.StatusFound, "http://example.org/"},
		{"relative address", "PUT", "/links/bad", "/elsewhere", http.StatusBadRequest, ""},
		{"script address", "PUT", "/links/bad", "javascript:alert(1)", http.StatusBadRequest, ""},
		{"name in capitals", "PUT", "/links/BAD", "http://example.org/", http.StatusBadRequest, ""},
		{"address too long", "PUT", "/links/long", "http://" + strings.Repeat("a", 3000), http.StatusRequestEntityTooLarge, ""},
		{"health", "GET", "/healthz", "", http.StatusNoContent, ""},
		{"wrong method", "DELETE", "/links/docs", "", http.StatusMethodNotAllowed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
			if w.Code != c.status || w.Header().Get("Location") != c.location {
				t.Errorf("got %d to %q, want %d to %q", w.Code, w.Header().Get("Location"), c.status, c.location)
			}
		})
	}
}

func TestList(t *testing.T) {
	store, err := links.NewStore(map[string]string{"a": "https://example.org/"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	links.Handler(store).ServeHTTP(w, httptest.NewRequest("GET", "/links", nil))
	if got, want := strings.TrimSpace(w.Body.String()), `{"a":"https://example.org/"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNewStoreRefusesBadLinks(t *testing.T) {
	if _, err := links.NewStore(map[string]string{"x": "ftp://example.org"}); !errors.Is(err, links.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestLoadConfig(t *testing.T) {
	for _, c := range []struct {
		name, text, listen string
		ok                 bool
	}{
		{"defaults", "links: {a: https://example.org/}", "127.0.0.1:8080", true},
		{"listen", "listen: 127.0.0.1:9000", "127.0.0.1:9000", true},
		{"empty listen", "listen: ''", "", false},
		{"misspelt key", "lnks: {}", "", false},
		{"not YAML", "links: [", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "links.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			config, err := links.LoadConfig(file)
			if (err == nil) != c.ok {
				t.Fatalf("error %v", err)
			}
			if c.ok && config.Listen != c.listen {
				t.Errorf("listens on %s, want %s", config.Listen, c.listen)
			}
		})
	}
	if _, err := links.LoadConfig(filepath.Join(t.TempDir(), "absent.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
