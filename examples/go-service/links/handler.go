// SPDX-License-Identifier: Apache-2.0

package links

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// maxAddress bounds the body of a PUT.
const maxAddress = 2048

// Handler returns the service:
//
//	GET /go/{name}     redirects
//	GET /links         lists all links, as JSON
//	PUT /links/{name}  gives the name to the address in the body
//	GET /healthz       says that the service is up
func Handler(store *Store) http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.Recoverer, middleware.Timeout(10*time.Second))
	r.Get("/go/{name}", func(w http.ResponseWriter, r *http.Request) {
		address, ok := store.Get(chi.URLParam(r, "name"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, address, http.StatusFound)
	})
	r.Get("/links", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// The status is sent by now: a client that went away is not told.
		_ = json.NewEncoder(w).Encode(store.All())
	})
	r.Put("/links/{name}", func(w http.ResponseWriter, r *http.Request) { put(store, w, r) })
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	return r
}

func put(store *Store, w http.ResponseWriter, r *http.Request) {
	address, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAddress))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	err = store.Set(chi.URLParam(r, "name"), string(address))
	switch {
	case errors.Is(err, ErrInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, "internal error", http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
