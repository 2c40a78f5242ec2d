// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/cache"
	"github.com/attest-pipeline/attest/isolation/executor"
)

type cacheCmd struct {
	Stats   cacheStatsCmd   `cmd:"" help:"Say how much is kept, and what bounds it."`
	Explain cacheExplainCmd `cmd:"" help:"Say what a step's key is made of, and what changed since its last run."`
	GC      cacheGCCmd      `cmd:"" name:"gc" help:"Remove what is too old, or too much; compress what is not in use."`
	Verify  cacheVerifyCmd  `cmd:"" help:"Read everything that is kept, and check it."`
	Clear   cacheClearCmd   `cmd:"" help:"Remove everything that is kept."`
}

// Help says what the cache is.
func (cacheCmd) Help() string {
	return `attest run keeps what steps leave, by everything that their results depend on: command, environment, inputs, image. A step with a kept result is not run again. cache in attest.yaml says how much is kept and for how long; the setting cache_dir says where. All of it can be removed at any time, and costs no more than running steps again.

Examples:

    attest cache stats
    attest cache explain build
    ATTEST_CACHE_DIR=~/.cache/attest attest run`
}

// cacheFolder returns the absolute path of the cache's folder. One among the
// project's own files would be an input of steps.
func cacheFolder(root string, settings *config.Set) (string, error) {
	set := settings.Get(config.CacheDir)
	dir := filepath.FromSlash(set.Value)
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir)
	}
	rel, err := filepath.Rel(root, dir)
	outside := err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator))
	if !outside && !strings.HasPrefix(rel, stateDir+string(filepath.Separator)) {
		return "", &usageError{
			err:   fmt.Errorf("cache_dir: %s stands among the project's files", set.Value),
			hints: []string{"use a folder outside of the project, or one below " + stateDir},
		}
	}
	return filepath.Clean(dir), nil
}

// open opens the cache of the project whose pipeline is meant. bounds are those
// of attest.yaml; where there is no such file, they are the usual ones.
func (f pipelineFlag) openCache(env *Env, bounds pipeline.Cache) (*cache.Store, error) {
	root := f.root(env)
	settings, err := config.Load(root, env.Getenv)
	if err != nil {
		return nil, err
	}
	dir, err := cacheFolder(root, settings)
	if err != nil {
		return nil, err
	}
	return cache.Open(cache.Options{
		Dir: dir, MaxSize: bounds.MaxSize, Retention: bounds.Retention, Compress: bounds.Compression, Now: env.Now,
		Warn: func(err error) { env.note("warning: %s", display.Message(err.Error())) },
	})
}

// bounds returns what attest.yaml says of the cache.
func (f pipelineFlag) bounds(env *Env) (pipeline.Cache, error) {
	if _, err := os.Lstat(env.path(f.File)); errors.Is(err, fs.ErrNotExist) {
		return pipeline.DefaultCache(), nil
	}
	p, err := f.load(env)
	if err != nil {
		return pipeline.Cache{}, err
	}
	return p.Cache, nil
}

type cacheStatsCmd struct {
	pipelineFlag
	jsonFlag
}

// Help shows how.
func (cacheStatsCmd) Help() string {
	return `Examples:

    attest cache stats
    attest cache stats --json`
}

// cacheStats is what the cache holds, for --json.
type cacheStats struct {
	Dir       string     `json:"dir"`
	Results   int        `json:"results"`
	Blobs     int        `json:"blobs"`
	Packed    int        `json:"compressed_blobs"`
	Size      int64      `json:"size_bytes"`
	Content   int64      `json:"content_bytes"`
	Inputs    int64      `json:"inputs_bytes"`
	MaxSize   int64      `json:"max_size_bytes"`
	Retention int        `json:"retention_days"`
	Oldest    *time.Time `json:"least_recently_used"`
	Newest    *time.Time `json:"most_recently_used"`
}

// Run prints what there is.
func (c *cacheStatsCmd) Run(ctx context.Context, env *Env) error {
	bounds, err := c.bounds(env)
	if err != nil {
		return err
	}
	store, err := c.openCache(env, bounds)
	if err != nil {
		return err
	}
	defer store.Close()
	s, err := store.Stats(ctx)
	if err != nil {
		return err
	}
	all := cacheStats{
		Dir: env.short(s.Dir), Results: s.Results, Blobs: s.Blobs, Packed: s.Packed, Size: s.Size, Content: s.Content, Inputs: s.Inputs,
		MaxSize: s.MaxSize, Retention: int(s.Retention / (24 * time.Hour)),
	}
	if s.Results > 0 {
		oldest, newest := s.Oldest.UTC().Truncate(time.Second), s.Newest.UTC().Truncate(time.Second)
		all.Oldest, all.Newest = &oldest, &newest
	}
	if env.json {
		env.result = all
		return nil
	}
	return env.print("%s", all.text())
}

func (s cacheStats) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "\n  %-10s %s", name+":", fmt.Sprintf(format, args...))
	}
	b.WriteString(s.Dir)
	line("results", "%d", s.Results)
	compressed := ""
	if s.Packed > 0 {
		compressed = fmt.Sprintf(", %d of them compressed", s.Packed)
	}
	line("content", "%s of %s%s", count(s.Blobs, "file"), display.Size(s.Content), compressed)
	line("on disk", "%s", display.Size(s.Size))
	if s.MaxSize > 0 {
		line("at most", "%s", display.Size(s.MaxSize))
	} else {
		line("at most", "no bound (cache.max_size sets one)")
	}
	if s.Retention > 0 {
		line("kept for", "%s without use", count(s.Retention, "day"))
	} else {
		line("kept for", "ever (cache.retention_days sets a bound)")
	}
	if s.Oldest != nil {
		line("last used", "between %s and %s", s.Oldest.Format(time.RFC3339), s.Newest.Format(time.RFC3339))
	}
	line("inputs", "%s of digests of files seen before", display.Size(s.Inputs))
	return b.String()
}

