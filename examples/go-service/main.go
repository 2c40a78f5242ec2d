// SPDX-License-Identifier: Apache-2.0

// Command links serves short links: GET /go/docs redirects to the address that
// the configuration file, or a PUT, gave to the name docs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.org/links/links"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "links:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("links", flag.ContinueOnError)
	file := flags.String("config", "links.yaml", "configuration file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := links.LoadConfig(*file)
	if err != nil {
		return err
	}
	store, err := links.NewStore(config.Links)
	if err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	server := &http.Server{
		Addr:              config.Listen,
		Handler:           links.Handler(store),
		ReadHeaderTimeout: 5 * time.Second,
	}
	stopped := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace) // what is still open after that is cut
	})
	defer stopped()
	fmt.Println("listening on", config.Listen)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