// freed is what a command removed and compressed, for --json.
type freed struct {
	Results int   `json:"removed_results"`
	Blobs   int   `json:"removed_blobs"`
	Packed  int   `json:"compressed_blobs"`
	Bytes   int64 `json:"freed_bytes"`
}

func (env *Env) showFreed(f cache.Freed) error {
	if env.json {
		env.result = freed(f)
		return nil
	}
	compressed := ""
	if f.Packed > 0 {
		compressed = ", compressed " + count(f.Packed, "file")
	}
	return env.print("removed %s%s: %s free", count(f.Results, "result"), compressed, display.Size(f.Bytes))
}

type cacheGCCmd struct {
	pipelineFlag
	jsonFlag
}

// Help says what goes.
func (cacheGCCmd) Help() string {
	return `Removes results that nobody used for cache.retention_days, and whatever no result needs. Until the rest fits into cache.max_size it compresses what was used least recently, and then removes it. What nobody used for a day is compressed in any case. cache.compression in attest.yaml says whether anything is compressed at all.

attest run does the same by itself when there is too much, and once a day; it compresses for two seconds at most, and goes on at the end of the next run.

Examples:

    attest cache gc
    attest cache gc --json`
}

// Run tidies up.
func (c *cacheGCCmd) Run(ctx context.Context, env *Env) error {
	bounds, err := c.bounds(env)
	if err != nil {
		return err
	}
	store, err := c.openCache(env, bounds)
	if err != nil {
		return err
	}
	defer store.Close()
	f, err := store.GC(ctx)
	if err != nil {
		return err
	}
	return env.showFreed(f)
}

type cacheClearCmd struct {
	pipelineFlag
	jsonFlag
}

// Help shows how.
func (cacheClearCmd) Help() string {
	return `The next run runs every step. Outputs that stand in projects stay where they are.

Examples:

    attest cache clear
    attest cache clear --json`
}

// Run removes everything.
func (c *cacheClearCmd) Run(ctx context.Context, env *Env) error {
	store, err := c.openCache(env, pipeline.Cache{})
	if err != nil {
		return err
	}
	defer store.Close()
	f, err := store.Clear(ctx)
	if err != nil {
		return err
	}
	return env.showFreed(f)
}

type cacheVerifyCmd struct {
	Repair bool `help:"Remove what is damaged, so that it is made anew."`
	pipelineFlag
	jsonFlag
}

// Help says what is checked.
func (cacheVerifyCmd) Help() string {
	return `Reads all that is kept and compares it with its digests. A run does the same with whatever it uses, and takes nothing that is damaged; this finds damage before it costs time.

The exit code is 1 where something is damaged and was not repaired.

Examples:

    attest cache verify
    attest cache verify --repair`
}

// cacheVerified is what was found, for --json.
type cacheVerified struct {
	Results  int            `json:"results"`
	Blobs    int            `json:"blobs"`
	Bytes    int64          `json:"read_bytes"`
	Problems []cacheProblem `json:"problems"`
}

type cacheProblem struct {
	Path     string `json:"path"`
	What     string `json:"what"`
	Key      string `json:"key,omitempty"`
	Repaired bool   `json:"repaired"`
}

// errDamagedCache says that the cache holds something that is of no use.
var errDamagedCache = errors.New("the cache is damaged")

// Run checks everything.
func (c *cacheVerifyCmd) Run(ctx context.Context, env *Env) error {
	store, err := c.openCache(env, pipeline.Cache{})
	if err != nil {
		return err
	}
	defer store.Close()
	v, err := store.Verify(ctx, cache.VerifyOptions{Repair: c.Repair})
	if err != nil {
		return err
	}
	result := cacheVerified{Results: v.Results, Blobs: v.Blobs, Bytes: v.Bytes, Problems: []cacheProblem{}}
	left := 0
	for _, p := range v.Problems {
		result.Problems = append(result.Problems, cacheProblem{p.Path, p.What, p.Key.String(), p.Repaired})
		if !p.Repaired {
			left++
		}
	}
	env.result = result
	if !env.json {
		if err := env.print("%s", result.text()); err != nil {
			return err
		}
	}
	if left > 0 {
		hint := "attest cache verify --repair removes what is damaged; runs do without it in any case"
		return &executor.HintedError{Err: fmt.Errorf("%w in %s", errDamagedCache, count(left, "place")), Hints: []string{hint}}
	}
	return nil
}

func (v cacheVerified) text() string {
	var b strings.Builder
	for _, p := range v.Problems {
		mark := "[FAIL]"
		if p.Repaired {
			mark = "[REPAIRED]"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", mark, source.Name(p.Path), display.Message(p.What))
	}
	fmt.Fprintf(&b, "%s and %s checked, %s read, %s", count(v.Results, "result"), count(v.Blobs, "file"),
		display.Size(v.Bytes), count(len(v.Problems), "problem"))
	return b.String()
}
